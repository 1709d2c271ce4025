"""What the commands that check evidence share: keys of the ledger and of its witnesses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from concordat_privacy.log.checkpoint import VerifierKey
    from concordat_privacy.log.cosignature import Quorum

F = TypeVar("F", bound=Callable[..., Any])

_WITNESSES = "concordat.witnesses"
_QUORUM = "concordat.quorum"


def verifier_key(text: str) -> VerifierKey:
    """The key in an option's value, or in the file that it names."""
    from concordat_privacy.log.checkpoint import VerifierKey
    from concordat_privacy.log.errors import CheckpointError

    try:
        return VerifierKey.decode(_text(text))
    except (OSError, UnicodeDecodeError, CheckpointError) as error:
        raise click.BadParameter(
            f"neither a key nor its file: {error}", param_hint="--key"
        ) from None


def witness_options(command: F) -> F:
    """The options by which a checkpoint must be cosigned; `chosen_quorum` has what they say."""
    for decorate in (
        click.option(
            "--quorum",
            type=click.IntRange(min=1),
            expose_value=False,
            callback=_keep(_QUORUM),
            help="How many of the witnesses must have cosigned. All of them if not given.",
        ),
        click.option(
            "--witness",
            multiple=True,
            metavar="VKEY|FILE",
            expose_value=False,
            callback=_keep(_WITNESSES),
            help="Key of a witness that you trust, or its file. Any number.",
        ),
    ):
        command = decorate(command)
    return command


def chosen_quorum() -> Quorum | None:
    """What the options of the running command want; None where they want no witness."""
    from concordat_privacy.log.cosignature import Quorum, WitnessKey
    from concordat_privacy.log.errors import CheckpointError

    meta = click.get_current_context().meta
    texts: tuple[str, ...] = meta.get(_WITNESSES, ())
    needed: int | None = meta.get(_QUORUM)
    if not texts:
        if needed is not None:
            raise click.UsageError("--quorum wants at least one --witness")
        return None
    try:
        witnesses = tuple(WitnessKey.decode(_text(text)) for text in texts)
        return Quorum(witnesses, len(witnesses) if needed is None else needed)
    except (OSError, UnicodeDecodeError, CheckpointError) as error:
        raise click.BadParameter(str(error), param_hint="--witness") from None


def _text(value: str) -> str:
    """What an option's value says, or the file that it names."""
    if "+" not in value or Path(value).is_file():
        return Path(value).read_text(encoding="utf-8")
    return value


def _keep(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def keep(context: click.Context, _parameter: click.Parameter, value: Any) -> None:
        context.meta[name] = value

    return keep
