"""Erasure: a person asks, the operator decides, and nothing leads from the person any more.

The derivations of docs/ledger.md, "How a person is named", are written once more here.
"""

import hashlib
import hmac
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
import sqlalchemy as sa

from concordat.v1 import (
    audit_pb2,
    common_pb2,
    consent_pb2,
    dispute_pb2,
    erasure_pb2,
    ledger_pb2,
    signal_pb2,
)
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.rotation import rotate
from concordat_gateway.store.key_tables import live_key
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.subjects import subject_key
from concordat_privacy.audit.person import Person
from concordat_privacy.audit.replay import Replay
from concordat_privacy.audit.subject_keys import SubjectKeys
from concordat_store.database import Database
from tests.rotations import means_of
from tests.services import (
    CALL_SECONDS,
    Caller,
    Consortium,
    account,
    application,
    contribute,
    draft,
    grant,
    grant_one,
    reason_of,
    request_id,
    serving,
    token,
    withdraw,
)
from tests.stores import ORIGIN, ManualClock, StoreUrls, shape_of, traced
from tests.tokenkeys import TokenKeys, peppers

UNDERWRITING = common_pb2.PURPOSE_UNDERWRITING
CONTRIBUTION = common_pb2.PURPOSE_CONTRIBUTION
ACCOUNTS = common_pb2.DATA_CATEGORY_CREDIT_ACCOUNTS
INQUIRIES = common_pb2.DATA_CATEGORY_INQUIRIES
EVERYTHING = (ACCOUNTS, INQUIRIES)
OK = signal_pb2.SUBJECT_STATUS_OK
REFUSED = signal_pb2.SUBJECT_STATUS_NO_CONSENT
PERMISSION = hashlib.sha256(b"the person's own permission").digest()


def ask(caller: Caller, subject: int, epoch: int = 1) -> erasure_pb2.RequestErasureResponse:
    request = erasure_pb2.RequestErasureRequest(
        request_id=request_id(),
        token=token(subject, epoch),
        epoch=epoch,
        ground="the relation has ended",
        evidence_sha256=b"\xaa" * 32,
    )
    return caller.erasures.RequestErasure(request, timeout=CALL_SECONDS)


def execute(consortium: Consortium, erasure_id: bytes) -> erasure_pb2.ExecuteErasureResponse:
    request = erasure_pb2.ExecuteErasureRequest(erasure_id=erasure_id, basis="PIPL 47")
    return consortium.operator.erasures.ExecuteErasure(request, timeout=CALL_SECONDS)


def erase(consortium: Consortium, caller: Caller, subject: int, epoch: int = 1) -> bytes:
    """Ask and execute; the erasure's id."""
    erasure_id = ask(caller, subject, epoch).erasure.erasure_id
    executed = execute(consortium, erasure_id)
    assert executed.erasure.state == erasure_pb2.ERASURE_STATE_ERASED
    return erasure_id


def look_up(
    caller: Caller, subjects: Sequence[int], epoch: int = 1
) -> list[signal_pb2.SubjectResult]:
    request = signal_pb2.BatchLookupRequest(
        tokens=b"".join(token(subject, epoch) for subject in subjects),
        purpose=UNDERWRITING,
        request_id=request_id(),
        epoch=epoch,
    )
    return list(caller.signals.BatchLookup(request, timeout=CALL_SECONDS).results)


def open_by(
    consortium: Consortium, consent: bytes = b"", subject: int | None = None, epoch: int = 1
) -> audit_pb2.OpenSubjectResponse:
    request = audit_pb2.OpenSubjectRequest(
        consent_id=consent,
        token=b"" if subject is None else token(subject, epoch),
        epoch=epoch if subject is not None else 0,
        case="case 7",
        permission_sha256=PERMISSION,
    )
    return consortium.auditor.audit.OpenSubject(request, timeout=CALL_SECONDS)


def keys_file(*opened: audit_pb2.OpenSubjectResponse) -> str:
    """The file of a subject's keys, with all that was opened."""
    evidence = {one.key: one.consents for reply in opened for one in reply.evidence_keys}
    asking = {one.key: one.epoch for reply in opened for one in reply.asking_keys}
    return json.dumps(
        {
            "ledger": ORIGIN,
            "evidence_keys": [{"key": k.hex(), "consents": n} for k, n in evidence.items()],
            "asking_keys": [{"key": k.hex(), "epoch": epoch} for k, epoch in asking.items()],
        }
    )


def exported(consortium: Consortium) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Every entry with its items, as an auditor gets them."""
    stream = consortium.auditor.ledger.ExportEntries(
        ledger_pb2.ExportEntriesRequest(), timeout=CALL_SECONDS
    )
    return [
        (json.loads(one.entry), [json.loads(item) for item in one.items])
        for message in stream
        for one in message.entries
    ]


def audited(
    log: Sequence[tuple[dict[str, Any], list[dict[str, Any]]]], keys: str
) -> tuple[Person, Replay]:
    person = Person(SubjectKeys.parse(keys, ORIGIN))
    replay = Replay(followers=[person])
    for index, (fields, items) in enumerate(log):
        replay.visit(index, fields, items if "items" in fields else None)
    replay.finish()
    person.finish(replay)
    return person, replay


def about_the_person(replay: Replay) -> list[str]:
    """What the audit finds of the person; the members of these consortia have no entries."""
    return [one.message for one in replay.findings.kept if one.kind.name.startswith("PERSON_")]


def mac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def committed(salt: bytes, name: bytes) -> str:
    return hashlib.sha256(b"concordat/subject/v1" + salt + name).hexdigest()


def consents_found(log: Sequence[Any], key: bytes, count: int) -> list[str]:
    """Ids of the consents 0..count-1 under an evidence key, by a loop of the test's own."""
    named = {
        fields["subject"]: fields["consent"]
        for fields, _ in log
        if fields["type"] in ("consent.granted", "consent.requested")
    }
    name = mac(key, b"record")
    return [
        named[committed(mac(key, b"consent" + number.to_bytes(8, "big"))[:16], name)]
        for number in range(count)
    ]


def asked_found(log: Sequence[Any], keys: Sequence[bytes]) -> dict[tuple[int, int], str]:
    """(entry, item) -> decision of every lookup that one of the asking keys finds."""
    return {
        (index, at): item["decision"]
        for index, (fields, items) in enumerate(log)
        if fields["type"] == "lookup"
        for at, item in enumerate(items)
        for key in keys
        if item["subject"]
        == committed(
            mac(
                key,
                bytes.fromhex(fields["request"])
                + at.to_bytes(8, "big")
                + f"lookup\0{fields['actor']}".encode(),
            )[:16],
            mac(key, b"asking"),
        )
    }


def rows_with(urls: Sequence[str], needles: Sequence[bytes]) -> list[str]:
    """Tables of the stores in which a row holds one of some values."""
    found = []
    for url in dict.fromkeys(urls):
        database = Database.open(url)
        with database.read() as connection:
            for table in sa.inspect(connection).get_table_names():
                if table.startswith("alembic"):
                    continue
                for row in connection.exec_driver_sql(f"SELECT * FROM {table}"):
                    values = [bytes(v) for v in row if isinstance(v, bytes | memoryview)]
                    if any(needle in value for needle in needles for value in values):
                        found.append(table)
        database.close()
    return sorted(set(found))


def furnish(consortium: Consortium, caller: Caller, subjects: Sequence[int]) -> list[bytes]:
    """The caller contributes an account and an application of each; the consents to it."""
    consents = [
        one.consent_id
        for one in grant(
            caller, [draft(consortium, one, [CONTRIBUTION], EVERYTHING) for one in subjects]
        ).granted
    ]
    rows = [account(consortium, one) for one in subjects]
    rows += [application(consortium, one) for one in subjects]
    assert contribute(caller, rows).rows_accepted == len(rows)
    return consents


def test_a_person_is_followed_whole_through_a_rotation_and_an_erasure(
    journal: Journal, signal_store: SignalStore, clock: ManualClock
) -> None:
    keys = TokenKeys.of_epochs(1, 2)
    with serving(journal, signal_store, clock, keys) as consortium:
        alpha, beta, gamma = consortium.alpha, consortium.beta, consortium.gamma
        given = [grant_one(alpha, draft(consortium, 1))]
        given += furnish(consortium, beta, [1, 2])[:1]
        grant_one(alpha, draft(consortium, 2))
        look_up(alpha, [2, 1, 3])  # permitted
        look_up(gamma, [1])  # refused
        withdraw(alpha, given[0])
        look_up(alpha, [1])  # refused
        rotate(means_of(journal, signal_store, keys), None)
        again = draft(consortium, token(1, 2))
        given.append(grant(alpha, [again], epoch=2).granted[0].consent_id)
        assert look_up(alpha, [1], epoch=2)[0].status == OK
        assert look_up(gamma, [1], epoch=1)[0].status == REFUSED  # by the older token
        opened = open_by(consortium, consent=given[0])
        by_token = open_by(consortium, subject=1, epoch=2)
        assert opened.evidence_keys == by_token.evidence_keys
        assert [one.epoch for one in opened.asking_keys] == [1, 2]
        assert opened.asking_keys == by_token.asking_keys
        erase(consortium, beta, 1, epoch=2)
        assert look_up(alpha, [1], epoch=2)[0].status == REFUSED
        log = exported(consortium)

    person, replay = audited(log, keys_file(opened))
    assert about_the_person(replay) == []
    [evidence] = opened.evidence_keys
    assert evidence.consents == 3
    assert consents_found(log, evidence.key, 3) == [one.hex() for one in given]
    found = asked_found(log, [one.key for one in opened.asking_keys])
    assert sorted(found.values()) == ["permit"] * 2 + ["refuse"] * 4
    assert (person.sums.permitted, person.sums.refused) == (2, 4)
    assert person.sums.rows == 2
    told = {(event.entry, event.item) for event in person.history if event.what.startswith("look")}
    assert told == set(found)
    assert set(person.consents) == {one.hex() for one in given}
    last = [event.what for event in person.history]
    assert last.count("erasure.requested") == last.count("erasure.executed") == 1
    assert last.count("consent erased") == 3
    assert last.count("staff.viewed") == 2


def test_nothing_in_the_stores_names_an_erased_person(
    consortium: Consortium, store_urls: StoreUrls
) -> None:
    consent = grant_one(consortium.alpha, draft(consortium, 1))
    furnish(consortium, consortium.beta, [1, 2])
    opened = open_by(consortium, consent=consent)
    name = subject_key(peppers(1)[1], token(1))
    asking = [one.key for one in opened.asking_keys]
    disputed = dispute_pb2.OpenDisputeRequest(
        request_id=request_id(),
        token=token(1),
        category=common_pb2.DATA_CATEGORY_CREDIT_ACCOUNTS,
        reason=dispute_pb2.DISPUTE_REASON_OTHER,
        statement_sha256=bytes(32),
    )
    grant_one(consortium.alpha, draft(consortium, 1, [common_pb2.PURPOSE_DISPUTE]))
    consortium.alpha.disputes.OpenDispute(disputed, timeout=CALL_SECONDS)
    before = rows_with(store_urls.all, [name])
    wanted = {"consent", "subject_element", "subject_record", "relation", "inquiry", "dispute"}
    assert wanted <= {*before}

    erase(consortium, consortium.alpha, 1)

    assert rows_with(store_urls.all, [name, *asking]) == []
    # A repeated call gets its reply, and the recipient its notice: they have the consent's id and
    # nothing of the person.
    assert rows_with(store_urls.all, [consent]) == ["erased_consent", "notice", "request"]
    assert rows_with(store_urls.all, [subject_key(peppers(1)[1], token(2))]) != []
    with consortium.journal.read() as connection:
        kept = connection.execute(sa.text("SELECT subject, live_id FROM erasure")).one()
    assert kept.subject is None
    database = Database.open(store_urls.live_keys_url)
    with database.read() as connection:
        left = set(connection.execute(sa.select(live_key.c.key_id)).scalars())
    database.close()
    assert bytes(kept.live_id) not in left


@pytest.mark.parametrize("recipient", ["alpha", "beta"])
def test_consents_to_every_recipient_end(consortium: Consortium, recipient: str) -> None:
    consents = {
        name: grant_one(getattr(consortium, name), draft(consortium, 1))
        for name in ("alpha", "beta", "gamma")
    }
    erase(consortium, getattr(consortium, recipient), 1)
    for name, consent in consents.items():
        caller = getattr(consortium, name)
        assert [one.status for one in look_up(caller, [1])] == [REFUSED]
        with pytest.raises(grpc.RpcError) as refusal:
            caller.consents.GetConsent(
                consent_pb2.GetConsentRequest(consent_id=consent), timeout=CALL_SECONDS
            )
        assert reason_of(refusal.value) == "CONSENT_NOT_FOUND"
    [executed] = [one for one in exported(consortium) if one[0]["type"] == "erasure.executed"]
    assert {item["consent"]: item["recipient"] for item in executed[1]} == {
        consent.hex(): name for name, consent in consents.items()
    }


def test_an_erased_person_is_found_by_a_consent_and_no_more_by_a_token(
    consortium: Consortium,
) -> None:
    consent = grant_one(consortium.alpha, draft(consortium, 1))
    before = open_by(consortium, subject=1)
    erase(consortium, consortium.alpha, 1)
    assert open_by(consortium, consent=consent).evidence_keys == before.evidence_keys
    assert not open_by(consortium, consent=consent).asking_keys
    by_token = open_by(consortium, subject=1)
    assert not by_token.evidence_keys
    assert by_token.asking_keys == before.asking_keys


def test_who_consents_again_after_an_erasure_begins_anew(consortium: Consortium) -> None:
    furnish(consortium, consortium.beta, [1])
    first = grant_one(consortium.alpha, draft(consortium, 1))
    erase(consortium, consortium.alpha, 1)
    second = grant_one(consortium.alpha, draft(consortium, 1))
    old, new = (open_by(consortium, consent=one) for one in (first, second))
    assert old.evidence_keys[0].key != new.evidence_keys[0].key
    assert (old.evidence_keys[0].consents, new.evidence_keys[0].consents) == (2, 1)
    [result] = look_up(consortium.alpha, [1])
    assert result.status == OK
    [lenders] = [one for one in result.signals if one.name == "lenders_open"]
    assert lenders.status == signal_pb2.SIGNAL_STATUS_NOT_FOUND
    log = exported(consortium)
    person, replay = audited(log, keys_file(old, new))
    assert about_the_person(replay) == []
    assert person.expected == len(person.consents) == 3


def test_an_opening_is_recorded_with_its_permission_before_it_is_shown(
    consortium: Consortium,
) -> None:
    consent = grant_one(consortium.alpha, draft(consortium, 1))
    reply = open_by(consortium, consent=consent)
    entry = json.loads(reply.receipt.entry)
    assert (entry["type"], entry["view"], entry["case"]) == (
        "staff.viewed",
        "subject.open",
        "case 7",
    )
    assert entry["permission_sha256"] == PERMISSION.hex()
    assert entry["consent"] == consent.hex()
    [asking] = reply.asking_keys
    told = f"staff.viewed\0{entry['actor']}".encode()
    salt = mac(asking.key, bytes.fromhex(entry["request"]) + bytes(8) + told)[:16]
    assert entry["subject"] == committed(salt, mac(asking.key, b"asking"))


@pytest.mark.parametrize("lacking", ["case", "permission_sha256", "consent_id"])
def test_an_opening_without_case_permission_or_subject_is_refused(
    consortium: Consortium, lacking: str
) -> None:
    consent = grant_one(consortium.alpha, draft(consortium, 1))
    request = audit_pb2.OpenSubjectRequest(
        consent_id=consent, case="case 7", permission_sha256=PERMISSION
    )
    request.ClearField(lacking)  # type: ignore[arg-type]  # one of its fields
    size = consortium.journal.size
    with pytest.raises(grpc.RpcError) as refusal:
        consortium.auditor.audit.OpenSubject(request, timeout=CALL_SECONDS)
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert consortium.journal.size == size


@pytest.mark.parametrize("role", ["alpha", "operator"])
def test_only_an_auditor_opens_a_subject(consortium: Consortium, role: str) -> None:
    consent = grant_one(consortium.alpha, draft(consortium, 1))
    request = audit_pb2.OpenSubjectRequest(
        consent_id=consent, case="case 7", permission_sha256=PERMISSION
    )
    with pytest.raises(grpc.RpcError) as refusal:
        getattr(consortium, role).audit.OpenSubject(request, timeout=CALL_SECONDS)
    assert reason_of(refusal.value) == "ROLE_NOT_ALLOWED"


def test_a_request_of_erasure_does_not_tell_whether_the_pool_knows_the_subject(
    consortium: Consortium,
) -> None:
    furnish(consortium, consortium.beta, [1])
    ask(consortium.alpha, 3)
    runs, entries = [], []
    for subject in (1, 2):
        with traced() as run:
            reply = ask(consortium.alpha, subject)
        runs.append(shape_of(run))
        entries.append(json.loads(reply.receipt.entry))
    assert runs[0] == runs[1]
    assert entries[0].keys() == entries[1].keys()
    assert len(json.dumps(entries[0])) == len(json.dumps(entries[1]))


def test_a_grant_runs_the_same_for_a_known_subject_as_for_a_new_one(
    consortium: Consortium,
) -> None:
    grant_one(consortium.beta, draft(consortium, 1))
    grant_one(consortium.alpha, draft(consortium, 3))
    runs = []
    for subject in (1, 2):
        with traced() as run:
            grant_one(consortium.alpha, draft(consortium, subject))
        # How many rows came back is no statement of its own, and no longer one.
        runs.append([(one.text, one.parameters) for one in shape_of(run)])
    assert runs[0] == runs[1]


def test_a_member_sees_its_own_requests_and_staff_all(consortium: Consortium) -> None:
    furnish(consortium, consortium.beta, [1])
    mine = erase(consortium, consortium.alpha, 1)
    other = ask(consortium.beta, 2).erasure.erasure_id

    def listed(caller: Caller) -> dict[bytes, erasure_pb2.Erasure]:
        reply = caller.erasures.ListErasures(
            erasure_pb2.ListErasuresRequest(case="case 8"), timeout=CALL_SECONDS
        )
        return {one.erasure_id: one for one in reply.erasures}

    assert list(listed(consortium.alpha)) == [mine]
    assert listed(consortium.alpha)[mine].rows == 0  # what others held is not a member's to know
    size = consortium.journal.size
    for caller in (consortium.operator, consortium.auditor):
        seen = listed(caller)
        assert list(seen) == [mine, other]
        assert (seen[mine].rows, seen[mine].consents) == (2, 1)
    views = [json.loads(leaf) for _, leaf, _ in consortium.journal.entries(size, size + 2)]
    assert {(one["type"], one["view"], one["case"]) for one in views} == {
        ("staff.viewed", "erasure.list", "case 8")
    }


def test_pages_of_erasures_have_each_once(consortium: Consortium) -> None:
    wanted = [ask(consortium.alpha, subject).erasure.erasure_id for subject in range(5)]
    found: list[bytes] = []
    page_token = ""
    while True:
        reply = consortium.alpha.erasures.ListErasures(
            erasure_pb2.ListErasuresRequest(page_size=2, page_token=page_token),
            timeout=CALL_SECONDS,
        )
        found += [one.erasure_id for one in reply.erasures]
        page_token = reply.next_page_token
        if not page_token:
            break
    assert found == wanted


def test_a_decision_stands(consortium: Consortium) -> None:
    grant_one(consortium.alpha, draft(consortium, 1))
    refused = ask(consortium.alpha, 1).erasure.erasure_id
    refuse = erasure_pb2.RefuseErasureRequest(erasure_id=refused, basis="a duty to keep")
    reply = consortium.operator.erasures.RefuseErasure(refuse, timeout=CALL_SECONDS)
    assert reply.erasure.state == erasure_pb2.ERASURE_STATE_REFUSED
    entry = json.loads(reply.receipt.entry)
    assert (entry["type"], entry["basis"]) == ("erasure.refused", "a duty to keep")
    again = consortium.operator.erasures.RefuseErasure(refuse, timeout=CALL_SECONDS)
    assert not again.HasField("receipt")
    with pytest.raises(grpc.RpcError) as refusal:
        execute(consortium, refused)
    assert reason_of(refusal.value) == "ERASURE_REFUSED"
    assert [one.status for one in look_up(consortium.alpha, [1])] == [OK]

    executed = erase(consortium, consortium.alpha, 1)
    size = consortium.journal.size
    again_executed = execute(consortium, executed)
    assert again_executed.erasure.state == erasure_pb2.ERASURE_STATE_ERASED
    assert consortium.journal.size == size
    refuse.erasure_id = executed
    with pytest.raises(grpc.RpcError) as refusal:
        consortium.operator.erasures.RefuseErasure(refuse, timeout=CALL_SECONDS)
    assert reason_of(refusal.value) == "ERASURE_EXECUTED"


def test_only_the_operator_decides(consortium: Consortium) -> None:
    erasure_id = ask(consortium.alpha, 1).erasure.erasure_id
    request = erasure_pb2.ExecuteErasureRequest(erasure_id=erasure_id, basis="x")
    for caller in (consortium.alpha, consortium.auditor):
        with pytest.raises(grpc.RpcError) as refusal:
            caller.erasures.ExecuteErasure(request, timeout=CALL_SECONDS)
        assert reason_of(refusal.value) == "ROLE_NOT_ALLOWED"
    with pytest.raises(grpc.RpcError) as refusal:
        execute(consortium, bytes(16))
    assert reason_of(refusal.value) == "ERASURE_NOT_FOUND"


def test_a_request_is_still_the_persons_after_a_rotation(
    journal: Journal, signal_store: SignalStore, clock: ManualClock
) -> None:
    keys = TokenKeys.of_epochs(1, 2)
    with serving(journal, signal_store, clock, keys) as consortium:
        furnish(consortium, consortium.beta, [1])
        grant_one(consortium.alpha, draft(consortium, 1))
        erasure_id = ask(consortium.alpha, 1).erasure.erasure_id
        rotate(means_of(journal, signal_store, keys), None)
        assert execute(consortium, erasure_id).erasure.consents == 2
        assert [one.status for one in look_up(consortium.alpha, [1], epoch=2)] == [REFUSED]
        # Nor is the person found by the older token, or carried on by a later rotation.
        assert [one.status for one in look_up(consortium.alpha, [1], epoch=1)] == [REFUSED]


def test_consents_of_one_person_are_numbered_once_each_under_racing_grants(
    consortium: Consortium,
) -> None:
    callers = [consortium.alpha, consortium.beta, consortium.gamma]
    with ThreadPoolExecutor(6) as pool:
        given = list(
            pool.map(lambda at: grant_one(callers[at % 3], draft(consortium, 1)), range(18))
        )
    opened = open_by(consortium, consent=given[0])
    [evidence] = opened.evidence_keys
    assert evidence.consents == 18
    log = exported(consortium)
    assert {*consents_found(log, evidence.key, 18)} == {one.hex() for one in given}
