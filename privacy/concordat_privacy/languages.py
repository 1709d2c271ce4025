"""Language tags (BCP 47): whether one is well-formed (RFC 5646, 2.1), not whether it is registered.

The irregular tags that RFC 5646 keeps for old texts ("i-klingon", "en-GB-oed") are not taken.
"""

import re
from typing import Final

MAX_LANGUAGE_CHARACTERS: Final = 35
"""What RFC 5646 (4.4.1) asks everybody to have room for."""

_PRIVATE: Final = r"x(?:-[a-z0-9]{1,8})+"
_TAG: Final = re.compile(
    r"(?:[a-z]{2,3}(?:-[a-z]{3}){0,3}|[a-z]{4,8})"  # language, extended language
    r"(?:-[a-z]{4})?"  # script
    r"(?:-(?:[a-z]{2}|[0-9]{3}))?"  # region
    r"(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*"  # variants
    r"(?:-[0-9a-wy-z](?:-[a-z0-9]{2,8})+)*"  # extensions
    rf"(?:-{_PRIVATE})?|{_PRIVATE}",
    re.IGNORECASE | re.ASCII,
)


def is_language_tag(text: str) -> bool:
    """Whether the text is a well-formed language tag, such as "zh-Hans-CN"."""
    return len(text) <= MAX_LANGUAGE_CHARACTERS and _TAG.fullmatch(text) is not None
