"""A stand-in for the application: as much of it as its run manager and the tests of that manager need."""
