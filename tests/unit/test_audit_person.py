"""One person's part of a log: found whole by the person's keys, and what hides shows."""

import hashlib
import hmac
import json
from typing import Any

import pytest

from concordat_privacy.audit.findings import Kind
from concordat_privacy.audit.person import Person
from concordat_privacy.audit.replay import Replay
from concordat_privacy.audit.subject_keys import SubjectKeys, SubjectKeysError
from tests.logbook import ACCOUNTS, Logbook, actor, digest, found

LEDGER = "concordat.example/ledger"


def mac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def committed(salt: bytes, name: bytes) -> str:
    """docs/ledger.md, "How a person is named", written once more."""
    return hashlib.sha256(b"concordat/subject/v1" + salt + name).hexdigest()


class Someone:
    """A person whose keys we know, in a log."""

    def __init__(self, log: Logbook, seed: bytes = b"someone", epochs: int = 1) -> None:
        self.log = log
        self.evidence = [hashlib.sha256(seed + b"evidence").digest()]
        self.asking = [hashlib.sha256(seed + bytes([epoch])).digest() for epoch in range(epochs)]
        self.consents = [0]

    def of_consent(self, number: int) -> str:
        key = self.evidence[-1]
        salt = mac(key, b"consent" + number.to_bytes(8, "big"))[:16]
        return committed(salt, mac(key, b"record"))

    def of_request(
        self, request: str, item: int = 0, epoch: int = 0, kind: str = "lookup", by: str = "alpha"
    ) -> str:
        key = self.asking[epoch]
        asked_by = f"{kind}\0{actor(by)}".encode()
        salt = mac(key, bytes.fromhex(request) + item.to_bytes(8, "big") + asked_by)[:16]
        return committed(salt, mac(key, b"asking"))

    def grant(self, by: str = "alpha", **changes: Any) -> str:
        number = self.consents[-1]
        self.consents[-1] += 1
        return self.log.grant(by, subject=self.of_consent(number), **changes)

    def change(self, kind: str, consent: str, number: int, **fields: Any) -> int:
        return self.log.change(kind, consent, subject=self.of_consent(number), **fields)

    def lookup(
        self, consents: list[str], by: str = "alpha", epoch: int = 0, refused: int = 0
    ) -> int:
        """A lookup whose every item is about the person."""
        index = self.log.lookup(consents, by, refused=refused)
        request = self.log.entries[index]["request"]
        for item, fields in enumerate(self.log.items[index]):
            fields["subject"] = self.of_request(request, item, epoch, by=by)
        return index

    def forget(self) -> None:
        """After an erasure a new consent is under a new evidence key."""
        self.evidence.append(hashlib.sha256(self.evidence[-1]).digest())
        self.consents.append(0)

    def keys(self, **changes: Any) -> str:
        content = {
            "ledger": LEDGER,
            "evidence_keys": [
                {"key": key.hex(), "consents": count}
                for key, count in zip(self.evidence, self.consents, strict=True)
            ],
            "asking_keys": [
                {"epoch": epoch, "key": key.hex()} for epoch, key in enumerate(self.asking)
            ],
        }
        return json.dumps({**content, **changes})

    def audit(self, **changes: Any) -> tuple[Person, Replay]:
        who = Person(SubjectKeys.parse(self.keys(**changes), LEDGER))
        replay = self.log.replay(followers=[who])
        who.finish(replay)
        return who, replay


@pytest.fixture
def someone() -> Someone:
    """A person among others, of whom nothing may be found."""
    log = Logbook()
    stranger = Someone(log, b"stranger")
    one = stranger.grant()
    stranger.lookup([one], refused=1)
    log.lookup([log.grant()], refused=2)
    return Someone(log)


def happened(who: Person) -> list[tuple[int, str]]:
    return [(event.entry, event.what) for event in who.history]


def test_a_persons_history_is_found_whole_and_in_order(someone: Someone) -> None:
    log = someone.log
    first = someone.grant()
    granted = len(log.entries) - 1
    asked = someone.lookup([first, first], refused=1)
    elsewhere = someone.lookup([], "beta", refused=1)
    rows = someone.grant(purposes=["contribution"])
    contributed = log.contribute(
        [{ACCOUNTS: rows}] * 3 + [{ACCOUNTS: log.grant(purposes=["contribution"])}]
    )
    withdrawn = someone.change("consent.withdrawn", first, 0)
    notice = log.entries[withdrawn]["notice"]
    confirmed = log.settle(notice)
    withheld = log.add(
        "lookup.withheld",
        "gateway/gateway",
        items=[{"item": 1}],
        lookup=asked,
        request=log.entries[asked]["request"],
    )
    who, replay = someone.audit()
    assert found(replay) == []
    assert happened(who) == [
        (granted, "consent.granted"),
        (asked, "lookup: permit"),
        (asked, "lookup: permit"),
        (asked, "lookup: refuse"),
        (elsewhere, "lookup: refuse"),
        (elsewhere + 1, "consent.granted"),
        (contributed, "contribution.batch"),
        (withdrawn, "consent.withdrawn"),
        (confirmed - 1, "notice.acknowledged"),
        (confirmed, "deletion.confirmed"),
        (withheld, "lookup.withheld"),
    ]
    sums = who.sums
    assert (sums.permitted, sums.refused, sums.withheld, sums.rows) == (2, 2, 1, 3)
    assert (who.expected, len(who.found)) == (2, 2)


def test_disputes_and_erasures_are_found_by_the_asking_key(someone: Someone) -> None:
    log = someone.log
    consent = someone.grant()
    dispute, erasure, request = log.id(), log.id(), log.id()
    opened = log.add(
        "dispute.opened",
        "alpha",
        dispute=dispute,
        subject=someone.of_request(dispute, kind="dispute.opened"),
        jurisdiction="CN",
        answer_by=log.entries[-1]["time"].replace("2026-01-05", "2026-01-20"),
    )
    log.add("dispute.answered", "beta", dispute=dispute, outcome="upheld", member="beta")
    log.add(
        "erasure.requested",
        "alpha",
        erasure=erasure,
        subject=someone.of_request(request, kind="erasure.requested"),
        request=request,
        ground="PIPL 47",
    )
    item = {"consent": consent, "recipient": "alpha", **log.notice()}
    executed = log.add(
        "erasure.executed", "operator/op", items=[item], erasure=erasure, basis="PIPL 47", rows=4
    )
    log.settle(item["notice"])
    wanted = log.id()
    refused = log.add(
        "dispute.refused",
        "alpha",
        request=wanted,
        subject=someone.of_request(wanted, kind="dispute.refused"),
        consents={"credit_accounts": "00" * 16},
        about="credit_accounts.other",
        statement_sha256="00" * 32,
    )
    who, replay = someone.audit()
    assert found(replay) == []
    assert happened(who) == [
        (opened - 1, "consent.granted"),
        (opened, "dispute.opened"),
        (opened + 1, "dispute.answered"),
        (opened + 2, "erasure.requested"),
        (executed, "erasure.executed"),
        (executed, "consent erased"),
        (executed + 1, "notice.acknowledged"),
        (executed + 2, "deletion.confirmed"),
        (refused, "dispute.refused"),
    ]


def test_a_person_who_came_back_after_an_erasure_has_two_evidence_keys(someone: Someone) -> None:
    someone.grant()
    someone.forget()
    someone.grant()
    someone.grant()
    who, replay = someone.audit()
    assert found(replay) == []
    assert sorted(who.found) == [(0, 0), (1, 0), (1, 1)]


def test_a_lookup_after_a_rotation_is_found_by_the_next_asking_key() -> None:
    someone = Someone(Logbook(), epochs=2)
    consent = someone.grant()
    someone.lookup([consent], epoch=0)
    someone.lookup([consent], epoch=1)
    who, replay = someone.audit()
    assert found(replay) == []
    assert who.sums.permitted == 2


def test_a_consent_that_is_not_in_the_log_is_missing(someone: Someone) -> None:
    someone.grant()
    someone.consents[-1] += 1
    who, replay = someone.audit()
    assert found(replay) == [(Kind.PERSON_CONSENT_MISSING, None)]
    assert (who.expected, len(who.found)) == (2, 1)


def test_a_consent_that_is_recorded_twice_is_found(someone: Someone) -> None:
    someone.grant()
    someone.log.grant(subject=someone.of_consent(0))
    _, replay = someone.audit()
    assert found(replay) == [(Kind.PERSON_CONSENT_TWICE, len(someone.log.entries) - 1)]


def test_a_consent_beyond_those_that_were_told_is_found(someone: Someone) -> None:
    someone.grant()
    someone.grant()
    someone.consents[-1] = 1
    _, replay = someone.audit()
    assert found(replay) == [(Kind.PERSON_CONSENT_BEYOND, len(someone.log.entries) - 1)]


def test_a_use_that_was_hidden_under_another_subject_is_found(someone: Someone) -> None:
    consent = someone.grant()
    index = someone.log.lookup([consent])
    _, replay = someone.audit()
    assert found(replay) == [(Kind.PERSON_USE_UNLINKED, index)]


def test_a_use_under_anothers_consent_is_found(someone: Someone) -> None:
    someone.grant()
    index = someone.lookup([someone.log.grant()])
    _, replay = someone.audit()
    assert found(replay) == [(Kind.PERSON_USE_UNDER_ANOTHER, index)]


def test_a_row_under_two_persons_consents_is_found(someone: Someone) -> None:
    mine = someone.grant(purposes=["contribution"])
    log = someone.log
    others = log.grant(purposes=["contribution"], categories=["spending"])
    index = log.contribute([{ACCOUNTS: mine}, {ACCOUNTS: mine, "spending": others}])
    _, replay = someone.audit()
    assert found(replay) == [(Kind.PERSON_USE_UNDER_ANOTHER, index)]


def test_an_asking_key_that_was_kept_back_shows() -> None:
    someone = Someone(Logbook(), epochs=2)
    consent = someone.grant()
    index = someone.lookup([consent], epoch=1)
    _, replay = someone.audit(asking_keys=[{"epoch": 0, "key": someone.asking[0].hex()}])
    assert found(replay) == [(Kind.PERSON_USE_UNLINKED, index)]


def test_an_erasure_that_leaves_a_consent_is_found(someone: Someone) -> None:
    log = someone.log
    one, two = someone.grant(), someone.grant("beta")
    erasure = log.id()
    log.add("erasure.requested", erasure=erasure, subject=digest("x"), ground="PIPL 47")

    def execute(*consents: tuple[str, str]) -> int:
        items = [{"consent": c, "recipient": by, **log.notice()} for c, by in consents]
        return log.add(
            "erasure.executed", "operator/op", items=items, erasure=erasure, basis="b", rows=1
        )

    index = execute((one, "alpha"))
    _, replay = someone.audit()
    assert found(replay) == [(Kind.PERSON_ERASURE_INCOMPLETE, index)]
    del log.entries[index], log.items[index]
    execute((one, "alpha"), (two, "beta"))
    assert found(someone.audit()[1]) == []


def test_entries_after_an_erasure_without_notices_are_not_the_persons(someone: Someone) -> None:
    log = someone.log
    consent = someone.grant()
    erasure = log.id()
    log.add("erasure.requested", erasure=erasure, subject=digest("x"), ground="PIPL 47")
    items = [{"consent": consent, "recipient": "alpha"}]
    log.add("erasure.executed", "operator/op", items=items, erasure=erasure, basis="b", rows=1)
    person, _ = someone.audit()
    before = len(person.history)
    log.add("staff.viewed", "auditor/a", view="erasure.list")
    assert len(someone.audit()[0].history) == before


@pytest.mark.parametrize(
    "changes",
    [
        {"ledger": "another.example/ledger"},
        {"ledger": None},
        {"evidence_keys": None},
        {"evidence_keys": [], "asking_keys": []},
        {"evidence_keys": [{"key": "00" * 31, "consents": 1}]},
        {"evidence_keys": [{"key": "zz" * 32, "consents": 1}]},
        {"evidence_keys": [{"key": "00" * 32, "consents": -1}]},
        {"evidence_keys": [{"key": "00" * 32, "consents": True}]},
        {"evidence_keys": [{"key": "00" * 32, "consents": 10**9}]},
        {"asking_keys": [["00" * 32]]},
        {"asking_keys": [{"key": "00" * 32}]},
    ],
)
def test_keys_of_another_ledger_or_form_are_refused(someone: Someone, changes: Any) -> None:
    with pytest.raises(SubjectKeysError):
        SubjectKeys.parse(someone.keys(**changes), LEDGER)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, digest("x")])
def test_what_is_no_keys_file_is_refused(text: str) -> None:
    with pytest.raises(SubjectKeysError):
        SubjectKeys.parse(text, LEDGER)
