"""Clients of the streams and of the API: ours, and those that people have."""
