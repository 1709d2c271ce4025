"""The privacy account: exact sums, and conversions that never err in the asker's favour."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concordat_privacy.dp.rho import (
    MAX_NANO_RHO,
    MicroEpsilon,
    NanoRho,
    cap,
    charge,
    spent_epsilon,
)

DELTA = 1e-6


def least_delta(rho: float, epsilon: float) -> float:
    """The delta that rho-zCDP implies at epsilon, over a grid of orders.

    Canonne, Kamath and Steinke 2020, proposition 12, from epsilon to delta; the code under test
    goes the other way.
    """
    orders = (1 + 10 ** (k / 2_000) for k in range(-8_000, 12_000))
    return math.exp(
        min(
            (a - 1) * (a * rho - epsilon) - math.log(a - 1) + a * math.log1p(-1 / a) for a in orders
        )
    )


@pytest.mark.parametrize(
    ("epsilon_micros", "nano_rho"),
    [
        (1_000_000, 500_000_000),
        (3_000_000, 4_500_000_000),
        (1_000, 500),
        (1_001, 502),  # 501.0005 rounded up
        (1, 1),
    ],
)
def test_a_pure_release_costs_half_its_epsilon_squared(epsilon_micros: int, nano_rho: int) -> None:
    assert charge(MicroEpsilon(epsilon_micros)) == nano_rho


@pytest.mark.parametrize("epsilon_micros", [0, -1])
def test_a_free_release_is_refused(epsilon_micros: int) -> None:
    with pytest.raises(ValueError, match="more than 0"):
        charge(MicroEpsilon(epsilon_micros))


def test_the_worked_example_of_a_thousand_counts() -> None:
    # 1,000 counts with Gaussian noise of standard deviation 50: rho = 1000 / (2 * 50^2) = 0.2.
    assert spent_epsilon(NanoRho(200_000_000)) == pytest.approx(3_131_000, abs=1_000)


def test_the_account_for_epsilon_1() -> None:
    assert round(cap(MicroEpsilon(1_000_000)) / 1e9, 5) == 0.02436


@pytest.mark.parametrize("rho", [1e-6, 0.001, 0.02436, 0.2, 1.0, 4.5, 50.0])
def test_the_stated_epsilon_is_sound_and_tight(rho: float) -> None:
    stated = spent_epsilon(NanoRho(round(rho * 1e9))) / 1e6
    assert least_delta(rho, stated) <= DELTA
    assert least_delta(rho, stated * (1 - 1e-5) - 2e-6) > DELTA


def test_nothing_spent_implies_nothing() -> None:
    assert spent_epsilon(NanoRho(0)) == 0


@pytest.mark.parametrize("spent", [-1, MAX_NANO_RHO + 1])
def test_an_account_out_of_range_is_refused(spent: int) -> None:
    with pytest.raises(ValueError, match="nano-rho"):
        spent_epsilon(NanoRho(spent))


@given(st.integers(0, 20_000_000))
def test_a_cap_is_the_most_that_stays_within_its_epsilon(epsilon_micros: int) -> None:
    most = cap(MicroEpsilon(epsilon_micros))
    assert spent_epsilon(most) <= epsilon_micros
    assert spent_epsilon(NanoRho(most + 1)) > epsilon_micros


@pytest.mark.parametrize("epsilon_micros", [-1, 10**12])
def test_a_cap_out_of_range_is_refused(epsilon_micros: int) -> None:
    with pytest.raises(ValueError, match="epsilon"):
        cap(MicroEpsilon(epsilon_micros))
