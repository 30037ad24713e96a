"""Types that annotations name."""

from uuid import UUID

RunId = int | str | UUID
"""What names a run: an int, or a text of 1 to 200 characters without control characters.

A UUID is its text, and an int and its decimal form are the same.
"""
