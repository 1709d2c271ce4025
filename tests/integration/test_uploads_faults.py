"""What `contribute_stream` makes of a gateway that fails or lies: over real mutual TLS."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest

from concordat import (
    AccountSnapshot,
    AccountStatus,
    Client,
    ConcordatError,
    Options,
    ProductClass,
    ProtocolViolation,
    ReceiptInvalid,
    RetryPolicy,
    Row,
    Token,
    Unavailable,
    month_number,
)
from concordat.v1 import contribution_pb2
from concordat_rpc.errors import Kind, Refusal, exhausted, unavailable
from tests.gateways import eventually
from tests.peer import Abort, Change, Peer, Refuse
from tests.peer_clients import Opener

Response = contribution_pb2.ContributeStreamResponse


def rows(count: int) -> list[Row]:
    month = month_number(datetime.now(UTC).date())
    return [
        Row(
            Token(bytes([1]) * 32, 1),
            AccountSnapshot(
                number.to_bytes(16, "big"),
                month,
                AccountStatus.OPEN,
                ProductClass.CASH_INSTALMENT,
                month // 3 - 4,
            ),
        )
        for number in range(count)
    ]


def changing(change: Callable[[Any], None]) -> Change:
    """A fault that changes an acknowledgement."""

    def changed(response: Response) -> Response:
        change(response.acknowledged)
        return response

    return Change(changed)


def refuse(acknowledged: Any, *items: int, accepted: int) -> None:
    acknowledged.rows_accepted = accepted
    for item in items:
        acknowledged.refused.add(item=item, field="token", reason="NO_CONSENT")


LIES: dict[str, tuple[Callable[[Any], None], type[ConcordatError]]] = {
    "another part": (lambda a: setattr(a, "sequence", 2), ProtocolViolation),
    "fewer rows": (lambda a: setattr(a, "rows_accepted", 2), ProtocolViolation),
    "a row beyond": (lambda a: refuse(a, 3, accepted=2), ProtocolViolation),
    "a row twice": (lambda a: refuse(a, 1, 1, accepted=1), ProtocolViolation),
    # All numbers are right, and the entry says otherwise.
    "rows refused that the entry has": (lambda a: refuse(a, 1, accepted=2), ReceiptInvalid),
    "no receipt": (lambda a: a.ClearField("receipt"), ReceiptInvalid),
    "another entry": (lambda a: setattr(a.receipt, "entry", a.receipt.entry[:-1]), ReceiptInvalid),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_acknowledgement_that_does_not_fit_is_never_taken_for_one(
    peer: Peer, client: Client, lie: str
) -> None:
    change, error = LIES[lie]
    peer.next("ContributeStream", None, changing(change))
    with pytest.raises(error) as caught:
        list(client.contribute_stream(rows(3)))
    assert caught.value.operation == "contribute_stream"


def test_a_receipt_of_another_upload_or_part_is_not_this_ones(peer: Peer, client: Client) -> None:
    [first] = client.contribute_stream(rows(3))

    def older(acknowledged: Any) -> None:
        acknowledged.receipt.entry_index = first.receipt.entry_index
        acknowledged.receipt.entry = first.receipt.entry

    peer.next("ContributeStream", None, changing(older))
    with pytest.raises(ReceiptInvalid, match="upload"):
        list(client.contribute_stream(rows(3)))


def test_a_gateway_that_has_lost_what_it_acknowledged_is_found_out(
    peer: Peer, client: Client
) -> None:
    lost = Abort(grpc.StatusCode.UNAVAILABLE)
    peer.next("ContributeStream", None, None, lost)
    with pytest.raises(ProtocolViolation, match="had acknowledged 1"):
        # This peer keeps nothing: to the second stream it says that it has no part.
        list(client.contribute_stream(rows(4_001)))


def test_answers_of_another_kind_are_refused(peer: Peer, client: Client) -> None:
    def opened_again(response: Response) -> Response:
        response.opened.acknowledged_sequence = 0
        return response

    peer.next("ContributeStream", None, Change(opened_again))
    with pytest.raises(ProtocolViolation, match="sent opened, not acknowledged"):
        list(client.contribute_stream(rows(1)))


PASSING = [
    Refuse(unavailable("SHUTTING_DOWN", "the server is shutting down")),
    Refuse(Refusal(Kind.DEADLINE_EXCEEDED, "STREAM_IDLE", "no message")),
    Refuse(exhausted("TOO_MANY_STREAMS", "too many", "x", 0.2)),
    Abort(grpc.StatusCode.UNAVAILABLE),
    Abort(grpc.StatusCode.INTERNAL),
    Abort(grpc.StatusCode.UNKNOWN),
    Abort(grpc.StatusCode.CANCELLED),
]


END_LIES: dict[str, tuple[Callable[[Any], None], type[ConcordatError]]] = {
    "other parts": (lambda e: setattr(e, "parts", 2), ProtocolViolation),
    # The entry says otherwise.
    "other rows": (lambda e: setattr(e, "rows_accepted", 2), ReceiptInvalid),
    "other refusals": (lambda e: setattr(e, "rows_refused", 1), ReceiptInvalid),
    "no receipt": (lambda e: e.ClearField("receipt"), ReceiptInvalid),
}


@pytest.mark.parametrize("lie", END_LIES)
def test_an_end_that_the_gateway_did_not_record_so_is_never_taken_for_one(
    peer: Peer, client: Client, lie: str
) -> None:
    change, error = END_LIES[lie]

    def changed(response: Response) -> Response:
        change(response.ended)
        return response

    peer.takes_end = True
    peer.next("ContributeStream", None, None, Change(changed))
    with pytest.raises(error):
        list(client.contribute_stream(rows(3)))


@pytest.mark.parametrize("fault", PASSING, ids=[str(number) for number in range(len(PASSING))])
def test_an_end_whose_answer_is_lost_is_said_again_and_no_part_with_it(
    peer: Peer, client: Client, fault: Refuse | Abort
) -> None:
    def has_one(response: Response) -> Response:
        response.opened.acknowledged_sequence = 1
        return response

    def of_all_rows(response: Response) -> Response:
        # This peer keeps nothing of the first connection, and would count no rows.
        older = peer.ledger.receipt(
            "contribution.ended", upload=upload.hex(), parts=1, rows=3, refused=0
        )
        response.ended.rows_accepted = 3
        response.ended.receipt.CopyFrom(older)
        return response

    upload = bytes(range(16))
    peer.takes_end = True
    peer.next("ContributeStream", None, None, fault, Change(has_one), Change(of_all_rows))
    [part] = client.contribute_stream(rows(3), upload_id=upload)
    assert part.rows_accepted == 3
    assert peer.ends == 2
    first, second = peer.requests["ContributeStream"]
    assert (len(first), second) == (1, [])


def test_a_gateway_of_before_is_told_of_no_end(peer: Peer, client: Client) -> None:
    assert len(list(client.contribute_stream(rows(3)))) == 1
    assert peer.ends == 0


@pytest.mark.parametrize("fault", PASSING, ids=[str(number) for number in range(len(PASSING))])
def test_what_passes_is_waited_for_and_the_same_part_is_sent_again(
    peer: Peer, client: Client, waits: list[float], fault: Refuse | Abort
) -> None:
    # At the opening, and then instead of the part's acknowledgement.
    peer.next("ContributeStream", fault, None, fault)
    [part] = client.contribute_stream(rows(3))
    assert part.rows_accepted == 3
    assert len(waits) == 2
    assert all(wait > 0 for wait in waits)
    _, second, third = peer.requests["ContributeStream"]
    assert second == third


@pytest.mark.parametrize(
    "fault",
    [
        Refuse(Refusal(Kind.INTERNAL, "INTERNAL", "internal error", error_id="17")),
        Refuse(Refusal(Kind.PERMISSION_DENIED, "MEMBER_SUSPENDED", "suspended")),
        Refuse(Refusal(Kind.FAILED_PRECONDITION, "SEQUENCE_GAP", "1 is expected")),
        Abort(grpc.StatusCode.UNIMPLEMENTED),
    ],
    ids=["internal", "suspended", "gap", "unimplemented"],
)
def test_what_does_not_pass_is_told_at_once(
    peer: Peer, client: Client, waits: list[float], fault: Refuse | Abort
) -> None:
    peer.next("ContributeStream", None, fault)
    with pytest.raises(ConcordatError) as caught:
        list(client.contribute_stream(rows(3)))
    assert waits == []
    assert "upload_id=bytes.fromhex(" in "".join(caught.value.__notes__)


def test_it_gives_up_after_the_timeout_or_as_often_as_the_policy_says(
    peer: Peer, opened: Opener, waits: list[float]
) -> None:
    away = [Abort(grpc.StatusCode.UNAVAILABLE)] * 200
    peer.next("ContributeStream", *away)
    with pytest.raises(Unavailable):
        list(opened().contribute_stream(rows(3), timeout=5))
    # Up to a second each, half of it by the tests' dice.
    assert 4 < sum(waits) <= 5
    waits.clear()
    few = Options(retry=RetryPolicy(max_attempts=3))
    with pytest.raises(Unavailable):
        list(opened(few).contribute_stream(rows(3), timeout=5))
    assert len(waits) == 2


def test_a_stream_that_is_left_early_ends_and_is_in_nobodys_way(peer: Peer, client: Client) -> None:
    iterator = client.contribute_stream(rows(12_000))
    assert next(iterator).sequence == 1
    iterator.close()  # type: ignore[attr-defined]  # both kinds are generators
    [part] = client.contribute_stream(rows(1))
    assert part.sequence == 1
    client.close()
    eventually(lambda: peer.conversations == 0, "the gateway sends to nobody any more")
