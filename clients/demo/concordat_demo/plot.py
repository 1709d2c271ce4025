"""The picture of what the pooled signals are worth."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from sklearn.metrics import roc_curve

from concordat_demo.scorecard import Evaluation, Outcomes, approval_curve

_OWN: Final = "#7f8c8d"
_ENRICHED: Final = "#1f6fb2"
_FEWEST_APPROVED: Final = 0.02
"""Smaller shares than this are left out of the picture: their bad rate is noise."""


def draw(path: Path, own: Evaluation, enriched: Evaluation, is_bad: Outcomes) -> None:
    """Write the ROC curves and the bad rates at each approval share as a PNG."""
    with mpl.rc_context(
        {
            "font.size": 11,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "axes.titlelocation": "left",
            "axes.titlesize": 12,
        }
    ):
        figure = Figure(figsize=(12, 5.4), layout="constrained")
        roc, approvals = figure.subplots(1, 2)
        _draw_roc(roc, own, enriched, is_bad)
        _draw_approvals(approvals, own, enriched, is_bad)
        figure.suptitle(
            f"One lender's scorecard on {len(is_bad):,} real loans, "
            "without and with what the other lenders know",
            x=0.01,
            ha="left",
            fontsize=14,
            fontweight="bold",
        )
        figure.supxlabel(
            "Out of fold: no loan is scored by a model that saw it. Loans and bureau totals are "
            "real (LendingClub); their division among lenders is simulated.",
            x=0.01,
            ha="left",
            fontsize=9,
            color="#555555",
        )
        figure.savefig(path, dpi=130)


def _draw_roc(axes: Axes, own: Evaluation, enriched: Evaluation, is_bad: Outcomes) -> None:
    for name, evaluation, colour in _both(own, enriched):
        false_rate, true_rate, _ = roc_curve(is_bad, evaluation.scores)
        label = f"{name}: AUC {evaluation.auc:.3f}, KS {evaluation.ks:.1%}"
        axes.plot(false_rate, true_rate, color=colour, linewidth=2, label=label)
    axes.plot([0, 1], [0, 1], color="#bbbbbb", linestyle=":", linewidth=1)
    axes.set(
        title="Telling bad loans from good",
        xlabel="share of good loans declined",
        ylabel="share of bad loans declined",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    axes.legend(loc="lower right", frameon=False)
    _in_percent(axes)


def _draw_approvals(axes: Axes, own: Evaluation, enriched: Evaluation, is_bad: Outcomes) -> None:
    base = float(np.mean(is_bad))
    for name, evaluation, colour in _both(own, enriched):
        curve = approval_curve(evaluation.scores, is_bad)
        shown = curve.share >= _FEWEST_APPROVED
        axes.plot(curve.share[shown], curve.bad_rate[shown], color=colour, linewidth=2, label=name)
        approved = curve.approval_at(base / 2)
        if approved >= _FEWEST_APPROVED:
            # Above the curves, which are jagged where few are approved.
            axes.scatter([approved], [base / 2], s=70, color=colour, edgecolors="white", zorder=5)
            axes.annotate(
                f"{approved:.0%}",
                (approved, base / 2),
                xytext=(6, -15),
                textcoords="offset points",
                color=colour,
                fontweight="bold",
            )
    axes.axhline(base, color="#bbbbbb", linestyle=":", linewidth=1)
    axes.axhline(base / 2, color="#555555", linestyle="--", linewidth=1)
    axes.text(0.99, base / 2, "half the base rate", ha="right", va="bottom", fontsize=9)
    axes.text(0.01, base, "everybody approved", ha="left", va="bottom", fontsize=9)
    axes.set(
        title="Bad rate among the approved",
        xlabel="share of applicants approved, safest first",
        ylabel="of these, gone bad",
        xlim=(0, 1),
        ylim=(0, base * 1.3),
    )
    axes.legend(loc="lower right", frameon=False)
    _in_percent(axes)


def _both(own: Evaluation, enriched: Evaluation) -> list[tuple[str, Evaluation, str]]:
    return [
        ("own data", own, _OWN),
        ("own data and pooled signals", enriched, _ENRICHED),
    ]


def _in_percent(axes: Axes) -> None:
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
