"""What the commands that read exports share: the ledger's key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from concordat_privacy.log.checkpoint import VerifierKey


def verifier_key(text: str) -> VerifierKey:
    """The key in an option's value, or in the file that it names."""
    from concordat_privacy.log.checkpoint import CheckpointError, VerifierKey

    try:
        if "+" not in text or Path(text).is_file():
            text = Path(text).read_text(encoding="utf-8")
        return VerifierKey.decode(text)
    except (OSError, UnicodeDecodeError, CheckpointError) as error:
        raise click.BadParameter(
            f"neither a key nor its file: {error}", param_hint="--key"
        ) from None
