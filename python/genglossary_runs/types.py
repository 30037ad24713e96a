"""Types that annotations name."""

from uuid import UUID

RunId = int | str | UUID
"""What names a run: an int of 64 bits, or a text of 1 to 200 characters without control characters.

A UUID is its text, and a text that is the decimal form of such an int is that int.
"""
