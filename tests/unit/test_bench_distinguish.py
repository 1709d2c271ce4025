"""The statistics that say whether a clock tells classes of calls apart."""

import numpy as np
import pytest

from bench.distinguish import advantage, auc, auc_error, floor, visible_shift, welch, worst_pair


def test_auc_is_the_share_of_pairs_in_which_the_second_is_longer() -> None:
    # Pairs: 1<2, 1<3, 2=2 (half), 2<3, 4>2, 4>3.
    assert auc(np.array([4.0, 1.0, 2.0]), np.array([3.0, 2.0])) == pytest.approx(3.5 / 6)
    assert auc(np.array([1.0]), np.array([2.0])) == 1.0
    assert auc(np.array([2.0]), np.array([1.0])) == 0.0
    assert advantage(np.array([2.0]), np.array([1.0])) == 0.5


def test_the_standard_error_is_mann_and_whitneys() -> None:
    # U has variance n m (n + m + 1) / 12; here 4 * 6 * 11 / 12 = 22, over (4 * 6) squared.
    assert auc_error(np.zeros(4), np.zeros(6)) == pytest.approx(22**0.5 / 24)


def test_t_is_welchs() -> None:
    # Means 2 and 5, variances 1 and 4, three of each: 3 / sqrt(1/3 + 4/3). Cutting the slowest off
    # brings these two closer.
    a, b = np.array([1.0, 2.0, 3.0]), np.array([3.0, 5.0, 7.0])
    assert welch(a, b) == pytest.approx(3 / (5 / 3) ** 0.5)


def test_a_class_that_takes_longer_is_found_and_equal_ones_are_not() -> None:
    random = np.random.default_rng(7)
    classes = {name: random.exponential(1.0, 1_000) for name in "abcde"}
    many = random.exponential(1.0, 5_000)
    advantages, ts = floor(many, 5, [advantage, welch], 300, random)
    bound, t_bound = np.quantile(advantages, 0.99), np.quantile(ts, 0.99)
    assert worst_pair(classes, advantage)[0] <= bound
    assert worst_pair(classes, welch)[0] <= t_bound

    classes["d"] = classes["d"] + 0.2
    value, pair = worst_pair(classes, advantage)
    assert value > bound
    assert "d" in pair
    assert worst_pair(classes, welch)[0] > t_bound


def test_the_visible_shift_is_what_passes_the_bound() -> None:
    # Evenly spread over one second, a shift of s moves the AUC by about s.
    random = np.random.default_rng(7)
    shift = visible_shift(np.linspace(0, 1, 4_000), 2_000, 0.1, random, step=0.001)
    assert 0.08 < shift < 0.13
