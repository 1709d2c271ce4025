"""Why rows of a part were refused, as the control store keeps it.

Kept and not computed again: whether a row had a live consent can change, and its rows themselves
are nowhere kept. What is kept names a row by its position in the part and says nothing of its
subject, so there is nothing in it to erase: whoever has no copy of the member's rows learns that
a row was malformed, or lacked a consent, and not whose it was.

Thousands of rows are often refused for one reason, and compress to a few bytes each.
"""

import json
import zlib
from collections.abc import Sequence

from concordat_gateway.rules.items import ItemRefusal


def pack_refusals(refused: Sequence[ItemRefusal]) -> bytes:
    """Refusals as bytes; nothing for none."""
    if not refused:
        return b""
    values = [(one.item, one.field, one.reason, one.description) for one in refused]
    return zlib.compress(json.dumps(values, separators=(",", ":")).encode())


def unpack_refusals(packed: bytes) -> list[ItemRefusal]:
    """What `pack_refusals` packed, in its order."""
    if not packed:
        return []
    return [ItemRefusal(*values) for values in json.loads(zlib.decompress(packed))]
