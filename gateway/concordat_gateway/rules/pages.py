"""Page tokens (AIP-158): where a list goes on, bound to the list it belongs to."""

import base64
import binascii
import hashlib
from dataclasses import dataclass

from concordat_rpc.errors import Refusal, invalid

_LISTING_BYTES = 16
_POSITION_BYTES = 8


@dataclass(frozen=True, slots=True)
class Listing:
    """Which list is being paged through: the method and all that selects its items."""

    digest: bytes

    @classmethod
    def of(cls, *selection: bytes) -> "Listing":
        """The listing that these values select, in their order."""
        lengths_and_values = b"".join(len(part).to_bytes(8, "big") + part for part in selection)
        return cls(hashlib.sha256(lengths_and_values).digest()[:_LISTING_BYTES])

    def token(self, position: int) -> str:
        """The token of the page that starts after `position`."""
        data = self.digest + position.to_bytes(_POSITION_BYTES, "big")
        return base64.urlsafe_b64encode(data).decode("ascii")

    def position(self, token: str) -> int:
        """The position in a token; -1 for the empty token, which is the first page.

        Raises Refusal INVALID_ARGUMENT for a token of another listing, or none at all.
        """
        if not token:
            return -1
        try:
            data = base64.b64decode(token, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise _unknown() from None
        position = int.from_bytes(data[_LISTING_BYTES:], "big", signed=True)
        if len(data) != _LISTING_BYTES + _POSITION_BYTES or position < 0:
            raise _unknown()
        if data[:_LISTING_BYTES] != self.digest:
            raise invalid("page_token", "it belongs to a list with another selection")
        return position


def page_size(wanted: int, default: int, most: int) -> int:
    """The number of items of a page. Raises Refusal INVALID_ARGUMENT for a negative one."""
    if wanted < 0:
        raise invalid("page_size", "it is negative")
    return min(wanted or default, most)


def _unknown() -> Refusal:
    return invalid("page_token", "it is not a next_page_token of this list")
