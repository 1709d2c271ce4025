"""What is sent again, when, and what is not."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concordat import Environment, InvalidInput, RetryPolicy, errors
from concordat._methods import COUNT, GET_BUDGET, LOOKUP
from concordat._retry import backoff_seconds, is_repeatable, send
from concordat._steps import Invoke, Method, Repeat, Sleep
from concordat.errors import ConcordatError
from concordat.v1 import aggregate_pb2, signal_pb2

UNAVAILABLE = errors.Unavailable("down")
LIMITED = errors.QuotaExhausted("slower", retry_after_seconds=0.7)
SPENT = errors.QuotaExhausted("no budget left", subject="pool")


@pytest.mark.parametrize(
    ("repeat", "error", "expected"),
    [
        (Repeat.SAFE, UNAVAILABLE, True),
        (Repeat.SAFE, LIMITED, True),
        (Repeat.SAFE, SPENT, False),
        (Repeat.SAFE, errors.DeadlineExceeded("late"), False),
        (Repeat.SAFE, errors.ServerFault("bug"), False),
        (Repeat.SAFE, errors.ProofInvalid("wrong key"), False),
        (Repeat.SAFE, errors.Unavailable("x", reason="SERVER_CERTIFICATE_REFUSED"), False),
        (Repeat.RECORDED, UNAVAILABLE, True),
        (Repeat.RECORDED, LIMITED, False),
        (Repeat.CHARGED, UNAVAILABLE, False),
        (Repeat.CHARGED, LIMITED, False),
    ],
)
def test_what_may_be_sent_again(repeat: Repeat, error: ConcordatError, expected: bool) -> None:
    assert is_repeatable(repeat, error) is expected


@given(
    attempt=st.integers(1, 10_000),
    luck=st.floats(0, 1, exclude_max=True),
    first=st.floats(0, 1),
    longest=st.floats(1, 100),
)
def test_a_wait_is_between_nothing_and_a_bound_that_doubles(
    attempt: int, luck: float, first: float, longest: float
) -> None:
    policy = RetryPolicy(
        max_attempts=10_001, first_backoff_seconds=first, max_backoff_seconds=longest
    )
    wait = backoff_seconds(policy, Repeat.SAFE, UNAVAILABLE, attempt, lambda: luck)
    assert wait is not None
    assert 0 <= wait <= longest
    if attempt < 60:
        assert wait <= first * 2 ** (attempt - 1)


def test_what_the_gateway_asks_for_is_waited_at_least() -> None:
    policy = RetryPolicy(first_backoff_seconds=0.1)
    assert backoff_seconds(policy, Repeat.SAFE, LIMITED, 1, lambda: 0.0) == 0.7
    assert backoff_seconds(policy, Repeat.SAFE, LIMITED, 1, lambda: 0.5) == 0.7 + 0.05


class World:
    """Time that passes only by waiting and by slow attempts."""

    def __init__(self, attempt_seconds: float = 0.0) -> None:
        self.now = 100.0
        self.attempt_seconds = attempt_seconds
        self.waits: list[float] = []
        self.timeouts: list[float] = []
        self.environment = Environment(monotonic=lambda: self.now, random=lambda: 0.5)

    def run(
        self,
        method: Method[aggregate_pb2.GetBudgetRequest, aggregate_pb2.GetBudgetResponse],
        outcomes: Sequence[ConcordatError | object],
        timeout: float = 10.0,
        policy: RetryPolicy | None = None,
    ) -> object:
        """Drive one send through the outcomes of its attempts."""
        remaining = list(outcomes)
        operation = send(
            self.environment,
            policy or RetryPolicy(),
            method,
            method.request(),
            timeout,
        )
        step = next(operation)
        while True:
            try:
                match step:
                    case Sleep(seconds):
                        self.waits.append(seconds)
                        self.now += seconds
                        step = operation.send(None)
                    case Invoke():
                        self.timeouts.append(step.timeout_seconds)
                        self.now += self.attempt_seconds
                        outcome = remaining.pop(0)
                        if isinstance(outcome, ConcordatError):
                            step = operation.throw(outcome)
                        else:
                            step = operation.send(outcome)
                    case _:
                        raise AssertionError(step)
            except StopIteration as finished:
                assert not remaining
                return finished.value


def test_attempts_share_one_timeout() -> None:
    world = World(attempt_seconds=1.0)
    reply = aggregate_pb2.GetBudgetResponse()
    assert world.run(GET_BUDGET, [UNAVAILABLE, UNAVAILABLE, reply]) is reply
    assert world.waits == [0.05, 0.1]
    assert world.timeouts == pytest.approx([10.0, 8.95, 7.85])


def test_no_wait_beyond_the_timeout() -> None:
    world = World(attempt_seconds=0.98)
    with pytest.raises(errors.Unavailable):
        world.run(GET_BUDGET, [UNAVAILABLE], timeout=1.0)
    assert world.waits == []


def test_attempts_are_counted() -> None:
    world = World()
    with pytest.raises(errors.Unavailable):
        world.run(GET_BUDGET, [UNAVAILABLE] * 3, policy=RetryPolicy(max_attempts=3))
    assert len(world.timeouts) == 3


def test_a_lookup_is_repeated_and_a_question_is_not() -> None:
    assert LOOKUP.repeat is Repeat.RECORDED
    assert LOOKUP.reply is signal_pb2.LookupResponse
    assert COUNT.repeat is Repeat.CHARGED


def test_the_last_error_is_the_one_raised() -> None:
    world = World()
    with pytest.raises(errors.NotFound):
        world.run(GET_BUDGET, [UNAVAILABLE, errors.NotFound("gone")])


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0},
        {"first_backoff_seconds": -1.0},
        {"first_backoff_seconds": 2.0, "max_backoff_seconds": 1.0},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidInput):
        RetryPolicy(**wrong)  # type: ignore[arg-type]  # numbers of both kinds in one dict
