"""Counts with differential privacy, and their budget."""

from collections.abc import Collection, Mapping

from concordat._clients.base import AwaitingMethods, BlockingMethods
from concordat._operations import aggregates
from concordat.enums import Dimension
from concordat.results import Budget, CountResult


class AggregateMethods(BlockingMethods):
    """Methods of `Client`."""

    def count(
        self,
        where: Mapping[Dimension, Collection[int]] | None = None,
        group_by: Dimension | None = None,
        *,
        epsilon: float = 1.0,
        cells_per_person: int = 1,
        timeout: float | None = None,
    ) -> CountResult:
        """Count the persons of a cohort, or of each of its cells, with differential privacy.

        The protected unit is the person. The budget is charged durably before data is read; a
        repeated question about the same snapshot of the pool costs nothing. Never sent again by
        itself, because a repeat can be charged again.

        Args:
            where: accepted bands by dimension, as members of the dimension's enumeration or by
                their numbers (never amounts, days or percent); a person counts when one account
                meets all.
                None: everybody with an account.
            group_by: one count for each band of this dimension; None: one count.
            epsilon: privacy loss to spend, 0.001 to 3.
            cells_per_person: cells that a person may count in, 1 to 4 (with group_by).

        Raises:
            QuotaExhausted: the budget named by `subject` does not suffice.
        """
        return self._runner.run(
            "count",
            aggregates.count(self._context, where, group_by, epsilon, cells_per_person, timeout),
        )

    def budget(self, *, timeout: float | None = None) -> tuple[Budget, ...]:
        """The pool's privacy budget and the calling member's."""
        return self._runner.run("budget", aggregates.budget(self._context, timeout))


class AwaitingAggregateMethods(AwaitingMethods):
    """Methods of `AsyncClient`."""

    async def count(
        self,
        where: Mapping[Dimension, Collection[int]] | None = None,
        group_by: Dimension | None = None,
        *,
        epsilon: float = 1.0,
        cells_per_person: int = 1,
        timeout: float | None = None,
    ) -> CountResult:
        """See `Client.count`."""
        return await self._runner.run(
            "count",
            aggregates.count(self._context, where, group_by, epsilon, cells_per_person, timeout),
        )

    async def budget(self, *, timeout: float | None = None) -> tuple[Budget, ...]:
        """See `Client.budget`."""
        return await self._runner.run("budget", aggregates.budget(self._context, timeout))
