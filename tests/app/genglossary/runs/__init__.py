"""Background runs."""

from .manager import RunManager

__all__ = ["RunManager"]
