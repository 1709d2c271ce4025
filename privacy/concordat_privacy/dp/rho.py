"""The privacy account: zero-concentrated differential privacy in whole billionths of rho.

zCDP adds up exactly (Bun and Steinke 2016, lemma 1.7), so a budget is a sum of integers that no
rounding can erode. Every conversion errs against the asker: charges and reported epsilons are
rounded up, caps down.
"""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, Context, Decimal, localcontext
from typing import Final, NewType

NanoRho = NewType("NanoRho", int)
"""Billionths of rho."""
MicroEpsilon = NewType("MicroEpsilon", int)
"""Millionths of epsilon."""

DELTA_EXPONENT: Final = 6
"""Epsilons are stated at delta = 10^-6."""

MAX_NANO_RHO: Final = NanoRho(1_000 * 10**9)
"""Largest account that epsilons are worked out for; rho 1000 protects nobody."""

_DIGITS: Final = 50
_CONTEXT: Final = Context(prec=_DIGITS)


def charge(epsilon: MicroEpsilon) -> NanoRho:
    """What an epsilon-differentially private release costs: rho = epsilon^2 / 2, rounded up.

    Bun and Steinke 2016, proposition 1.4. Raises ValueError unless epsilon > 0.
    """
    if epsilon <= 0:
        raise ValueError(f"epsilon of {epsilon} millionths, more than 0 wanted")
    # (epsilon * 10^-6)^2 / 2 * 10^9 = epsilon^2 / 2000
    return NanoRho(-(-epsilon * epsilon // 2_000))


def spent_epsilon(spent: NanoRho) -> MicroEpsilon:
    """The epsilon, at delta = 10^-6, that `spent` implies; rounded up.

    Canonne, Kamath and Steinke 2020, corollary 13: for every alpha > 1, rho-zCDP implies
    (epsilon, delta)-DP with

        epsilon = alpha rho + log(1 - 1/alpha) - (log(delta) + log(alpha)) / (alpha - 1)

    and at least 0. Every alpha gives a sound bound, so the search for the best one may be done in
    floating point; the bound itself is evaluated in 50 decimal digits. Raises ValueError for an
    account below 0 or above MAX_NANO_RHO.
    """
    if not 0 <= spent <= MAX_NANO_RHO:
        raise ValueError(f"account of {spent} nano-rho, 0 to {MAX_NANO_RHO} wanted")
    if spent == 0:
        return MicroEpsilon(0)
    with localcontext(_CONTEXT):
        bound = _epsilon(Decimal(spent).scaleb(-9), Decimal(_best_alpha(spent * 1e-9)))
        # A unit in the 40th digit is far more than what 50-digit arithmetic can have lost.
        bound += Decimal(10) ** (bound.adjusted() - 40)
        micros = (bound * 10**6).to_integral_value(rounding=ROUND_CEILING)
    return MicroEpsilon(max(int(micros), 0))


def cap(epsilon: MicroEpsilon) -> NanoRho:
    """The largest account that implies at most `epsilon` at delta = 10^-6.

    Raises ValueError for an epsilon below 0 or beyond that of MAX_NANO_RHO.
    """
    if epsilon < 0:
        raise ValueError(f"epsilon of {epsilon} millionths, at least 0 wanted")
    low, high = 0, int(MAX_NANO_RHO)
    if spent_epsilon(NanoRho(high)) < epsilon:
        raise ValueError(f"epsilon of {epsilon} millionths is more than any budget may be")
    while low < high:
        middle = (low + high + 1) // 2
        if spent_epsilon(NanoRho(middle)) <= epsilon:
            low = middle
        else:
            high = middle - 1
    return NanoRho(low)


def _epsilon(rho: Decimal, alpha: Decimal) -> Decimal:
    log_delta = Decimal(10).ln() * -DELTA_EXPONENT
    return alpha * rho + (1 - 1 / alpha).ln() - (log_delta + alpha.ln()) / (alpha - 1)


def _best_alpha(rho: float) -> float:
    """The alpha with (about) the least epsilon; the bound is unimodal in log(alpha - 1)."""
    log_delta = -DELTA_EXPONENT * math.log(10)

    def epsilon(x: float) -> float:
        excess = math.exp(x)
        alpha = 1 + excess
        # log(1 - 1/alpha), without cancellation where alpha is near 1
        log_gap = x - math.log1p(excess)
        return alpha * rho + log_gap - (log_delta + math.log1p(excess)) / excess

    low, high = math.log(1e-6), math.log(1e12)
    for _ in range(200):
        third = (high - low) / 3
        if epsilon(low + third) <= epsilon(high - third):
            high -= third
        else:
            low += third
    return 1 + math.exp((low + high) / 2)
