"""What staff reads about uses and persons, recorded before it is read (条例, art. 22).

Staff is who oversees and does not take part: operators and auditors. Whatever shows them entries,
items, notices, disputes or an opened subject calls `record_view` first and replies once it has
returned. Checkpoints, proofs and counts name no use and no person, and are no view.
"""

import unicodedata
from dataclasses import dataclass

from concordat_gateway.ledger.journal import Committed, Entry, Journal
from concordat_privacy.log.leaf import Json
from concordat_rpc.errors import invalid
from concordat_rpc.peer import Peer, Role

_STAFF = frozenset({Role.OPERATOR, Role.AUDITOR})
_MAX_CASE = 200


@dataclass(frozen=True, slots=True)
class Viewed:
    """What is looked at."""

    view: str
    """Which view, such as "ledger.export": the name of what is read, not of a method."""
    case: str = ""
    """What for: the viewer's own reference; empty where none was given."""
    subject: str = ""
    """Commitment of the one subject it is about, where it is about one."""
    request: bytes = b""
    """What salts that commitment, 16 bytes."""
    consent: bytes = b""
    """The consent by which a subject was found."""
    permission_sha256: bytes = b""
    """Hash of the document that permits it."""
    first: int | None = None
    """First entry or item of the span that is read, where there is a span."""
    end: int | None = None
    """Where the span ends, excluded."""


def record_view(
    journal: Journal, viewer: Peer, viewed: Viewed, timeout_seconds: float
) -> Committed[Entry] | None:
    """Record what a caller is about to read; None for a member, who reads what is its own.

    Raises Refusal INVALID_ARGUMENT (case), UNAVAILABLE, DEADLINE_EXCEEDED; then nothing is shown.
    """
    if viewer.role not in _STAFF:
        return None
    check_case(viewed.case)
    fields: dict[str, Json] = {"view": viewed.view}
    if viewed.case:
        fields["case"] = viewed.case
    if viewed.subject:
        fields["subject"] = viewed.subject
    for name, value in (
        ("request", viewed.request),
        ("consent", viewed.consent),
        ("permission_sha256", viewed.permission_sha256),
    ):
        if value:
            fields[name] = value.hex()
    if viewed.first is not None and viewed.end is not None:
        fields |= {"from": viewed.first, "to": viewed.end}
    return journal.write(
        lambda transaction: transaction.append("staff.viewed", viewer.spiffe_id, fields),
        timeout_seconds,
    )


def check_case(case: str) -> str:
    """A case as it may stand in the ledger. Raises Refusal INVALID_ARGUMENT."""
    if len(case) > _MAX_CASE or not case.isprintable():
        raise invalid("case", f"up to {_MAX_CASE} printable characters on one line wanted")
    if not unicodedata.is_normalized("NFC", case):
        raise invalid("case", "text in Unicode normalisation form C wanted")
    return case
