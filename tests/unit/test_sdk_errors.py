"""Every status becomes the right exception, with what the caller needs to act."""

import pickle

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

import concordat
from concordat import FieldViolation, errors
from concordat._status import from_rpc_error, named
from concordat_rpc.errors import Kind, Refusal, invalid
from concordat_rpc.status import to_rpc_status

STATUS = "grpc-status-details-bin"


def rpc_error(
    code: grpc.StatusCode, *details: Message, text: str = "as told", status: bytes | None = None
) -> grpc.RpcError:
    """What a stub raises when the server answers with this status."""
    rich = status_pb2.Status(code=code.value[0], message=text)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        rich.details.append(packed)
    raw = rich.SerializeToString() if status is None else status
    trailing = grpc.aio.Metadata((STATUS, raw))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, text, None)


def bare_error(code: grpc.StatusCode, text: str = "no details") -> grpc.RpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), text, None)


def info(reason: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=reason, domain="concordat")


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", errors.InvalidInput),
        (grpc.StatusCode.OUT_OF_RANGE, "OUT_OF_RANGE", errors.InvalidInput),
        (grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED", errors.NotPermitted),
        (grpc.StatusCode.PERMISSION_DENIED, "MEMBER_SUSPENDED", errors.Suspended),
        (grpc.StatusCode.UNAUTHENTICATED, "NO_IDENTITY", errors.NotPermitted),
        (grpc.StatusCode.NOT_FOUND, "CONSENT_NOT_FOUND", errors.NotFound),
        (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED", errors.Conflict),
        (grpc.StatusCode.FAILED_PRECONDITION, "EPOCH_NOT_ACTIVE", errors.FailedPrecondition),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "BUDGET_EXHAUSTED", errors.QuotaExhausted),
        (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE", errors.Unavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", errors.DeadlineExceeded),
        (grpc.StatusCode.CANCELLED, "CANCELLED", errors.Cancelled),
        (grpc.StatusCode.INTERNAL, "INTERNAL", errors.ServerFault),
        (grpc.StatusCode.UNKNOWN, "WHATEVER", errors.ServerFault),
    ],
)
def test_a_status_of_the_gateway_keeps_reason_and_text(
    code: grpc.StatusCode, reason: str, kind: type[errors.ConcordatError]
) -> None:
    error = from_rpc_error(rpc_error(code, info(reason), text="because so"))
    assert type(error) is kind
    assert error.reason == reason
    assert "because so" in str(error)


def test_field_violations_are_listed_and_told() -> None:
    bad_request = error_details_pb2.BadRequest(
        field_violations=[
            error_details_pb2.BadRequest.FieldViolation(field="token", description="31 bytes"),
            error_details_pb2.BadRequest.FieldViolation(field="purpose", description="unset"),
        ]
    )
    error = from_rpc_error(
        rpc_error(grpc.StatusCode.INVALID_ARGUMENT, info("INVALID_FIELD"), bad_request)
    )
    assert isinstance(error, errors.InvalidInput)
    assert error.violations == (
        FieldViolation("token", "31 bytes"),
        FieldViolation("purpose", "unset"),
    )
    assert "purpose: unset" in str(error)


def test_a_field_at_fault_has_the_callers_name_also_in_the_text() -> None:
    refusal = invalid("epsilon_micros", "0, 1000 to 3000000 millionths wanted")
    error = from_rpc_error(
        rpc_error(
            grpc.StatusCode.INVALID_ARGUMENT, status=to_rpc_status(refusal).SerializeToString()
        )
    )
    assert isinstance(error, errors.InvalidInput)
    assert error.violations == (FieldViolation("epsilon", "0, 1000 to 3000000 millionths wanted"),)
    assert str(error) == "epsilon: 0, 1000 to 3000000 millionths wanted [INVALID_FIELD]"


def test_an_exhausted_quota_names_its_scope_and_when_to_return() -> None:
    quota = error_details_pb2.QuotaFailure(
        violations=[error_details_pb2.QuotaFailure.Violation(subject="pool")]
    )
    retry = error_details_pb2.RetryInfo(
        retry_delay=duration_pb2.Duration(seconds=2, nanos=500_000_000)
    )
    error = from_rpc_error(
        rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED, info("BUDGET_EXHAUSTED"), quota, retry)
    )
    assert isinstance(error, errors.QuotaExhausted)
    assert error.subject == "pool"
    assert error.retry_after_seconds == 2.5


def test_an_error_id_finds_its_way_into_the_text() -> None:
    fault = Refusal(Kind.INTERNAL, "INTERNAL", "internal error", error_id="0badcafe")
    error = from_rpc_error(
        rpc_error(grpc.StatusCode.INTERNAL, status=to_rpc_status(fault).SerializeToString())
    )
    assert isinstance(error, errors.ServerFault)
    assert error.error_id == "0badcafe"
    assert "error id 0badcafe" in str(error)


def test_another_domain_says_nothing() -> None:
    foreign = error_details_pb2.ErrorInfo(reason="MEMBER_SUSPENDED", domain="proxy.example")
    error = from_rpc_error(rpc_error(grpc.StatusCode.PERMISSION_DENIED, foreign))
    assert type(error) is errors.NotPermitted
    assert error.reason == "PERMISSION_DENIED"


def test_a_wrong_server_certificate_is_told_from_an_absent_server() -> None:
    for text in (
        "... CERTIFICATE_VERIFY_FAILED: unable ...",
        "Hostname Verification Check failed.",
    ):
        error = from_rpc_error(bare_error(grpc.StatusCode.UNAVAILABLE, text))
        assert isinstance(error, errors.Unavailable)
        assert error.reason == "SERVER_CERTIFICATE_REFUSED"
    absent = from_rpc_error(bare_error(grpc.StatusCode.UNAVAILABLE, "Connection refused"))
    assert absent.reason == "UNAVAILABLE"


@given(code=st.sampled_from(list(grpc.StatusCode)), status=st.binary(max_size=60))
def test_any_status_and_any_bytes_become_one_exception(
    code: grpc.StatusCode, status: bytes
) -> None:
    error = from_rpc_error(rpc_error(code, status=status))
    assert isinstance(error, errors.ConcordatError)
    assert error.reason
    assert str(error)


@given(st.sampled_from(sorted(errors.__all__)))
def test_errors_survive_pickling(name: str) -> None:
    kind = getattr(errors, name)
    if not issubclass(kind, errors.ConcordatError):
        return
    error = kind("what happened", operation="lookup", reason="SO", error_id="77")
    error.partial = ("done",)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == str(error) == "lookup: what happened [SO, error id 77]"
    assert copy.partial == ("done",)


def test_only_technical_faults_and_their_kinds_say_that_nothing_was_decided() -> None:
    technical = {
        errors.Unavailable,
        errors.DeadlineExceeded,
        errors.Cancelled,
        errors.ServerFault,
        errors.ProtocolViolation,
        errors.ProofInvalid,
        errors.ReceiptInvalid,
        errors.KeyLogInvalid,
        errors.KeyLogForked,
        errors.LedgerForked,
    }
    for name in errors.__all__:
        kind = getattr(errors, name)
        if kind is not errors.TechnicalFault:
            assert issubclass(kind, errors.TechnicalFault) == (kind in technical)


def test_an_error_keeps_the_name_of_the_innermost_operation() -> None:
    with pytest.raises(errors.NotFound) as caught, named("outer"), named("inner"):
        raise concordat.NotFound("gone")
    assert caught.value.operation == "inner"


def test_errors_of_grpc_in_a_named_block_are_mapped() -> None:
    with pytest.raises(errors.Unavailable) as caught, named("export_entries"):
        raise bare_error(grpc.StatusCode.UNAVAILABLE)
    assert caught.value.operation == "export_entries"
