"""Several hosts that share a Redis server: the server, processes that publish, and processes that read."""
