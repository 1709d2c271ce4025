"""Adds the noise: the only step between exact counts and anybody's eyes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any, cast

# Not opendp.prelude: it imports scikit-learn and pandas where they are installed, 1.3 seconds.
from opendp.domains import atom_domain, vector_domain
from opendp.measurements import make_laplace
from opendp.metrics import l1_distance
from opendp.mod import enable_features

from concordat_privacy.dp.rho import MicroEpsilon

# OpenDP asks for consent to use mechanisms whose proofs its project has reviewed but not audited.
enable_features("contrib")

# OpenDP rounds the loss it states up, and the quotient in `scale` may have been rounded down. This
# much more noise keeps the stated loss within epsilon.
_ROUNDING = 1 + 2**-45


@dataclass(frozen=True, slots=True)
class Mechanism:
    """The discrete Laplace mechanism over a vector of counts.

    Input domain: vectors of `cells` integers. Input metric: L1 distance, at most
    `cells_per_person` between two pools that differ in one person (`bounding.bounded_counts`).
    Output measure: max-divergence, at most `epsilon`: pure epsilon-DP, hence (epsilon^2 / 2)-zCDP
    (Bun and Steinke 2016, proposition 1.4). Output: each count plus independent noise with
    P[Z = z] proportional to exp(-|z| / scale), scale = cells_per_person / epsilon (a few units in
    the last place more), sampled by OpenDP from the operating system's randomness without floating
    point (Canonne, Kamath and Steinke 2020, algorithm 2).
    """

    cells: int
    cells_per_person: int
    epsilon: MicroEpsilon

    @property
    def scale(self) -> float:
        """Scale of the noise: the double that OpenDP is given, which it takes exactly."""
        return self.cells_per_person * 10**6 / self.epsilon * _ROUNDING

    @property
    def description(self) -> str:
        """The mechanism in words."""
        return f"discrete Laplace, scale {self.scale:.6g}"

    @property
    def error_95(self) -> int:
        """The least k with P[|Z| <= k] >= 0.95 for one cell's noise Z.

        With p = exp(-1/scale), P[|Z| > k] = 2 p^(k+1) / (1 + p) (Ghosh, Roughgarden and
        Sundararajan 2009, the two-sided geometric distribution).
        """
        with localcontext() as context:
            context.prec = 50
            exponent = -1 / Decimal(self.scale)
            p = exponent.exp()
            # 2 p^(k+1) / (1 + p) <= 1/20  <=>  k >= log((1 + p) / 40) / log(p) - 1
            bound = ((1 + p) / 40).ln() / exponent - 1
            return max(math.ceil(bound), 0)

    def release(self, counts: Sequence[int]) -> list[int]:
        """The counts with noise. Raises ValueError unless there are `cells` of them."""
        if len(counts) != self.cells:
            raise ValueError(f"{len(counts)} counts, {self.cells} wanted")
        return cast(list[int], self._measurement()(list(counts)))

    def _measurement(self) -> Any:
        domain = vector_domain(atom_domain(T="i64"), size=self.cells)
        measurement: Any = make_laplace(domain, l1_distance(T="i64"), scale=self.scale)
        loss = measurement.map(self.cells_per_person)
        if Fraction(loss) > Fraction(self.epsilon, 10**6):
            raise RuntimeError(f"the mechanism loses {loss}, {self.epsilon} millionths wanted")
        return measurement
