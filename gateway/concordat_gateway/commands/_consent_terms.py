"""What the commands that record consents share: the options of their terms, and the draft."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])

_PURPOSES = (
    "underwriting",
    "contribution",
    "portfolio_review",
    "aggregate_statistics",
    "model_training",
    "dispute",
)
_CATEGORIES = ("credit_accounts", "inquiries", "spending", "trade")
_UNITS = ("hour", "day", "month", "year", "inf")

READ_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"])


def together(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Several options as one decorator; they show in the order given."""

    def decorate(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


terms_options = together(
    click.option(
        "--purpose", "purposes", type=click.Choice(_PURPOSES), multiple=True, required=True
    ),
    click.option(
        "--category", "categories", type=click.Choice(_CATEGORIES), multiple=True, required=True
    ),
    click.option("--starts", type=TIME, help="UTC unless it says otherwise; default: at once."),
    click.option("--expires", type=TIME, required=True, help="UTC unless it says otherwise."),
    click.option("--notice-version", required=True),
    click.option("--notice", type=READ_FILE, help="The notice; its SHA-256 is recorded."),
    click.option("--language", help="BCP 47 tag, such as zh-Hans-CN."),
    click.option("--withdrawal-method", help="How the subject can withdraw, such as a URL."),
    click.option("--jurisdiction", help='Such as "CN"; default: the gateway\'s.'),
    click.option(
        "--data-life",
        type=(int, click.Choice(_UNITS)),
        help='How long what is learned may be kept: "6 month"; "0 inf" without end.',
    ),
    click.option(
        "--frequency",
        type=(int, click.Choice(_UNITS)),
        help='How often it may be used: "3 day" three times a day; "1 inf" once in all.',
    ),
)


def terms_of(options: dict[str, Any]) -> dict[str, Any]:
    """The fields of a `ConsentDraft` that these options give: all but token and evidence."""
    import concordat

    life, frequency, notice = options["data_life"], options["frequency"], options["notice"]
    nonce = options.get("nonce")
    return {
        "purposes": {concordat.Purpose[name.upper()] for name in options["purposes"]},
        "categories": {concordat.DataCategory[name.upper()] for name in options["categories"]},
        "starts_at": zoned(options["starts"]),
        "expires_at": zoned(options["expires"]),
        "notice_version": options["notice_version"],
        "notice_sha256": None if notice is None else sha256_of(notice),
        "language": options["language"],
        "withdrawal_method": options["withdrawal_method"],
        "jurisdiction": options["jurisdiction"],
        "data_life": life and concordat.Period(concordat.TimeUnit[life[1].upper()], life[0]),
        "frequency": frequency
        and concordat.Frequency(concordat.TimeUnit[frequency[1].upper()], frequency[0]),
        "evidence_nonce": None if nonce is None else hex_of(nonce, "--nonce"),
    }


def hex_of(text: str, what: str) -> bytes:
    """The bytes that an option or argument gives in hexadecimal."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise click.BadParameter("not hexadecimal", param_hint=what) from None


def sha256_of(file: Path) -> bytes:
    """Of a file's content."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").digest()


def zoned(time: datetime | None) -> datetime | None:
    """A time of an option: UTC unless it says otherwise."""
    if time is None or time.tzinfo is not None:
        return time
    return time.replace(tzinfo=UTC)
