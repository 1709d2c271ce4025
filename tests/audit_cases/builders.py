"""Entries that the cases of several families need, beside those of `Logbook`."""

from tests.logbook import ACCOUNTS, DAY, Logbook, digest, text


def use(consent: str, *categories: str) -> dict[str, str]:
    """An item of a use of data: the consent by category."""
    return dict.fromkeys(categories or (ACCOUNTS,), consent)


def withheld(log: Logbook, lookup: int, *items: int) -> int:
    """Answers of a lookup that were withheld after all."""
    return log.add(
        "lookup.withheld",
        "gateway/gateway",
        items=[{"item": item} for item in items],
        lookup=lookup,
        request=log.entries[lookup]["request"],
    )


def open_dispute(log: Logbook, days: int = 20, **fields: object) -> str:
    """A dispute of a subject, to be answered within so many days; its id."""
    values = {
        "dispute": log.id(),
        "subject": digest("someone"),
        "jurisdiction": "CN",
        "about": ACCOUNTS,
        "answer_by": text(log.now + days * DAY),
    }
    log.add("dispute.opened", "alpha", **{**values, **fields})
    return str(values["dispute"])


def answer(
    log: Logbook,
    dispute: str,
    kind: str = "dispute.answered",
    by: str = "beta",
    member: str = "beta",
) -> int:
    """A member's answer to a dispute, or another entry about it."""
    return log.add(
        kind,
        by,
        dispute=dispute,
        outcome="corrected",
        statement_sha256=digest("statement"),
        member=member,
    )


def overdue(
    log: Logbook, dispute: str, due: str, member: str = "beta", by: str = "gateway/gateway"
) -> int:
    """A member's answer that is overdue."""
    return log.add("dispute.overdue", by, dispute=dispute, member=member, due=due)


def request_erasure(log: Logbook) -> str:
    """A request of erasure; its id."""
    erasure = log.id()
    log.add(
        "erasure.requested",
        "alpha",
        erasure=erasure,
        subject=digest("someone"),
        request=log.id(),
        ground="consent withdrawn",
        evidence_sha256=digest("letter"),
    )
    return erasure


def execute(log: Logbook, erasure: str, *consents: str) -> int:
    """Follow a request of erasure."""
    recipients = {entry.get("consent"): entry.get("recipient") for entry in log.entries}
    items = [
        {"consent": consent, "recipient": recipients.get(consent, "alpha"), **log.notice()}
        for consent in consents
    ]
    fields = {"erasure": erasure, "subject": digest("someone"), "basis": "GDPR 17", "rows": 7}
    return log.add("erasure.executed", "operator/op", items=items or None, **fields)


def erase(log: Logbook, *consents: str) -> int:
    """Ask for the erasure of these consents and follow it."""
    return execute(log, request_erasure(log), *consents)


def part(
    log: Logbook, upload: str, sequence: int, by: str = "alpha", rows: int = 0, refused: int = 0
) -> int:
    """A part of an upload, its rows under a new consent."""
    uses = [use(log.grant(by, purposes=["contribution"]))] * rows if rows else []
    index = log.contribute(uses, by, upload=upload, sequence=sequence, refused=refused)
    del log.entries[index]["request"]
    return index


def end(
    log: Logbook, upload: str, parts: int, rows: int = 0, refused: int = 0, by: str = "alpha"
) -> int:
    """The end of an upload."""
    return log.add("contribution.ended", by, upload=upload, parts=parts, rows=rows, refused=refused)
