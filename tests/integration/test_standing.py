"""A member that is suspended while its call is under way changes and learns nothing.

The test server's identity check lets everybody pass, as it did when such a call began; what
refuses here is the transaction that would have committed.
"""

from collections.abc import Callable, Iterator

import grpc
import pytest
import sqlalchemy as sa

from concordat.v1 import common_pb2, contribution_pb2, signal_pb2
from concordat_gateway.ledger.journal import Transaction
from concordat_gateway.rules.standing import MemberState
from concordat_gateway.store.control_tables import member
from tests.services import (
    CALL_SECONDS,
    Consortium,
    account,
    chunk,
    draft,
    grant,
    header,
    reason_of,
    request_id,
    token,
)

PURPOSES = (common_pb2.PURPOSE_CONTRIBUTION, common_pb2.PURPOSE_UNDERWRITING)


def suspend(consortium: Consortium, member_id: str) -> None:
    def change(transaction: Transaction) -> None:
        statement = sa.update(member).where(member.c.member_id == member_id)
        transaction.connection.execute(statement.values(state=MemberState.SUSPENDED))

    consortium.journal.write(change)


def a_stream_that_was_open(consortium: Consortium) -> None:
    def parts() -> Iterator[contribution_pb2.ContributeRequest]:
        yield header(request_id())
        yield chunk([account(consortium, 1)])
        suspend(consortium, "alpha")

    consortium.alpha.contributions.Contribute(parts(), timeout=CALL_SECONDS)


def a_lookup(consortium: Consortium) -> None:
    suspend(consortium, "alpha")
    consortium.alpha.signals.Lookup(
        signal_pb2.LookupRequest(
            token=token(1), purpose=common_pb2.PURPOSE_UNDERWRITING, request_id=request_id()
        ),
        timeout=CALL_SECONDS,
    )


def a_grant(consortium: Consortium) -> None:
    suspend(consortium, "alpha")
    grant(consortium.alpha, [draft(consortium, 2, PURPOSES)])


@pytest.mark.parametrize("call", [a_stream_that_was_open, a_lookup, a_grant])
def test_what_commits_after_the_suspension_is_refused(
    consortium: Consortium, call: Callable[[Consortium], None]
) -> None:
    grant(consortium.alpha, [draft(consortium, 1, PURPOSES)])
    size = consortium.journal.size

    with pytest.raises(grpc.RpcError) as refused:
        call(consortium)

    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert reason_of(refused.value) == "MEMBER_SUSPENDED"
    assert consortium.journal.size == size
