"""The application's manager, against the stand-in application in `tests/app`."""
