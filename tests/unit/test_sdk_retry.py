"""What is sent again, when, and what is not."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from concordat import Environment, InvalidInput, RetryPolicy, errors
from concordat._methods import COUNT, EVALUATE, GET_BUDGET, LOOKUP
from concordat._retry import backoff_seconds, is_repeatable, send
from concordat._steps import Invoke, Method, Repeat, Sleep
from concordat.errors import ConcordatError
from concordat.v1 import aggregate_pb2, signal_pb2

UNAVAILABLE = errors.Unavailable("down")
LIMITED = errors.QuotaExhausted("slower", retry_after_seconds=0.7)
TOO_FAST = errors.QuotaExhausted("slower", retry_after_seconds=0.7, reason="LOOKUPS_EXHAUSTED")
TOO_MANY_OLD = errors.QuotaExhausted("x", retry_after_seconds=0.7, reason="CARRIED_EXHAUSTED")
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
        (Repeat.RECORDED, TOO_FAST, True),
        (Repeat.RECORDED, TOO_MANY_OLD, True),
        (Repeat.RECORDED, errors.QuotaExhausted("x", reason="LOOKUPS_EXHAUSTED"), False),
        (Repeat.CHARGED, TOO_FAST, False),
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


def test_a_spent_quota_is_not_slept_through_whatever_the_timeout() -> None:
    for seconds, waits in ((60.0, True), (60.5, False), (80_000.0, False)):
        for error in (
            errors.QuotaExhausted("spent", retry_after_seconds=seconds),
            errors.Unavailable("rotating", retry_after_seconds=seconds),
        ):
            wait = backoff_seconds(RetryPolicy(), Repeat.SAFE, error, 1, lambda: 0.0)
            assert wait == (seconds if waits else None)


def test_a_rate_is_waited_for_as_long_as_the_timeout_allows() -> None:
    """A batch of 2,000 at 20 a second: the caller who gives it two minutes means it."""
    slower = errors.QuotaExhausted(
        "slower", retry_after_seconds=95.2, subject="member:alpha/evaluations/rate"
    )
    assert backoff_seconds(RetryPolicy(), Repeat.SAFE, slower, 1, lambda: 0.0) == 95.2


class World:
    """Time that passes only by waiting and by slow attempts."""

    def __init__(self, attempt_seconds: float = 0.0) -> None:
        self.now = 100.0
        self.attempt_seconds = attempt_seconds
        self.waits: list[float] = []
        self.timeouts: list[float] = []
        self.environment = Environment(monotonic=lambda: self.now, random=lambda: 0.5)

    def down(self, seconds: float) -> Iterator[ConcordatError | Message]:
        """Outcomes of attempts at a gateway that comes back after so many seconds."""
        back_at = self.now + seconds
        while self.now < back_at:
            yield errors.Unavailable("down")
        yield aggregate_pb2.GetBudgetResponse()

    def run(
        self,
        method: Method[aggregate_pb2.GetBudgetRequest, aggregate_pb2.GetBudgetResponse],
        outcomes: Iterable[ConcordatError | Message],
        timeout: float = 10.0,
        policy: RetryPolicy | None = None,
    ) -> object:
        """Drive one send through the outcomes of its attempts."""
        remaining = iter(outcomes)
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
                        outcome = next(remaining)
                        if isinstance(outcome, ConcordatError):
                            step = operation.throw(outcome)
                        else:
                            step = operation.send(outcome)
                    case _:
                        raise AssertionError(step)
            except StopIteration as finished:
                assert not list(remaining)
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


def test_a_call_outlasts_a_restart_that_its_timeout_has_room_for() -> None:
    world = World()
    assert world.run(GET_BUDGET, world.down(8.0)) == aggregate_pb2.GetBudgetResponse()
    # Half of 0.1, 0.2, 0.4, 0.8, and from then on of the longest bound, a second.
    assert world.waits[:6] == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.5, 0.5])


def test_a_gateway_that_stays_down_is_tried_until_the_timeout_and_the_error_says_so() -> None:
    world = World()
    with pytest.raises(errors.Unavailable) as caught:
        world.run(GET_BUDGET, world.down(60.0))
    # 0.75 s in four waits and 18 of half a second leave 0.25 s, too short for another.
    assert len(world.timeouts) == 23
    assert sum(world.waits) == pytest.approx(9.75)
    assert str(caught.value) == "down (gave up after 23 attempts in 9.8 s) [UNAVAILABLE]"


def test_an_error_of_a_single_attempt_says_nothing_of_attempts() -> None:
    with pytest.raises(errors.Unavailable) as caught:
        World().run(GET_BUDGET, [errors.Unavailable("down")], policy=RetryPolicy(max_attempts=1))
    assert str(caught.value) == "down [UNAVAILABLE]"


def test_attempts_are_counted() -> None:
    world = World()
    with pytest.raises(errors.Unavailable):
        world.run(GET_BUDGET, [UNAVAILABLE] * 3, policy=RetryPolicy(max_attempts=3))
    assert len(world.timeouts) == 3


def test_a_lookup_is_repeated_and_a_question_is_not() -> None:
    assert EVALUATE.repeat is Repeat.SAFE
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
        {"max_attempts": "3"},
        {"max_attempts": 2.5},
        {"first_backoff_seconds": "0.1"},
        {"max_backoff_seconds": float("inf")},
        {"first_backoff_seconds": -1.0},
        {"first_backoff_seconds": 2.0, "max_backoff_seconds": 1.0},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        RetryPolicy(**wrong)
