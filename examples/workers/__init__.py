"""Two workers and a store."""
