"""What ends the demo early."""

from __future__ import annotations


class DemoFailed(Exception):
    """Something did not happen as it must. The message is for the person at the terminal."""
