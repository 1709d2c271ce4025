"""Both clients review a portfolio before a gateway that fails, or lies."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest

from concordat import (
    Client,
    InvalidInput,
    ProtocolViolation,
    Purpose,
    QuotaExhausted,
    ReceiptInvalid,
    SubjectStatus,
    Token,
)
from concordat_privacy.log import leaf
from concordat_rpc.errors import Kind, Refusal
from tests.peer import Abort, Change, Peer, Refuse
from tests.peer_tokens import EPOCH

UNAVAILABLE = Abort(grpc.StatusCode.UNAVAILABLE)
EXHAUSTED = Refuse(Refusal(Kind.RESOURCE_EXHAUSTED, "LOOKUPS_EXHAUSTED", "none today"))


def tokens(count: int) -> list[Token]:
    """The last of each thousand is unknown."""
    return [
        Token((b"\xff" if number % 1_000 == 999 else b"\1") + number.to_bytes(31, "big"), EPOCH)
        for number in range(count)
    ]


def sent(peer: Peer) -> list[list[int]]:
    """Sequences of the chunks on each stream."""
    return [[chunk.sequence for chunk in chunks] for chunks in peer.requests["ReviewPortfolio"]]


def test_results_come_in_order_a_thousand_under_one_entry(client: Client, peer: Peer) -> None:
    asked = tokens(2_500)
    results = list(client.review_portfolio(asked, signals=["lenders_open"], max_age_months=6))
    assert sent(peer) == [[1, 2, 3]]
    [chunks] = peer.requests["ReviewPortfolio"]
    assert b"".join(chunk.tokens for chunk in chunks) == b"".join(map(bytes, asked))
    unknown = [n for n, result in enumerate(results) if result.status is SubjectStatus.NO_CONSENT]
    assert unknown == [999, 1_999]
    assert len(results) == 2_500
    assert {result.purpose for result in results} == {Purpose.PORTFOLIO_REVIEW}
    entries = [results[at].receipt.fields for at in (0, 1_000, 2_000)]
    assert [fields["items"] for fields in entries] == [1_000, 1_000, 500]
    assert len({fields["review"] for fields in entries}) == 1
    assert results[0].receipt == results[999].receipt != results[1_000].receipt


def test_no_more_than_two_chunks_are_read_ahead(client: Client, peer: Peer) -> None:
    read = 0

    def counted() -> Any:
        nonlocal read
        for token in tokens(5_000):
            read += 1
            yield token

    results = client.review_portfolio(counted())
    next(results)
    assert read == 2_000
    for _ in range(1_000):
        next(results)
    assert read == 3_000


def test_a_break_is_gone_on_after_with_what_was_not_answered(client: Client, peer: Peer) -> None:
    peer.next("ReviewPortfolio", None, UNAVAILABLE, None, None)
    results = list(client.review_portfolio(tokens(3_000)))
    assert len(results) == 3_000
    first, second = sent(peer)
    assert first[:2] == [1, 2]
    assert second == [2, 3]
    # Each time that a chunk is sent is a use of its own.
    ids = [chunk.request_id for chunks in peer.requests["ReviewPortfolio"] for chunk in chunks]
    assert len(set(ids)) == len(ids)


def test_what_was_answered_is_given_before_a_spent_quota_is_told(
    client: Client, peer: Peer
) -> None:
    peer.next("ReviewPortfolio", None, EXHAUSTED)
    given = []
    with pytest.raises(QuotaExhausted) as caught:
        given.extend(client.review_portfolio(tokens(2_500)))
    assert len(given) == 1_000
    assert "1000 results were given" in str(caught.value.__notes__)


def another_sequence(reply: Any) -> Any:
    reply.sequence += 1
    return reply


def one_result_less(reply: Any) -> Any:
    del reply.results[-1]
    return reply


@pytest.mark.parametrize("change", [another_sequence, one_result_less])
def test_an_answer_to_another_chunk_is_no_result(
    client: Client, peer: Peer, change: Callable[[Any], Any]
) -> None:
    peer.next("ReviewPortfolio", Change(change))
    with pytest.raises(ProtocolViolation):
        next(client.review_portfolio(tokens(3)))


@pytest.mark.parametrize(
    "said", [{"review": "00" * 16}, {"sequence": 2}, {"items": 2}, {"purpose": "underwriting"}]
)
def test_a_receipt_of_another_chunk_is_refused(
    client: Client, peer: Peer, said: dict[str, leaf.Json]
) -> None:
    def record_something_else(reply: Any) -> Any:
        fields = leaf.check(reply.receipt.entry)
        reply.receipt.entry = leaf.encode(fields | said)
        return reply

    peer.next("ReviewPortfolio", Change(record_something_else))
    with pytest.raises(ReceiptInvalid, match="not this call's"):
        next(client.review_portfolio(tokens(3)))


def test_nothing_is_asked_for_no_tokens_and_for_wrong_ones(client: Client, peer: Peer) -> None:
    assert list(client.review_portfolio([])) == []
    with pytest.raises(InvalidInput, match=r"tokens\[1\]"):
        next(client.review_portfolio([*tokens(1), "a token"]))  # type: ignore[list-item]
    with pytest.raises(InvalidInput, match=r"tokens\[1\]"):
        next(client.review_portfolio([*tokens(1), Token(bytes(32), EPOCH + 1)]))
    assert peer.requests["ReviewPortfolio"] == []
