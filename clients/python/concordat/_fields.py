"""Names of fields: what the contract calls one, and what callers of the SDK call it."""

_OWN_NAMES = {
    "chunk.rows": "rows",
    "epsilon_micros": "epsilon",
    "header.epoch": "epoch",
    "header.request_id": "request_id",
    "header.upload_id": "upload_id",
    "part.rows": "rows",
    "data_life.unit": "data_life",
    "data_life.value": "data_life",
    "frequency.unit": "frequency",
    "frequency.uses": "frequency",
    "validity.expiry": "expires_at",
    "validity.start": "starts_at",
}


def own_name(path: str) -> str:
    """The SDK's name of a field that the gateway names by its path in the message."""
    return _OWN_NAMES.get(path, path)
