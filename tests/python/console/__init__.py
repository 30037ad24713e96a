"""The run console in a real browser."""
