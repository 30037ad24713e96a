"""The demo: its texts, its terms, its server and its command."""
