"""Lookups: what is answered under which consent, and how refusals look."""

import hashlib
import hmac
import json
import threading
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from concordat._channel import MAX_RECEIVE_BYTES
from concordat.v1 import common_pb2, consent_pb2, signal_pb2
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.rotation import rotate
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.subjects import subject_key
from concordat_privacy.catalogue.signals import SIGNALS
from concordat_privacy.log.errors import LogError
from concordat_privacy.log.leaf import MAX_LEAF_BYTES, parse_item
from concordat_privacy.log.merkle import Tree, leaf_hash, verify_inclusion
from concordat_rpc.limits import Limits
from tests.rotations import means_of
from tests.services import (
    CALL_SECONDS,
    PEPPER,
    Caller,
    Consortium,
    account,
    application,
    contribute,
    draft,
    fields_of,
    grant,
    grant_one,
    serving,
    token,
    withdraw,
)
from tests.stores import EVIDENCE_SECRET, ManualClock, listening, shape_of, statements, traced
from tests.tokenkeys import TokenKeys

UNDERWRITING = common_pb2.PURPOSE_UNDERWRITING
CONTRIBUTION = common_pb2.PURPOSE_CONTRIBUTION
REVIEW = common_pb2.PURPOSE_PORTFOLIO_REVIEW
DISPUTE = common_pb2.PURPOSE_DISPUTE
ACCOUNTS = common_pb2.DATA_CATEGORY_CREDIT_ACCOUNTS
INQUIRIES = common_pb2.DATA_CATEGORY_INQUIRIES
SPENDING = common_pb2.DATA_CATEGORY_SPENDING
TRADE = common_pb2.DATA_CATEGORY_TRADE
EVERYTHING = (ACCOUNTS, INQUIRIES, SPENDING)

OK = signal_pb2.SUBJECT_STATUS_OK
REFUSED = signal_pb2.SUBJECT_STATUS_NO_CONSENT


REQUEST_ID = bytes(range(16))


def look_up(
    caller: Caller, subject: int, purpose: int = UNDERWRITING, signals: Sequence[str] = ()
) -> signal_pb2.LookupResponse:
    request = signal_pb2.LookupRequest(
        token=token(subject),
        purpose=common_pb2.Purpose.ValueType(purpose),
        signals=signals,
        request_id=REQUEST_ID,
    )
    return caller.signals.Lookup(request, timeout=CALL_SECONDS)


def look_up_batch(
    caller: Caller, subjects: Sequence[int], purpose: int = UNDERWRITING
) -> signal_pb2.BatchLookupResponse:
    request = signal_pb2.BatchLookupRequest(
        tokens=b"".join(map(token, subjects)),
        purpose=common_pb2.Purpose.ValueType(purpose),
        request_id=REQUEST_ID,
    )
    return caller.signals.BatchLookup(request, timeout=CALL_SECONDS)


def signals_of(result: signal_pb2.SubjectResult) -> dict[str, signal_pb2.Signal]:
    return {signal.name: signal for signal in result.signals}


def furnish(
    consortium: Consortium,
    subject: int,
    caller: Caller | None = None,
    categories: Sequence[int] = EVERYTHING,
) -> bytes:
    """Beta, or another, contributes all it may about a subject; the id of the consent to it."""
    caller = caller or consortium.beta
    consent_id = grant_one(caller, draft(consortium, subject, [CONTRIBUTION], categories))
    rows = []
    if ACCOUNTS in categories:
        volatility = {"spend_volatility": 2} if SPENDING in categories else {}
        profile = b"\1" * 6
        rows.append(account(consortium, subject, payment_profile=profile, **volatility))
    if INQUIRIES in categories:
        rows.append(application(consortium, subject))
    assert contribute(caller, rows).rows_accepted == len(rows)
    return consent_id


def consent_to_look_up(
    consortium: Consortium,
    subject: int,
    categories: Sequence[int] = EVERYTHING,
    purpose: int = UNDERWRITING,
    lasts_seconds: float = 3600,
) -> bytes:
    one = draft(consortium, subject, [purpose], categories, lasts_seconds=lasts_seconds)
    return grant_one(consortium.alpha, one)


def items_of(consortium: Consortium, entry_index: int) -> list[bytes]:
    [(_, _, items)] = consortium.journal.entries(entry_index, entry_index + 1)
    return list(items)


def test_what_two_members_know_is_answered_together(consortium: Consortium) -> None:
    furnish(consortium, 1, consortium.beta)
    furnish(consortium, 1, consortium.gamma)
    consent_to_look_up(consortium, 1)
    response = look_up(consortium.alpha, 1)

    assert response.result.status == OK
    signals = signals_of(response.result)
    assert list(signals) == [definition.name for definition in SIGNALS]
    assert signals["lenders_open"].band_label == "2"
    assert signals["open_accounts"].band_label == "2-3"
    assert signals["inquiries_7d"].band_label == "2"
    assert signals["current_dpd"].band_label == "0"
    assert signals["spend_volatility"].status == signal_pb2.SIGNAL_STATUS_PRESENT


def test_a_known_consent_to_an_unknown_subject_finds_nothing_negative(
    consortium: Consortium,
) -> None:
    consent_to_look_up(consortium, 1, [ACCOUNTS, INQUIRIES, SPENDING, TRADE])
    response = look_up(consortium.alpha, 1)
    assert response.result.status == OK
    assert {s.status for s in response.result.signals} == {signal_pb2.SIGNAL_STATUS_NOT_FOUND}


def make_refusals(consortium: Consortium) -> dict[str, int]:
    """Subjects whose lookup by alpha for underwriting is refused, each for another reason."""
    furnish(consortium, 2)
    furnish(consortium, 3)
    consent_to_look_up(consortium, 3, purpose=REVIEW)
    furnish(consortium, 4)
    withdraw(consortium.alpha, consent_to_look_up(consortium, 4))
    furnish(consortium, 5)
    consent_to_look_up(consortium, 5, lasts_seconds=60)
    furnish(consortium, 6)
    grant_one(consortium.gamma, draft(consortium, 6, [UNDERWRITING], EVERYTHING))
    furnish(consortium, 7)
    grant_one(consortium.alpha, draft(consortium, 7, starts_in_seconds=7200))
    furnish(consortium, 11)
    asked = draft(consortium, 11, [UNDERWRITING], EVERYTHING)
    asked.ClearField("evidence_sha256")
    consortium.alpha.consents.RequestConsents(
        consent_pb2.RequestConsentsRequest(request_id=REQUEST_ID, consents=[asked]),
        timeout=CALL_SECONDS,
    )
    furnish(consortium, 12)
    paused = consent_pb2.PauseConsentRequest(
        consent_id=consent_to_look_up(consortium, 12), reason="a pause"
    )
    consortium.alpha.consents.PauseConsent(paused, timeout=CALL_SECONDS)
    furnish(consortium, 13)
    revoked = consent_pb2.RevokeConsentRequest(
        consent_id=consent_to_look_up(consortium, 13), reason="a mistake"
    )
    consortium.operator.consents.RevokeConsent(revoked, timeout=CALL_SECONDS)
    furnish(consortium, 14)
    once = draft(consortium, 14, [UNDERWRITING], EVERYTHING)
    once.frequency.CopyFrom(consent_pb2.Frequency(unit=consent_pb2.TIME_UNIT_INF, uses=1))
    grant_one(consortium.alpha, once)
    assert look_up(consortium.alpha, 14).result.status == OK
    consortium.clock.advance(60)
    return {
        "unknown subject": 1,
        "no consent": 2,
        "wrong purpose": 3,
        "withdrawn": 4,
        "expired": 5,
        "another member's": 6,
        "not begun": 7,
        "only requested": 11,
        "paused": 12,
        "revoked": 13,
        "exhausted": 14,
    }


def test_refusals_look_alike(consortium: Consortium) -> None:
    refused = make_refusals(consortium)
    # Indexes and sizes of equally many digits, whatever the subject.
    grant(consortium.alpha, [draft(consortium, subject) for subject in range(1000, 1150)])
    replies = {cause: look_up(consortium.alpha, subject) for cause, subject in refused.items()}

    assert {reply.result.SerializeToString() for reply in replies.values()} == {
        signal_pb2.SubjectResult(status=REFUSED).SerializeToString()
    }
    assert len({reply.ByteSize() for reply in replies.values()}) == 1
    entries = [json.loads(reply.receipt.entry) for reply in replies.values()]
    for entry in entries:
        # The one thing that differs is the commitment, under a fresh salt each time.
        assert len(entry.pop("items_root")) == 64
    assert all(entry == entries[0] for entry in entries)
    items = [items_of(consortium, reply.receipt.entry_index) for reply in replies.values()]
    for [item] in items:
        fields = json.loads(item)
        assert len(fields.pop("subject")) == 64
        nil = "0" * 32
        assert fields == {
            "consents": {
                "credit_accounts": nil,
                "inquiries": nil,
                "spending": nil,
                "trade": nil,
            },
            "decision": "refuse",
        }
    consent_to_look_up(consortium, 8)
    [permitted] = items_of(consortium, look_up(consortium.alpha, 8).receipt.entry_index)
    assert {len(permitted)} == {len(item) for [item] in items}


def test_refusals_take_the_same_statements_and_never_read_signals(consortium: Consortium) -> None:
    refused = make_refusals(consortium)
    runs = []
    for subject in refused.values():
        with statements() as seen:
            look_up(consortium.alpha, subject)
        runs.append(seen)

    assert all(run == runs[0] for run in runs)
    assert runs[0]
    read = " ".join(runs[0]).lower()
    assert "relation" not in read
    assert "inquiry" not in read


def test_whoever_watches_the_database_cannot_tell_refusals_apart(consortium: Consortium) -> None:
    refused = make_refusals(consortium)
    runs, replies = [], []
    for subject in refused.values():
        with traced() as seen:
            replies.append(look_up(consortium.alpha, subject))
        runs.append(shape_of(seen))

    assert all(run == runs[0] for run in runs)
    # The caller's standing and quota, and its consents, of which there are none.
    fetched = [one.rows for one in runs[0] if "member" in one.text or "consent" in one.text]
    assert [rows for rows in fetched if rows] == [1]
    assert len({len(reply.receipt.entry) for reply in replies}) == 1

    consent_to_look_up(consortium, 8)
    with traced() as seen:
        look_up(consortium.alpha, 8)
    assert shape_of(seen) != runs[0]


def test_whoever_watches_the_database_cannot_tell_refusals_in_batches_apart(
    consortium: Consortium,
) -> None:
    refused = make_refusals(consortium)
    consent_to_look_up(consortium, 8)
    alike = [[subject, 100, 101] for subject in refused.values()]
    mixed = [[refused[cause] for cause in pick] for pick in permutations(refused, 3)][::30]
    with_one_permitted = [[8, subject, 102] for subject in refused.values()]

    for batches in ([*alike, *mixed], with_one_permitted):
        runs, results = [], set()
        for subjects in batches:
            with traced() as seen:
                response = look_up_batch(consortium.alpha, subjects)
            runs.append(shape_of(seen))
            results.add(b"".join(r.SerializeToString() for r in response.results))
        assert len(runs) > 5
        assert all(run == runs[0] for run in runs)
        assert len(results) == 1


def test_refusals_by_tokens_of_an_earlier_epoch_cannot_be_told_apart(
    journal: Journal, signal_store: SignalStore, clock: ManualClock
) -> None:
    """Of subjects of which the caller recorded no consent, whatever the pool holds of them."""
    keys = TokenKeys.of_epochs(1, 2)
    with serving(journal, signal_store, clock, keys) as consortium:
        furnish(consortium, 2)
        furnish(consortium, 3)
        grant_one(consortium.gamma, draft(consortium, 3, [UNDERWRITING], EVERYTHING))
        rotate(
            means_of(journal, signal_store, keys),
            to_epoch=2,
        )
        runs, replies = [], []
        # The first call learns the stores' new epoch.
        for subject in (4, 1, 2, 3):
            carried = keys.asked
            request = signal_pb2.LookupRequest(
                token=token(subject, 1), purpose=UNDERWRITING, request_id=REQUEST_ID, epoch=1
            )
            with traced() as seen:
                replies.append(consortium.alpha.signals.Lookup(request, timeout=CALL_SECONDS))
            runs.append((shape_of(seen), keys.asked - carried))
        assert {reply.result.status for reply in replies} == {REFUSED}
        assert runs[1] == runs[2] == runs[3]
        assert runs[1][1] > 0


def test_of_a_refused_subject_only_the_callers_own_consents_are_asked_for(
    consortium: Consortium,
) -> None:
    furnish(consortium, 1)
    key = subject_key(PEPPER, token(1))
    asked: list[str] = []

    def note(_c: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        values = parameters.values() if isinstance(parameters, dict) else parameters
        # psycopg's dialect wraps bytes.
        if statement.startswith("SELECT") and key in [getattr(v, "obj", v) for v in values]:
            asked.append(statement)

    with listening(note):
        assert look_up(consortium.alpha, 1).result.status == REFUSED
    [only] = asked
    assert "recipient" in only.partition("WHERE")[2]


def test_a_batch_that_is_refused_reads_no_signals_and_one_that_is_not_does(
    consortium: Consortium,
) -> None:
    consent_to_look_up(consortium, 1)
    with statements() as seen:
        look_up_batch(consortium.alpha, [2, 3])
    assert "relation" not in " ".join(seen)
    with statements() as seen:
        look_up_batch(consortium.alpha, [1, 2, 3])
    assert "relation" in " ".join(seen)


def test_withdrawing_a_contribution_consent_hides_the_rows_at_once(consortium: Consortium) -> None:
    beta_consent = furnish(consortium, 1, consortium.beta)
    gamma_consent = furnish(consortium, 1, consortium.gamma)
    consent_to_look_up(consortium, 1)

    def lenders() -> signal_pb2.Signal:
        return signals_of(look_up(consortium.alpha, 1).result)["lenders_open"]

    assert lenders().band_label == "2"
    withdraw(consortium.beta, beta_consent)
    assert lenders().band_label == "1"
    withdraw(consortium.gamma, gamma_consent)
    assert lenders().status == signal_pb2.SIGNAL_STATUS_NOT_FOUND

    # A new consent to contribute is a new permission to use what is held.
    grant_one(consortium.beta, draft(consortium, 1, [CONTRIBUTION], EVERYTHING))
    assert lenders().band_label == "1"


def test_an_expired_contribution_consent_hides_the_rows(consortium: Consortium) -> None:
    one = draft(consortium, 1, [CONTRIBUTION], EVERYTHING, lasts_seconds=60)
    grant_one(consortium.beta, one)
    contribute(consortium.beta, [account(consortium, 1)])
    consent_to_look_up(consortium, 1)
    assert signals_of(look_up(consortium.alpha, 1).result)["lenders_open"].band_label == "1"
    consortium.clock.advance(60)
    signal = signals_of(look_up(consortium.alpha, 1).result)["lenders_open"]
    assert signal.status == signal_pb2.SIGNAL_STATUS_NOT_FOUND


def test_each_category_of_a_contribution_hides_with_its_own_consent(
    consortium: Consortium,
) -> None:
    consents = {
        category: grant_one(consortium.beta, draft(consortium, 1, [CONTRIBUTION], [category]))
        for category in EVERYTHING
    }
    rows = [
        account(consortium, 1, spend_volatility=2, payment_profile=b"\1" * 6),
        application(consortium, 1),
    ]
    assert contribute(consortium.beta, rows).rows_accepted == 2
    consent_to_look_up(consortium, 1)

    def seen() -> list[str]:
        signals = signals_of(look_up(consortium.alpha, 1).result)
        names = ("spend_volatility", "inquiries_7d", "lenders_open")
        return [signals[name].band_label for name in names]

    assert seen() == ["0.25-0.5", "1", "1"]
    withdraw(consortium.beta, consents[SPENDING])
    assert seen() == ["", "1", "1"]
    # Of a subject whose accounts are known, no application is known.
    withdraw(consortium.beta, consents[INQUIRIES])
    assert seen() == ["", "0", "1"]
    withdraw(consortium.beta, consents[ACCOUNTS])
    assert seen() == ["", "", ""]


def test_withdrawing_a_lookup_consent_refuses_at_once(consortium: Consortium) -> None:
    consent_id = consent_to_look_up(consortium, 1)
    assert look_up(consortium.alpha, 1).result.status == OK
    withdraw(consortium.alpha, consent_id)
    assert look_up(consortium.alpha, 1).result.status == REFUSED


def test_no_lookup_that_commits_after_a_withdrawal_rests_on_it(consortium: Consortium) -> None:
    furnish(consortium, 1)
    consent_id = consent_to_look_up(consortium, 1)
    replies: list[signal_pb2.LookupResponse] = []
    some_are_done, withdrawn = threading.Event(), threading.Event()

    def keep_looking() -> None:
        afterwards = 0
        while afterwards < 3:
            afterwards += withdrawn.is_set()
            replies.append(look_up(consortium.alpha, 1))
            if len(replies) > 10:
                some_are_done.set()

    threads = [threading.Thread(target=keep_looking) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert some_are_done.wait(CALL_SECONDS)
    withdrawal = withdraw(consortium.alpha, consent_id)
    withdrawn.set()
    for thread in threads:
        thread.join()

    order = withdrawal.receipt.entry_index
    before = {r.receipt.entry_index: r.result.status for r in replies}
    after = {before.pop(index) for index in list(before) if index > order}
    assert after == {REFUSED}
    assert OK in before.values()
    # Those that were under way were kept back, and the ledger says so.
    entries = [json.loads(leaf) for _, leaf, _ in consortium.journal.entries(order, 10**6)]
    withheld = {entry["lookup"] for entry in entries if entry["type"] == "lookup.withheld"}
    assert {index for index, status in before.items() if status == REFUSED} == withheld


def test_signals_of_categories_without_consent_are_marked_and_not_computed(
    consortium: Consortium,
) -> None:
    furnish(consortium, 1)
    consent_to_look_up(consortium, 1, [ACCOUNTS])
    signals = signals_of(look_up(consortium.alpha, 1).result)
    no_consent = {
        name for name, s in signals.items() if s.status == signal_pb2.SIGNAL_STATUS_NO_CONSENT
    }
    assert no_consent == {d.name for d in SIGNALS if d.category != ACCOUNTS}
    assert {signals[name].band for name in no_consent} == {0}
    assert signals["lenders_open"].band_label == "1"


def test_several_consents_cover_their_categories_together(consortium: Consortium) -> None:
    furnish(consortium, 1)
    accounts = consent_to_look_up(consortium, 1, [ACCOUNTS])
    inquiries = consent_to_look_up(consortium, 1, [INQUIRIES])
    consent_to_look_up(consortium, 1, [ACCOUNTS, INQUIRIES])
    response = look_up(consortium.alpha, 1)

    signals = signals_of(response.result)
    assert signals["lenders_open"].band_label == "1"
    assert signals["inquiries_7d"].band_label == "1"
    assert signals["spend_volatility"].status == signal_pb2.SIGNAL_STATUS_NO_CONSENT
    [item] = items_of(consortium, response.receipt.entry_index)
    assert json.loads(item)["consents"] == {
        "credit_accounts": accounts.hex(),
        "inquiries": inquiries.hex(),
        "spending": "0" * 32,
        "trade": "0" * 32,
    }


def test_a_batch_answers_in_order_and_records_every_decision(consortium: Consortium) -> None:
    furnish(consortium, 1)
    consent_to_look_up(consortium, 1)
    consent_to_look_up(consortium, 3)
    subjects = [2, 1, 3, 1, 4]
    size = consortium.journal.size
    response = look_up_batch(consortium.alpha, subjects)

    assert [r.status for r in response.results] == [REFUSED, OK, OK, OK, REFUSED]
    assert response.results[1] == response.results[3]
    assert response.results[1] == look_up(consortium.alpha, 1).result
    assert consortium.journal.size == size + 2
    entry = json.loads(response.receipt.entry)
    items = items_of(consortium, response.receipt.entry_index)
    assert entry["items"] == 5
    decisions = [json.loads(item)["decision"] for item in items]
    assert decisions == ["refuse", "permit", "permit", "permit", "refuse"]
    assert len({json.loads(item)["subject"] for item in items}) == 5

    leaves = [hashlib.sha256(b"\0" + item).digest() for item in items]
    pairs = [hashlib.sha256(b"\1" + leaves[i] + leaves[i + 1]).digest() for i in (0, 2)]
    left = hashlib.sha256(b"\1" + pairs[0] + pairs[1]).digest()
    assert entry["items_root"] == hashlib.sha256(b"\1" + left + leaves[4]).hexdigest()


def test_an_item_names_its_subject_by_a_commitment_that_the_asking_key_opens(
    consortium: Consortium,
) -> None:
    consent_to_look_up(consortium, 1)
    index = look_up_batch(consortium.alpha, [1, 2]).receipt.entry_index
    [(_, leaf, items)] = consortium.journal.entries(index, index + 1)
    request = bytes.fromhex(json.loads(leaf)["request"])
    secret = HKDF(SHA256(), 32, None, b"concordat/asking/v1").derive(EVIDENCE_SECRET)
    for item, subject in enumerate((1, 2)):
        key = hmac.digest(secret, subject_key(PEPPER, token(subject)), "sha256")
        asked_by = f"lookup\0{json.loads(leaf)['actor']}".encode()
        salt = hmac.digest(key, request + item.to_bytes(8, "big") + asked_by, "sha256")[:16]
        name = hmac.digest(key, b"asking", "sha256")
        opened = hashlib.sha256(b"concordat/subject/v1" + salt + name).hexdigest()
        assert json.loads(items[item])["subject"] == opened


def test_neither_token_nor_subject_key_stands_in_the_ledger(consortium: Consortium) -> None:
    consent_to_look_up(consortium, 1)
    look_up(consortium.alpha, 1)
    look_up_batch(consortium.alpha, [1, 2])
    written = b"".join(
        leaf + b"".join(items)
        for _, leaf, items in consortium.journal.entries(0, consortium.journal.size)
    )
    for subject in (1, 2):
        assert token(subject).hex().encode() not in written
        assert subject_key(PEPPER, token(subject)).hex().encode() not in written


def test_a_consent_serves_its_own_purpose_only(consortium: Consortium) -> None:
    purposes = (UNDERWRITING, REVIEW, DISPUTE)
    for subject, purpose in enumerate(purposes):
        consent_to_look_up(consortium, subject, purpose=purpose)
    permitted = [
        (subject, wanted)
        for subject in range(3)
        for wanted in purposes
        if look_up(consortium.alpha, subject, wanted).result.status == OK
    ]
    assert permitted == list(enumerate(purposes))


def test_wanted_signals_come_in_catalogue_order_and_stand_in_the_entry(
    consortium: Consortium,
) -> None:
    furnish(consortium, 1)
    consent_to_look_up(consortium, 1)
    response = look_up(consortium.alpha, 1, signals=["utilisation", "lenders_open", "utilisation"])
    assert [s.name for s in response.result.signals] == ["lenders_open", "utilisation"]
    entry = json.loads(response.receipt.entry)
    assert entry["signals"] == ["lenders_open", "utilisation"]
    assert entry["purpose"] == "underwriting"


def test_a_malformed_lookup_is_refused_and_leaves_no_entry(consortium: Consortium) -> None:
    size = consortium.journal.size
    wrong: list[tuple[dict[str, object], str]] = [
        ({"token": b"\1" * 31}, "token"),
        ({"token": b""}, "token"),
        ({"token": b"\1" * 64}, "token"),
        ({"purpose": 0}, "purpose"),
        ({"purpose": CONTRIBUTION}, "purpose"),
        ({"purpose": 99}, "purpose"),
        ({"signals": ["lenders_open", "no_such_signal"]}, "signals[1]"),
        ({"signals": [""]}, "signals[0]"),
        ({"request_id": b""}, "request_id"),
        ({"request_id": bytes(15)}, "request_id"),
    ]
    for fields, field in wrong:
        values = {"token": token(1), "purpose": UNDERWRITING, "request_id": REQUEST_ID} | fields
        with pytest.raises(grpc.RpcError) as refusal:
            consortium.alpha.signals.Lookup(
                signal_pb2.LookupRequest(**values), timeout=CALL_SECONDS
            )
        assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT, fields
        assert fields_of(refusal.value) == [field]
    assert consortium.journal.size == size


def test_a_batch_of_a_wrong_length_is_refused(consortium: Consortium) -> None:
    for length in (0, 1, 31, 33, 32 * 10_001):
        request = signal_pb2.BatchLookupRequest(
            tokens=bytes(length), purpose=UNDERWRITING, request_id=REQUEST_ID
        )
        with pytest.raises(grpc.RpcError) as refusal:
            consortium.alpha.signals.BatchLookup(request, timeout=CALL_SECONDS)
        assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT, length
        assert fields_of(refusal.value) == ["tokens"], length


def test_each_item_of_the_largest_batch_is_provable(consortium: Consortium) -> None:
    """10,000 subjects in one call, one entry, and a proof of any of them in some hundred bytes."""
    known = [token(number) for number in range(500)]
    assert len(grant(consortium.alpha, [draft(consortium, one) for one in known]).granted) == 500
    asked = [number.to_bytes(32, "big") for number in range(10_000)]
    asked[:1000:2] = known
    size = consortium.journal.size
    request = signal_pb2.BatchLookupRequest(
        tokens=b"".join(asked), purpose=UNDERWRITING, request_id=REQUEST_ID
    )
    response = consortium.alpha.signals.BatchLookup(request, timeout=CALL_SECONDS)
    assert [r.status for r in response.results] == [OK, REFUSED] * 500 + [REFUSED] * 9_000
    assert consortium.journal.size == size + 1

    entry = json.loads(response.receipt.entry)
    assert entry["items"] == 10_000
    items = items_of(consortium, response.receipt.entry_index)
    # Items that were filled into a form are in the canonical one.
    decided = [parse_item(item)["decision"] for item in items]
    assert decided == ["permit", "refuse"] * 500 + ["refuse"] * 9_000
    tree, root = Tree.of(items), bytes.fromhex(entry["items_root"])
    for item in (0, 1, 4_999, 8_191, 8_192, 9_999):
        proof = tree.inclusion_proof(item)
        assert len(proof) <= 14
        verify_inclusion(leaf_hash(items[item]), item, len(items), proof, root)
        with pytest.raises(LogError):
            verify_inclusion(leaf_hash(items[item] + b" "), item, len(items), proof, root)


def test_the_reply_to_the_largest_batch_fits_what_is_sent_and_taken() -> None:
    signals = [
        signal_pb2.Signal(
            name=definition.name,
            band=len(definition.labels),
            band_label=max(definition.labels, key=len),
            as_of_month=2_000,
            coverage=signal_pb2.COVERAGE_FULL,
            status=signal_pb2.SIGNAL_STATUS_DISPUTED,
        )
        for definition in SIGNALS
    ]
    largest = signal_pb2.BatchLookupResponse(
        results=[signal_pb2.SubjectResult(status=OK, signals=signals)] * 100,
        receipt=common_pb2.Receipt(entry=bytes(MAX_LEAF_BYTES), checkpoint="." * 10_000),
    )
    assert largest.ByteSize() * 100 < Limits().max_send_bytes <= MAX_RECEIVE_BYTES


def test_the_list_of_signals_tells_bands_and_reasons(consortium: Consortium) -> None:
    response = consortium.alpha.signals.ListSignals(
        signal_pb2.ListSignalsRequest(), timeout=CALL_SECONDS
    )
    assert response.catalogue_version == 2
    assert len(response.signals) >= 12
    by_name = {info.name: info for info in response.signals}
    assert list(by_name["lenders_open"].band_labels) == ["0", "1", "2", "3-4", "5+"]
    assert by_name["inquiries_7d"].category == INQUIRIES
    assert all(
        info.reason_en and info.reason_zh and info.max_age_months for info in by_name.values()
    )
