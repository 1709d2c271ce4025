"""Consents of a file's persons: each once, whatever breaks, each with its own evidence."""

import csv
import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from concordat import (
    Client,
    ConsentDraft,
    DataCategory,
    InvalidInput,
    Options,
    Purpose,
    ResidentId,
    RetryPolicy,
    Token,
    Unavailable,
)
from concordat.bulk import GrantReport, JobChanged, MappingError, Progress, SourceError, grant
from concordat_rpc.errors import Kind, Refusal
from tests.fabricate import resident_id
from tests.peer import Abort, Peer, Refuse
from tests.peer_tokens import EPOCH

ONE_TRY = Options(channels=1, retry=RetryPolicy(max_attempts=1))
NEXT = EPOCH + 1
NOT_ACTIVE = Refuse(Refusal(Kind.FAILED_PRECONDITION, "EPOCH_NOT_ACTIVE", "ended"))
REUSED = Refuse(Refusal(Kind.ALREADY_EXISTS, "REQUEST_ID_REUSED", "used before"))
UNTIL = datetime.now(UTC) + timedelta(days=300)
FORM = hashlib.sha256(b"the form").digest()
MAPPING = """
version = 1
[subject]
kind = "cn-resident-id/1"
column = "id"
[account]
account_ref = "account"
as_of_month = { constant = "2026-10" }
status = { constant = "OPEN" }
product = { constant = "REVOLVING" }
opened_quarter = { constant = "2020-02-01" }
"""


def agreed(token: Token, evidence: bytes | None, notice: str = "2026-1") -> ConsentDraft:
    return ConsentDraft(
        token=token,
        purposes={Purpose.CONTRIBUTION},
        categories={DataCategory.CREDIT_ACCOUNTS},
        expires_at=UNTIL,
        notice_version=notice,
        evidence_sha256=evidence,
    )


class Lender:
    """A member with a file of accounts."""

    def __init__(self, client: Client, folder: Path) -> None:
        self.client, self.folder = client, folder
        self.file, self.map = folder / "file.csv", folder / "map.toml"
        self.rejects = folder / "rejects.csv"
        self.map.write_text(MAPPING)

    def holds(self, *persons: int | str, forms: list[str] | None = None) -> None:
        """Write a row for each person, or for an identifier as it is."""
        with self.file.open("w", newline="") as out:
            writer = csv.writer(out)
            writer.writerow(["id", "account", "form"])
            for at, person in enumerate(persons):
                identifier = resident_id(person) if isinstance(person, int) else person
                writer.writerow([identifier, f"a{at}", forms[at] if forms else ""])

    def grant(self, job: str = "a", draft: Any = agreed, **options: Any) -> GrantReport:
        if "evidence_column" not in options:
            options.setdefault("evidence_sha256", FORM)
        journal = self.folder / "jobs" / f"{job}.journal"
        return grant(
            *(self.client, self.file, self.map, draft),
            journal=journal,
            rejects=self.rejects,
            **options,
        )

    def refused(self) -> list[tuple[str, str, str, str]]:
        with self.rejects.open(newline="") as opened:
            return [
                (row["row"], row["field"], row["reason"], row["refused_by"])
                for row in csv.DictReader(opened)
            ]

    def tokens(self, *persons: int) -> list[bytes]:
        made = self.client.tokenise([ResidentId(resident_id(one)) for one in persons])
        return [token.value for token in made]


@pytest.fixture
def lender(profile: Path, peer: Peer, tmp_path: Path) -> Iterator[Lender]:
    assert peer.port
    with Client.open(profile, ONE_TRY) as client:
        yield Lender(client, tmp_path)


def drafts(peer: Peer) -> list[Any]:
    """Every draft of the requests that the gateway took, in order."""
    taken = {one.request_id: one for one in peer.requests["GrantConsents"]}
    return [draft for request in taken.values() for draft in request.consents]


def test_each_person_of_a_file_is_granted_once(lender: Lender, peer: Peer) -> None:
    lender.holds(1, 2, 1, 3, 2, 2)
    report = lender.grant()
    assert (report.rows_read, report.consents_recorded, report.rows_refused) == (6, 3, 0)
    assert report.rows_repeated == 3
    [request] = peer.requests["GrantConsents"]
    assert [one.token for one in request.consents] == lender.tokens(1, 2, 3)
    for one in request.consents:
        assert one.evidence_sha256 == FORM
        assert (list(one.purposes), list(one.categories)) == ([2], [1])
        assert one.validity.expiry.ToDatetime(UTC) == UNTIL
    assert lender.refused() == []
    # The same call sends nothing any more.
    again = lender.grant()
    assert again.was_done
    assert (again.consents_recorded, again.rows_repeated) == (3, 3)
    assert len(peer.requests["GrantConsents"]) == 1


def test_persons_have_evidence_of_their_own(lender: Lender, peer: Peer) -> None:
    forms = [hashlib.sha256(form).hexdigest() for form in (b"one", b"two", b"three")]
    lender.holds(1, 2, 3, 1, 4, 3, forms=[forms[0], "", "abc", forms[1], f" {forms[2]} ", forms[1]])
    report = lender.grant(evidence_column="form")
    assert [one.evidence_sha256 for one in drafts(peer)] == [
        hashlib.sha256(form).digest() for form in (b"one", b"three", b"two")
    ]
    assert (report.consents_recorded, report.rows_refused, report.rows_repeated) == (3, 2, 1)
    # A person whose first row has none is granted by a later one.
    assert [one.token for one in drafts(peer)] == lender.tokens(1, 4, 3)
    assert lender.refused() == [
        ("3", "evidence_sha256", "REQUIRED", "file"),
        ("4", "evidence_sha256", "MALFORMED", "file"),
    ]
    assert "abc" not in lender.rejects.read_text()


def test_rows_of_nobody_and_refused_persons_are_listed_by_number(
    lender: Lender, peer: Peer
) -> None:
    lender.holds(1, "7", 2, "", 2)

    def refused_for_2(token: Token, evidence: bytes | None) -> ConsentDraft:
        second = token.value == lender.tokens(2)[0]
        return agreed(token, evidence, "refused" if second else "2026-1")

    report = lender.grant(draft=refused_for_2)
    assert (report.consents_recorded, report.rows_refused, report.rows_repeated) == (1, 3, 1)
    assert lender.refused() == [
        ("3", "subject", "MALFORMED", "file"),
        ("4", "notice_version", "OUT_OF_RANGE", "gateway"),
        ("5", "subject", "REQUIRED", "file"),
    ]


def test_only_the_subject_of_a_row_is_read(lender: Lender) -> None:
    lender.file.write_text(f"id\n{resident_id(1)}\n")
    assert lender.grant().consents_recorded == 1


@pytest.mark.parametrize("after_work", [False, True])
def test_a_job_goes_on_at_the_request_that_was_not_answered(
    lender: Lender, peer: Peer, after_work: bool
) -> None:
    people = range(1, 1_301)
    lender.holds(*people, *people)
    peer.next("GrantConsents", None, Abort(grpc.StatusCode.UNAVAILABLE, after_work=after_work))
    seen: list[Progress] = []
    with pytest.raises(Unavailable):
        lender.grant(progress=seen.append)
    assert seen[-1].rows_accepted == 1_000
    assert seen[-1].offset < seen[-1].size
    report = lender.grant(progress=seen.append)
    assert (report.consents_recorded, report.rows_repeated) == (1_300, 1_300)
    assert (seen[-1].rows_accepted, seen[-1].offset) == (1_300, seen[-1].size)
    first, second, third = peer.requests["GrantConsents"]
    assert [len(one.consents) for one in (first, second, third)] == [1_000, 300, 300]
    # The same bytes under the same id: a gateway that has recorded them answers from its record.
    assert second == third
    assert second.request_id != first.request_id
    assert len({one.token for one in drafts(peer)}) == 1_300


def begin_an_epoch(peer: Peer) -> None:
    peer.keyholders.add_epoch(NEXT, peer.time)
    peer.keyholders.end_epoch(EPOCH, peer.time)


def test_a_key_epoch_that_ends_doubles_nobody(lender: Lender, peer: Peer) -> None:
    lender.holds(1, 2, 3)
    peer.next("GrantConsents", Abort(grpc.StatusCode.UNAVAILABLE, after_work=True))
    with pytest.raises(Unavailable):
        lender.grant()
    begin_an_epoch(peer)
    # As a gateway says of old tokens, and of an id that it has recorded with other ones.
    peer.next("GrantConsents", NOT_ACTIVE, REUSED)
    report = lender.grant()
    assert (report.consents_recorded, report.rows_refused) == (3, 0)
    requests = peer.requests["GrantConsents"]
    assert [one.epoch for one in requests] == [EPOCH, EPOCH, NEXT]
    assert len({one.request_id for one in requests}) == 1
    assert [one[2:] for one in lender.refused()] == [("UNKNOWN", "gateway")]


def test_tokens_are_made_again_where_their_epoch_is_taken_no_more(
    lender: Lender, peer: Peer
) -> None:
    lender.holds(1, 2, 3)
    lender.tokens(1)
    begin_an_epoch(peer)
    peer.next("GrantConsents", NOT_ACTIVE)
    assert lender.grant().consents_recorded == 3
    assert peer.requests["GrantConsents"][-1].epoch == NEXT


@pytest.mark.parametrize(
    "change",
    [
        {"draft": lambda token, evidence: agreed(token, evidence, "2026-2")},
        {"evidence_sha256": bytes(32)},
        {"evidence_column": "form"},
    ],
)
def test_another_consent_is_another_job(lender: Lender, peer: Peer, change: dict[str, Any]) -> None:
    lender.holds(1, 2)
    lender.grant()
    with pytest.raises(JobChanged, match=r"another consent.*--job"):
        lender.grant(**change)
    lender.holds(1, 2, 3)
    with pytest.raises(JobChanged, match="source"):
        lender.grant()
    assert lender.grant("b").consents_recorded == 3
    assert len(peer.requests["GrantConsents"]) == 2


def broken_terms(token: Token, evidence: bytes | None) -> ConsentDraft:
    return agreed(token, evidence, "")


@pytest.mark.parametrize(
    ("spoil", "options", "error", "said"),
    [
        (lambda one: one.holds(), {}, SourceError, r"file\.csv: has no rows"),
        (lambda one: one.file.write_text(""), {}, SourceError, r"file\.csv: is empty"),
        (lambda one: one.file.write_text("a\n1\n"), {}, SourceError, "no column 'id'"),
        (lambda one: one.map.write_text(""), {}, MappingError, "is empty"),
        (None, {"evidence_column": "no"}, SourceError, "no column 'no'"),
        (None, {"evidence_column": "form", "evidence_sha256": FORM}, InvalidInput, "one is"),
        (None, {"evidence_sha256": b"short"}, InvalidInput, "evidence_sha256"),
        (None, {"draft": broken_terms}, InvalidInput, "notice_version"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_sent(
    lender: Lender,
    peer: Peer,
    spoil: Callable[[Lender], object] | None,
    options: dict[str, Any],
    error: type[Exception],
    said: str,
) -> None:
    lender.holds(1, 2)
    if spoil is not None:
        spoil(lender)
    with pytest.raises(error, match=said):
        lender.grant(**options)
    assert peer.requests["GrantConsents"] == []
    assert peer.requests["Evaluate"] == []


def test_a_job_of_consents_leaves_no_token_and_no_number(lender: Lender) -> None:
    lender.holds(*range(1, 40))
    lender.grant()
    tokens = lender.tokens(*range(1, 40))
    for file in (lender.folder / "jobs").iterdir():
        content = file.read_bytes()
        for person, token in zip(range(1, 40), tokens, strict=True):
            assert token not in content, file.name
            assert resident_id(person).encode() not in content, file.name
    assert not (lender.folder / "jobs" / "account-ref.key").exists()
