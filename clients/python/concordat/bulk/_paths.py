"""Names of files as callers hand them in."""

import os
from pathlib import Path

from concordat.errors import InvalidInput


def checked_path(value: object, field: str) -> Path:
    """The path, if it can be one of a file. Raises InvalidInput, which names the field."""
    fault = path_fault(value)
    if fault is not None:
        raise InvalidInput.field(field, fault)
    return Path(value)  # type: ignore[arg-type]  # a text, or what gives one


def path_fault(value: object) -> str | None:
    """What keeps a value from being the path of a file, or None."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str):
        return f"a path wanted, {type(value).__name__} given"
    if not text:
        return "a path wanted, an empty text given"
    if "\0" in text:
        return f"{text!r} has a NUL in it: no file has such a name"
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return f"{text!r}: no file can have such a name here"
    return None
