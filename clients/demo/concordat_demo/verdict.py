"""How the worth of the signals is told: a table, remarks, and the figures of the report."""

from __future__ import annotations

from concordat_demo.model import Worth
from concordat_demo.report import Figure


def figures(worth: Worth) -> dict[str, Figure]:
    """Every figure of `table` and `remarks`, by its name in the report. Shares are fractions."""
    low, high = worth.auc_gain_95
    return {
        "auc_own": worth.own.auc,
        "auc_enriched": worth.enriched.auc,
        "auc_gain": worth.enriched.auc - worth.own.auc,
        "auc_gain_95_low": low,
        "auc_gain_95_high": high,
        "ks_own": worth.own.ks,
        "ks_enriched": worth.enriched.ks,
        "base_bad_rate": worth.base_bad_rate,
        "approval_bad_rate": worth.base_bad_rate / 2,
        "approval_own": worth.approval_own,
        "approval_enriched": worth.approval_enriched,
        "approval_own_loans": worth.approved_own_loans,
        "approval_own_bad_loans": worth.approved_own_bad_loans,
        "own_bad_rate_at_half_approved": worth.own_bad_rate,
        "approval_own_at_own_bad_rate": worth.approval_own_at_own_bad_rate,
        "approval_enriched_at_own_bad_rate": worth.approval_enriched_at_own_bad_rate,
    }


def table(worth: Worth) -> list[tuple[str, str, str]]:
    """Name, own data, with pooled signals; the first row is the head."""
    own, enriched = worth.own, worth.enriched
    half = f"approved at half the base bad rate ({worth.base_bad_rate / 2:.2%})"
    at_own = f"approved at the own-data bad rate ({worth.own_bad_rate:.2%})"
    own_share, enriched_share = (
        worth.approval_own_at_own_bad_rate,
        worth.approval_enriched_at_own_bad_rate,
    )
    return [
        ("every loan scored out of fold", "own data", "with pooled signals"),
        ("AUC", f"{own.auc:.3f}", f"{enriched.auc:.3f}"),
        ("KS", f"{own.ks:.1%}", f"{enriched.ks:.1%}"),
        (half, f"{worth.approval_own:.1%}", f"{worth.approval_enriched:.1%}"),
        (at_own, f"{own_share:.1%}", f"{enriched_share:.1%}"),
    ]


def remarks(worth: Worth) -> list[str]:
    """What a reader of the table must know, one line each."""
    low, high = worth.auc_gain_95
    gain = worth.enriched.auc - worth.own.auc
    return [
        f"AUC gain {gain:+.3f}, 95% interval {low:+.3f} to {high:+.3f}; own data's "
        f"{worth.approval_own:.1%} rests on {worth.approved_own_loans} loans, "
        f"{worth.approved_own_bad_loans} of them bad: unstable.",
        "The own-data bad rate is that of the safest half by own data, taken as what is approved "
        "today.",
        "report.json: approval_own and approval_enriched are the row at half the base bad rate.",
    ]
