"""The API of runs over HTTP."""
