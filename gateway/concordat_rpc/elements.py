"""Packed elements in a request."""

from concordat_privacy.oprf import ELEMENT_BYTES, MAX_BATCH
from concordat_rpc.errors import invalid


def check_elements(blinded_elements: bytes) -> None:
    """Raises Refusal INVALID_ARGUMENT unless these are 1 to MAX_BATCH elements, by their length."""
    count, rest = divmod(len(blinded_elements), ELEMENT_BYTES)
    if rest or not 1 <= count <= MAX_BATCH:
        raise invalid(
            "blinded_elements",
            f"1 to {MAX_BATCH} elements of {ELEMENT_BYTES} bytes wanted, "
            f"{len(blinded_elements)} bytes given",
        )
