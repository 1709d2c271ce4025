"""The demo's scorecard: figures worked out by hand, reproducible, and blind to held-out loans."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from concordat_demo.scorecard import (
    Outcomes,
    approval_curve,
    band_columns,
    evaluate,
    gain_interval,
)


def made_up_loans(count: int, seed: int) -> tuple[pd.DataFrame, Outcomes]:
    """Own fields that say nothing about the outcome."""
    source = np.random.default_rng(seed)
    own = pd.DataFrame(
        {
            "funded_amnt": source.integers(1_000, 40_000, count),
            "annual_inc": source.integers(10_000, 200_000, count),
            "term": source.choice(["term_36", "term_60"], count),
            "emp_length": source.choice(["emp_1", "emp_2"], count),
            "verification_status": source.choice(["Verified", "Not_Verified"], count),
            "addr_state": source.choice(["CA", "NY", "TX"], count),
        }
    )
    return own, source.random(count) < 0.2


def test_bands_become_cumulative_columns_and_unknown_a_column_of_its_own() -> None:
    columns = band_columns({"a": np.array([0, 1, 2, 3])}, {"a": 3})
    # At least band 2, at least band 3, unknown.
    assert columns.tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0], [1, 1, 0]]


def test_approvals_by_hand() -> None:
    # Safest first: good, good, bad, good, bad.
    curve = approval_curve(
        np.array([0.5, 0.1, 0.2, 0.3, 0.4]), np.array([True, False, False, True, False])
    )
    assert curve.bad_rate.tolist() == [0, 0, 1 / 3, 1 / 4, 2 / 5]
    assert curve.approval_at(0.0) == 0.4
    assert curve.approval_at(0.25) == 0.8
    assert curve.approval_at(0.4) == 1.0
    assert curve.bad_rate_at(0.8) == 0.25


def test_people_of_equal_score_are_approved_together() -> None:
    curve = approval_curve(np.array([0.1, 0.1, 0.2]), np.array([False, True, False]))
    assert curve.share.tolist() == [2 / 3, 1]
    assert curve.approval_at(0.0) == 0.0


def test_a_signal_that_tells_bad_from_good_is_used() -> None:
    own, is_bad = made_up_loans(1_000, seed=3)
    bands = np.where(is_bad, 3, 1)
    signals = band_columns({"tells": bands}, {"tells": 3})
    without = evaluate(own, is_bad, seed=1)
    with_signal = evaluate(own, is_bad, signals, seed=1)
    assert without.auc < 0.6
    assert with_signal.auc == pytest.approx(1.0)
    assert with_signal.ks == pytest.approx(1.0)
    low, high = gain_interval(without.scores, with_signal.scores, is_bad, seed=1, resamples=50)
    assert 0.3 < low < with_signal.auc - without.auc < high < 0.6


def test_chance_stays_chance_out_of_fold() -> None:
    # A hundred random columns let a model learn any training part by heart; held-out loans show it.
    own, is_bad = made_up_loans(1_000, seed=4)
    noise = np.random.default_rng(5).integers(0, 2, (1_000, 100)).astype(np.float64)
    assert 0.4 < evaluate(own, is_bad, noise, seed=1).auc < 0.6


def test_the_same_seed_gives_the_same_figures() -> None:
    own, is_bad = made_up_loans(600, seed=6)
    first, again = evaluate(own, is_bad, seed=1), evaluate(own, is_bad, seed=1)
    assert first.scores.tolist() == again.scores.tolist()
    assert (first.auc, first.ks) == (again.auc, again.ks)
