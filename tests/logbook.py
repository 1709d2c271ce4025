"""Ledgers written by hand: entries as docs/ledger.md has them, without any part of the gateway.

What a test does not say is legal: a log of three members, consents of a year without a frequency,
deadlines that the policies allow. Ids are counted, so that a test can name them.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from concordat_privacy.audit.findings import Kind
from concordat_privacy.audit.replay import Follower, Replay
from concordat_privacy.log import leaf
from concordat_privacy.log.checkpoint import Checkpoint, SigningKey, sign
from concordat_privacy.log.merkle import merkle_root
from concordat_privacy.log.tiles import write_export

KEY = SigningKey("concordat.example/ledger", bytes(range(32)))
START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
NONE = "00" * 16
STRANGER = "ff" * 16
"""The id of a consent that no log holds."""
ACCOUNTS = "credit_accounts"


def text(moment: datetime) -> str:
    """A moment as entries have it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def digest(seed: str) -> str:
    """32 bytes that mean nothing, in hexadecimal."""
    return hashlib.sha256(seed.encode()).hexdigest()


def actor(name: str) -> str:
    """`alpha` is a member; `operator/op` and the like are what they say."""
    role, _, rest = name.rpartition("/")
    return f"spiffe://concordat.example/{role or 'member'}/{rest}"


class Logbook:
    """A log that grows, one second an entry."""

    def __init__(self, members: Sequence[str] = ("alpha", "beta", "gamma")) -> None:
        self.now = START
        self.entries: list[dict[str, Any]] = []
        self.items: dict[int, list[dict[str, Any]]] = {}
        self._ids = 0
        for name in members:
            self.add("member.invited", "operator/op", member=name, name=name, certificate=NONE)
            self.add("member.joined", f"invitation/{name}", member=name, certificate=NONE)

    def id(self) -> str:
        """16 bytes never used before."""
        self._ids += 1
        return f"{self._ids:032x}"

    def wait(self, **span: float) -> "Logbook":
        """Let time pass: days=1, seconds=2."""
        self.now += timedelta(**span)
        return self

    def add(
        self,
        kind: str,
        by: str = "alpha",
        /,
        items: Sequence[Mapping[str, Any]] | None = None,
        **fields: Any,
    ) -> int:
        """Append an entry; returns its index. Fields that are None are left out."""
        self.now += timedelta(seconds=1)
        index = len(self.entries)
        entry = {
            **{name: value for name, value in fields.items() if value is not None},
            "v": 1,
            "type": kind,
            "time": text(self.now),
            "actor": actor(by),
        }
        if items is not None:
            self.items[index] = [dict(item) for item in items]
        self.entries.append(entry)
        return index

    # Consents.

    def record(self, **changes: Any) -> dict[str, Any]:
        """The fields of a good consent."""
        consent = changes.pop("consent", None) or self.id()
        start = changes.pop("start", self.now)
        fields = {
            "consent": consent,
            "recipient": "alpha",
            "request": self.id(),
            "subject": digest(consent),
            "purposes": ["underwriting"],
            "categories": [ACCOUNTS],
            "starts_at": text(start),
            "expires_at": text(changes.pop("expiry", start + 365 * DAY)),
            "notice_version": "2026-1",
            "notice_sha256": digest("notice"),
            "language": "zh-CN",
            "withdrawal_method": "branch or app",
            "jurisdiction": "CN",
            "policies": 1,
            "data_life": {"unit": "year", "value": 1},
            "evidence_sha256": digest("evidence"),
        }
        return {**fields, **changes}

    def grant(self, by: str = "alpha", /, kind: str = "consent.granted", **changes: Any) -> str:
        """Record a consent given to `by`; returns its id."""
        fields = self.record(**{"recipient": by, **changes})
        self.add(kind, by, **fields)
        return str(fields["consent"])

    def change(self, kind: str, consent: str, by: str = "alpha", /, **fields: Any) -> int:
        """Change a consent's state, with a notice where it ends."""
        changed = {"consent": consent, "recipient": by.rpartition("/")[2]}
        changed |= {"subject": digest(consent)}
        if kind in ("consent.withdrawn", "consent.revoked"):
            changed |= self.notice()
        if kind in ("consent.paused", "consent.resumed", "consent.revoked"):
            changed["reason"] = "asked for"
        if kind == "consent.revoked":
            changed["by"] = "operator"
        if kind == "consent.activated":
            changed["evidence_sha256"] = digest("evidence")
        return self.add(kind, by, **{**changed, **fields})

    def notice(self, acknowledge_days: int = 3, delete_days: int = 15) -> dict[str, str]:
        """The fields of a notice."""
        return {
            "notice": self.id(),
            "acknowledge_by": text(self.now + acknowledge_days * DAY),
            "delete_by": text(self.now + delete_days * DAY),
        }

    def withdraw(self, consent: str, by: str = "alpha", /, **fields: Any) -> str:
        """Withdraw a consent; returns the id of the notice."""
        index = self.change("consent.withdrawn", consent, by, **fields)
        return str(self.entries[index].get("notice"))

    def settle(self, notice: str, by: str = "alpha") -> int:
        """Acknowledge a notice and confirm deletion."""
        self.add("notice.acknowledged", by, notice=notice, member=by)
        return self.deleted(notice, by)

    def deleted(self, notice: str, by: str = "alpha") -> int:
        """Confirm deletion."""
        return self.add(
            "deletion.confirmed",
            by,
            notice=notice,
            member=by,
            deleted_at=text(self.now),
            record_sha256=digest("record"),
        )

    # Uses.

    def item(self, consents: Mapping[str, str] | str, decision: str = "permit") -> dict[str, Any]:
        """One subject of a lookup; a consent alone covers accounts."""
        named = {ACCOUNTS: consents} if isinstance(consents, str) else dict(consents)
        names = {ACCOUNTS: NONE, "inquiries": NONE, "spending": NONE, **named}
        return {"consents": names, "decision": decision, "subject": digest(self.id())}

    def lookup(
        self,
        consents: Sequence[Mapping[str, str] | str],
        by: str = "alpha",
        /,
        refused: int = 0,
        **fields: Any,
    ) -> int:
        """Look subjects up, one for each of `consents`, and some that are refused."""
        items = [self.item(named) for named in consents]
        items += [self.item(NONE, "refuse") for _ in range(refused)]
        values = {"purpose": "underwriting", "request": self.id(), "catalogue": 1}
        return self.add("lookup", by, items=items, **{"signals": ["inquiries"], **values, **fields})

    def contribute(
        self, uses: Sequence[Mapping[str, str]], by: str = "alpha", /, **fields: Any
    ) -> int:
        """A batch with one row for each of `uses`."""
        items = []
        for first in range(0, len(uses), 256):
            chunk = [dict(use) for use in uses[first : first + 256]]
            distinct = [use for at, use in enumerate(chunk) if use not in chunk[:at]]
            rows = [distinct.index(use) for use in chunk]
            items.append({"first": first, "uses": distinct, "rows": rows})
        values: dict[str, Any] = {
            "batch": self.id(),
            "catalogue": 1,
            "epoch": 1,
            "request": self.id(),
            "request_sha256": digest("request"),
            "rows": len(uses),
            "refused": 0,
            "rows_root": digest("rows"),
            "adverse": 0,
        }
        return self.add("contribution.batch", by, items=items or None, **{**values, **fields})

    def charge(self, question: str = "one", snapshot: int = 1, **fields: Any) -> int:
        """A charged question about the pool."""
        values = {
            "question": digest(question),
            "request": self.id(),
            "snapshot": snapshot,
            "query": {"group_by": ["product"]},
            "nano_rho": 1_000,
            "scopes": ["pool", "member:alpha"],
            "rests_on": {
                "purposes": ["contribution", "aggregate_statistics"],
                "categories": [ACCOUNTS],
            },
        }
        return self.add("aggregate.charged", "alpha", **{**values, **fields})

    # What comes out.

    def encoded(self) -> tuple[list[bytes], dict[int, list[bytes]]]:
        """Leaves, and items by entry, in their canonical bytes."""
        items = {at: [leaf.encode_item(one) for one in some] for at, some in self.items.items()}
        leaves = []
        for index, entry in enumerate(self.entries):
            batch = items.get(index)
            root = {} if batch is None else {"items": len(batch)}
            if batch is not None:
                root["items_root"] = merkle_root(batch).hex()  # type: ignore[assignment]
            leaves.append(leaf.encode({**root, **entry}))
        return leaves, items

    def replay(self, as_of: datetime | None = None, followers: Sequence[Follower] = ()) -> Replay:
        """The audit of this log."""
        leaves, items = self.encoded()
        replay = Replay(None if as_of is None else text(as_of), followers)
        for index, data in enumerate(leaves):
            batch = items.get(index)
            parsed = None if batch is None else [leaf.parse_item(one) for one in batch]
            replay.visit(index, leaf.check(data), parsed)
        replay.finish()
        return replay

    def export(self, directory: Path, *, items: bool = True) -> Path:
        """This log as a signed export."""
        leaves, batches = self.encoded()
        note = sign(Checkpoint(KEY.name, len(leaves), merkle_root(leaves)), KEY)
        write_export(directory, leaves, note, batches.items() if items else ())
        return directory


def found(replay: Replay) -> list[tuple[Kind, int | None]]:
    """Kinds and entries of all findings, in the order of the log."""
    return [(finding.kind, finding.entry) for finding in replay.sorted_findings()]
