"""The project's database: one SQLite file."""
