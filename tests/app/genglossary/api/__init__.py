"""The HTTP interface, as far as it concerns runs."""

from .app import Project, create_app

__all__ = ["Project", "create_app"]
