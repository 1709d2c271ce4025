"""The noise: as much as promised, seen from outside.

Random tests fail by chance with a probability below 10^-6, worked out from the exact binomial
distribution.
"""

import math
import random
from decimal import Decimal, getcontext

import pytest

from concordat_privacy.dp.release import Mechanism
from concordat_privacy.dp.rho import MicroEpsilon

CANARIES = 20_000
ALPHA = 5e-7


def within(scale: Decimal, k: int) -> Decimal:
    """P[|Z| <= k] of the discrete Laplace distribution, summed term by term."""
    getcontext().prec = 60
    p = (-1 / scale).exp()
    return (1 - p) / (1 + p) * (1 + 2 * sum((p**z for z in range(1, k + 1)), Decimal(0)))


@pytest.mark.parametrize(
    ("epsilon", "cells_per_person"),
    [(1_000_000, 1), (1_000_000, 4), (3_000_000, 1), (3_000_000, 2), (123_457, 3), (50_000, 1)],
)
def test_error_95_is_the_least_that_holds(epsilon: int, cells_per_person: int) -> None:
    mechanism = Mechanism(5, cells_per_person, MicroEpsilon(epsilon))
    scale = Decimal(cells_per_person * 10**6) / epsilon
    assert within(scale, mechanism.error_95) >= Decimal("0.95")
    assert within(scale, mechanism.error_95 - 1) < Decimal("0.95")


def test_the_worked_example_at_epsilon_1() -> None:
    mechanism = Mechanism(1, 1, MicroEpsilon(1_000_000))
    assert mechanism.error_95 == 3
    assert round(within(Decimal(1), 3), 2) == Decimal("0.97")
    assert mechanism.description == "discrete Laplace, scale 1"


def test_every_allowed_epsilon_is_within_the_loss_that_opendp_proves() -> None:
    draw = random.Random(5)
    for _ in range(300):
        epsilon = MicroEpsilon(draw.randint(1_000, 3_000_000))
        for cells_per_person in (1, 2, 3, 4):
            # Raises where OpenDP's own map says that more than epsilon is lost.
            assert len(Mechanism(2, cells_per_person, epsilon).release([0, 0])) == 2


def test_a_vector_of_the_wrong_size_is_refused() -> None:
    with pytest.raises(ValueError, match="2 counts, 3 wanted"):
        Mechanism(3, 1, MicroEpsilon(1_000_000)).release([1, 2])


def test_large_counts_pass_unharmed() -> None:
    count = 5_000_000_000
    (noisy,) = Mechanism(1, 1, MicroEpsilon(1_000_000)).release([count])
    assert abs(noisy - count) < 200


def right_guesses(mechanism: Mechanism) -> int:
    """Canaries told apart: each cell holds one person with probability 1/2."""
    canaries = [random.getrandbits(1) for _ in range(mechanism.cells)]
    noisy = mechanism.release(canaries)
    return sum((count >= 1) == bool(canary) for count, canary in zip(noisy, canaries, strict=True))


def upper_tail(trials: int, chance: float, least: int) -> float:
    """P[Bin(trials, chance) >= least]."""
    log_choose = math.lgamma(trials + 1)
    return math.fsum(
        math.exp(
            log_choose
            - math.lgamma(v + 1)
            - math.lgamma(trials - v + 1)
            + v * math.log(chance)
            + (trials - v) * math.log1p(-chance)
        )
        for v in range(least, trials + 1)
    )


def most_guesses(epsilon: float) -> int:
    """The least v that an epsilon-DP mechanism reaches with probability at most ALPHA."""
    chance = math.exp(epsilon) / (1 + math.exp(epsilon))
    low, high = int(CANARIES * chance), CANARIES
    while low < high:
        middle = (low + high) // 2
        if upper_tail(CANARIES, chance, middle) <= ALPHA:
            high = middle
        else:
            low = middle + 1
    return low


def test_an_audit_from_outside_finds_no_more_loss_than_promised() -> None:
    audited = Mechanism(CANARIES, 1, MicroEpsilon(1_000_000))
    assert right_guesses(audited) < most_guesses(1.0)


def test_the_audit_would_find_a_fifth_more_loss_than_promised() -> None:
    # So the test above can fail: 20,000 canaries tell epsilon 1.2 from epsilon 1.
    leaking = Mechanism(CANARIES, 1, MicroEpsilon(1_200_000))
    assert right_guesses(leaking) >= most_guesses(1.0)


def test_three_rows_a_person_would_be_found() -> None:
    mechanism = Mechanism(CANARIES, 1, MicroEpsilon(1_000_000))
    canaries = [random.getrandbits(1) for _ in range(CANARIES)]
    noisy = mechanism.release([3 * canary for canary in canaries])
    right = sum((n >= 2) == bool(c) for n, c in zip(noisy, canaries, strict=True))
    assert right >= most_guesses(1.0)
