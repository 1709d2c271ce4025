"""Refusals leave as google.rpc.Status with the details that the contract promises."""

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from concordat_rpc.errors import (
    FieldViolation,
    Kind,
    Refusal,
    exhausted,
    invalid,
    invalid_fields,
    unavailable,
)
from concordat_rpc.status import to_grpc_status, to_rpc_status

GRPC_METADATA_LIMIT_BYTES = 8 * 1024


def unpack(status: status_pb2.Status, message):  # type: ignore[no-untyped-def]
    [found] = [detail for detail in status.details if detail.Is(message.DESCRIPTOR)]
    found.Unpack(message)
    return message


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_its_own_code_and_a_reason(kind: Kind) -> None:
    status = to_rpc_status(Refusal(kind, "SOME_REASON", "some words"))

    assert status.code == kind.value.value[0]
    assert status.message == "some words"
    info = unpack(status, error_details_pb2.ErrorInfo())
    assert (info.reason, info.domain) == ("SOME_REASON", "concordat")


def test_a_wrong_field_is_named() -> None:
    status = to_rpc_status(invalid("consents[3].token", "32 bytes wanted, 31 given"))

    [violation] = unpack(status, error_details_pb2.BadRequest()).field_violations
    assert violation.field == "consents[3].token"
    assert violation.description == "32 bytes wanted, 31 given"


def test_a_limit_is_named_and_says_when_to_come_back() -> None:
    refusal = exhausted("BUDGET_EXHAUSTED", "spent", "pool", retry_after_seconds=1.5)
    status = to_rpc_status(refusal)

    [violation] = unpack(status, error_details_pb2.QuotaFailure()).violations
    assert violation.subject == "pool"
    delay = unpack(status, error_details_pb2.RetryInfo()).retry_delay
    assert delay.ToMilliseconds() == 1500


def test_nothing_is_said_that_is_not_known() -> None:
    status = to_rpc_status(unavailable("STORE_UNAVAILABLE", "down"))

    assert [detail.type_url for detail in status.details] == [
        "type.googleapis.com/google.rpc.ErrorInfo"
    ]


@given(
    st.lists(
        st.builds(FieldViolation, st.text(max_size=400), st.text(max_size=4000)),
        min_size=1,
        max_size=1000,
    )
)
def test_details_never_outgrow_what_grpc_carries(violations: list[FieldViolation]) -> None:
    """gRPC drops a reply with too much metadata: the caller would see nothing of the refusal."""
    status = to_grpc_status(invalid_fields(violations))

    assert status.code is grpc.StatusCode.INVALID_ARGUMENT
    # Binary metadata travels in base64; the message is percent-encoded beside it.
    binary = sum(len(value) for _, value in status.trailing_metadata or ())
    message = 3 * len(status.details.encode())
    assert binary * 4 / 3 + message < GRPC_METADATA_LIMIT_BYTES
