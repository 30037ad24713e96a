"""Work that waits for a model."""
