"""Token key epochs are numbered from 1; each is one above the last."""

from typing import Final

FIRST_EPOCH: Final = 1
"""What a new installation starts with, and the epoch of stores that no rotation has touched."""
MAX_EPOCH: Final = 2**32 - 1
"""It goes into four bytes of what a member signs."""
