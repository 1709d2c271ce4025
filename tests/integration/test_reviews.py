"""Portfolio reviews: chunk by chunk, each decided, charged and recorded on its own."""

import json
from collections.abc import Iterator, Sequence
from queue import SimpleQueue
from typing import Any

import grpc
import pytest

from concordat.v1 import common_pb2, signal_pb2, usage_pb2
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.store.signal_store import SignalStore
from concordat_privacy.metering import Quota
from tests.contributing import entries_of, findings, replayed
from tests.services import (
    CALL_SECONDS,
    Caller,
    Consortium,
    account,
    contribute,
    draft,
    fields_of,
    grant_one,
    quota_subject_of,
    reason_of,
    request_id,
    serving,
    token,
    withdraw,
)
from tests.stores import ManualClock

REVIEW = common_pb2.PURPOSE_PORTFOLIO_REVIEW
CONTRIBUTION = common_pb2.PURPOSE_CONTRIBUTION
OK = signal_pb2.SUBJECT_STATUS_OK
REFUSED = signal_pb2.SUBJECT_STATUS_NO_CONSENT
REVIEW_ID = bytes(range(16))


def header(**fields: Any) -> signal_pb2.ReviewPortfolioRequest:
    return signal_pb2.ReviewPortfolioRequest(
        header=signal_pb2.ReviewHeader(**({"review_id": REVIEW_ID} | fields))
    )


def chunk(sequence: int, subjects: Sequence[int], **fields: Any) -> Any:
    values = {
        "sequence": sequence,
        "request_id": request_id(),
        "tokens": b"".join(map(token, subjects)),
    }
    return signal_pb2.ReviewPortfolioRequest(chunk=signal_pb2.ReviewChunk(**(values | fields)))


def review(caller: Caller, *messages: Any) -> list[signal_pb2.ReviewPortfolioResponse]:
    return list(caller.signals.ReviewPortfolio(iter(messages), timeout=CALL_SECONDS))


def may_review(consortium: Consortium, subject: int) -> bytes:
    return grant_one(consortium.alpha, draft(consortium, subject, [REVIEW]))


def entries(consortium: Consortium) -> list[dict[str, Any]]:
    return entries_of(consortium.journal, "lookup")


def lookups_today(caller: Caller) -> int:
    [member] = caller.usage.ListUsage(usage_pb2.ListUsageRequest(), timeout=CALL_SECONDS).members
    [found] = [one for one in member.usage if one.kind == usage_pb2.USAGE_KIND_LOOKUPS]
    return found.today


def statuses(replies: Sequence[signal_pb2.ReviewPortfolioResponse]) -> list[list[int]]:
    return [[result.status for result in reply.results] for reply in replies]


def test_each_chunk_is_answered_under_an_entry_of_its_own(consortium: Consortium) -> None:
    grant_one(consortium.beta, draft(consortium, 1, [CONTRIBUTION]))
    contribute(consortium.beta, [account(consortium, 1)])
    for subject in (1, 3):
        may_review(consortium, subject)
    chunks = [chunk(1, [1, 2]), chunk(2, [3]), chunk(3, [4, 1])]
    replies = review(consortium.alpha, header(signals=["lenders_open"], max_age_months=7), *chunks)

    assert [reply.sequence for reply in replies] == [1, 2, 3]
    assert statuses(replies) == [[OK, REFUSED], [OK], [REFUSED, OK]]
    [signal] = replies[0].results[0].signals
    assert (signal.name, signal.band_label) == ("lenders_open", "1")
    recorded = [json.loads(reply.receipt.entry) for reply in replies]
    assert recorded == entries(consortium)
    assert [fields["request"] for fields in recorded] == [c.chunk.request_id.hex() for c in chunks]
    assert [(fields["sequence"], fields["items"]) for fields in recorded] == [
        (1, 2),
        (2, 1),
        (3, 2),
    ]
    for fields in recorded:
        assert fields["review"] == REVIEW_ID.hex()
        assert fields["purpose"] == "portfolio_review"
        assert fields["signals"] == ["lenders_open"]
        assert fields["max_age_months"] == 7
    assert lookups_today(consortium.alpha) == 5

    replay = replayed(consortium.journal)
    assert findings(replay) == []
    assert replay.uses.counts.lookups == 3


def test_a_quota_ends_a_review_after_the_chunks_that_were_answered(
    journal: Journal, signal_store: SignalStore, clock: ManualClock
) -> None:
    quota = Quota(daily=5, monthly=100, per_second=1e6, burst=100)
    with serving(journal, signal_store, clock, quota=quota) as consortium:
        asked = [header(), *(chunk(number, [2 * number, 2 * number + 1]) for number in (1, 2, 3))]
        replies = consortium.alpha.signals.ReviewPortfolio(iter(asked), timeout=CALL_SECONDS)
        answered = []
        with pytest.raises(grpc.RpcError) as refusal:
            answered.extend(reply.sequence for reply in replies)
        assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert reason_of(refusal.value) == "LOOKUPS_EXHAUSTED"
        assert quota_subject_of(refusal.value) == "member:alpha/lookups/day"
        # One was left; the chunk that needed two was not charged in part.
        assert lookups_today(consortium.alpha) == 4
        assert [fields["sequence"] for fields in entries(consortium)] == [1, 2]
        assert review(consortium.alpha, header(), chunk(3, [6]))[0].sequence == 3


def test_a_chunk_that_is_asked_for_again_is_a_new_use(consortium: Consortium) -> None:
    may_review(consortium, 1)
    review(consortium.alpha, header(), chunk(1, [1]), chunk(2, [1]))
    # On another stream, after the answer to the second was lost.
    review(consortium.alpha, header(), chunk(2, [1]), chunk(3, [1]))
    assert [fields["sequence"] for fields in entries(consortium)] == [1, 2, 2, 3]
    assert len({fields["items_root"] for fields in entries(consortium)}) == 4
    assert lookups_today(consortium.alpha) == 4


def test_a_consent_that_ends_between_two_chunks_permits_the_first_alone(
    consortium: Consortium,
) -> None:
    consent = may_review(consortium, 1)
    said: SimpleQueue[Any] = SimpleQueue()
    replies = consortium.alpha.signals.ReviewPortfolio(iter(said.get, None), timeout=CALL_SECONDS)
    found = []
    said.put(header())
    for number in (1, 2):
        said.put(chunk(number, [1]))
        found.append(next(replies).results[0].status)
        withdraw(consortium.alpha, consent)
    said.put(None)
    assert list(replies) == []
    assert found == [OK, REFUSED]


def wrong_streams() -> Iterator[Any]:
    good = chunk(1, [1])
    yield "no message", [], "header"
    yield "no header", [good], "header"
    yield "two headers", [header(), header()], "message"
    yield "short id", [header(review_id=bytes(15)), good], "header.review_id"
    yield "unknown signal", [header(signals=["no_such_signal"]), good], "signals[0]"
    yield "great age", [header(max_age_months=121), good], "max_age_months"
    yield "sequence 0", [header(), chunk(0, [1])], "chunk.sequence"
    yield "no request id", [header(), chunk(1, [1], request_id=b"")], "chunk.request_id"
    yield "no tokens", [header(), chunk(1, [])], "tokens"
    yield "half a token", [header(), chunk(1, [1], tokens=bytes(33))], "tokens"
    yield "too many", [header(), chunk(1, [], tokens=bytes(32 * 1_001))], "tokens"


@pytest.mark.parametrize(
    ("messages", "field"), [pytest.param(*rest, id=name) for name, *rest in wrong_streams()]
)
def test_a_malformed_review_is_refused_and_leaves_no_entry(
    consortium: Consortium, messages: list[Any], field: str
) -> None:
    size = consortium.journal.size
    with pytest.raises(grpc.RpcError) as refusal:
        review(consortium.alpha, *messages)
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert fields_of(refusal.value) == [field]
    assert consortium.journal.size == size


@pytest.mark.parametrize("second", [1, 3])
def test_a_chunk_out_of_turn_ends_the_stream(consortium: Consortium, second: int) -> None:
    replies = consortium.alpha.signals.ReviewPortfolio(
        iter([header(), chunk(1, [1]), chunk(second, [2])]), timeout=CALL_SECONDS
    )
    assert next(replies).sequence == 1
    with pytest.raises(grpc.RpcError) as refusal:
        next(replies)
    assert fields_of(refusal.value) == ["chunk.sequence"]
    assert len(entries(consortium)) == 1
