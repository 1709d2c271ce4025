"""What the pooled signals are worth to the scoring lender."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from concordat import LookupResult
from concordat_demo.data import Loans
from concordat_demo.scorecard import (
    FOLDS,
    REPEATS,
    Evaluation,
    approval_curve,
    band_columns,
    evaluate,
    gain_interval,
)

SIGNALS: Final = (
    "open_accounts",
    "total_exposure",
    "total_limit",
    "utilisation",
    "utilisation_all",
    "inquiries_180d",
    "inquiries_12m",
    "cash_inquiries_12m",
    "current_dpd",
    "past_due_total",
    "count_30plus_24m",
    "new_accounts_12m",
    "new_accounts_24m",
    "accounts_total",
    "accounts_repaid",
)
"""The signals whose value comes from the real file.

The others rest on what the simulation drew: which lender, and which day within a window.
"""

MODELS: Final = 2 * FOLDS * REPEATS
"""Trainings behind the figures."""

APPROVAL_TODAY: Final = 0.5
"""Share of applicants that the lender is taken to approve today, by its own data alone."""


@dataclass(frozen=True)
class Worth:
    """Both scorecards and what they allow."""

    own: Evaluation
    enriched: Evaluation
    auc_gain_95: tuple[float, float]
    """Bootstrap interval of the difference in AUC."""
    base_bad_rate: float
    """When everybody is approved."""
    approval_own: float
    approval_enriched: float
    """Largest shares that can be approved at half the base bad rate."""
    approved_own_loans: int
    approved_own_bad_loans: int
    """The loans behind `approval_own`: the fewer, the less it says."""
    own_bad_rate: float
    """Among the safest half (APPROVAL_TODAY) by the own-data scorecard."""
    approval_own_at_own_bad_rate: float
    approval_enriched_at_own_bad_rate: float
    """Largest shares that can be approved at that bad rate. The own-data scorecard's may be above
    half: its bad rate does not rise with every loan."""


def measure(
    loans: Loans,
    results: Sequence[LookupResult],
    widths: Mapping[str, int],
    *,
    seed: int,
    done: Callable[[], None],
) -> Worth:
    """Evaluate the scorecard without and with the signals of `results`, one a loan, in order.

    `widths`: how many bands each signal has. `done` is called after each of the MODELS trainings.
    """
    bands = {
        name: np.array([result[name].band for result in results], dtype=np.int64)
        for name in SIGNALS
    }
    own = evaluate(loans.own, loans.is_bad, seed=seed, done=done)
    signals = band_columns(bands, widths)
    enriched = evaluate(loans.own, loans.is_bad, signals, seed=seed, done=done)
    own_curve = approval_curve(own.scores, loans.is_bad)
    enriched_curve = approval_curve(enriched.scores, loans.is_bad)
    base = float(loans.is_bad.mean())
    own_bad_rate = own_curve.bad_rate_at(APPROVAL_TODAY)
    approval_own = own_curve.approval_at(base / 2)
    approved = np.argsort(own.scores, kind="stable")[: round(approval_own * len(loans))]
    return Worth(
        own=own,
        enriched=enriched,
        auc_gain_95=gain_interval(own.scores, enriched.scores, loans.is_bad, seed=seed),
        base_bad_rate=base,
        approval_own=approval_own,
        approval_enriched=enriched_curve.approval_at(base / 2),
        approved_own_loans=len(approved),
        approved_own_bad_loans=int(loans.is_bad[approved].sum()),
        own_bad_rate=own_bad_rate,
        approval_own_at_own_bad_rate=own_curve.approval_at(own_bad_rate),
        approval_enriched_at_own_bad_rate=enriched_curve.approval_at(own_bad_rate),
    )
