"""Whether a clock tells classes of calls apart: statistics over latencies, without a distribution.

Latencies are arrays of seconds. Everything random comes from the generator that is passed in.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Latencies: TypeAlias = npt.NDArray[np.float64]
Statistic: TypeAlias = Callable[[Latencies, Latencies], float]

# As dudect: the slowest calls are the machine's, not the program's; cut off, less hides.
_CROPS = (1.0, 0.95, 0.8, 0.5)
QUANTILE_99 = 2.576
"""Of the normal distribution, both sides together 1%."""


def auc(a: Latencies, b: Latencies) -> float:
    """Mann-Whitney: the probability that a call of `b` takes longer than one of `a`."""
    ordered = np.sort(a)
    below = np.searchsorted(ordered, b, "left")
    up_to = np.searchsorted(ordered, b, "right")
    return float((below + up_to).mean() / 2 / len(a))


def advantage(a: Latencies, b: Latencies) -> float:
    """How much better than a coin the best guess by the order of two latencies is: 0 to 0.5."""
    return abs(auc(a, b) - 0.5)


def auc_error(a: Latencies, b: Latencies) -> float:
    """Standard error of `auc` where both classes are alike."""
    return float(np.sqrt((len(a) + len(b) + 1) / (12 * len(a) * len(b))))


def welch(a: Latencies, b: Latencies) -> float:
    """The largest |t| of Welch's test, over all calls and with the slowest cut off (dudect)."""
    both = np.concatenate([a, b])
    return max(_t(a, b, float(np.quantile(both, share))) for share in _CROPS)


def _t(a: Latencies, b: Latencies, longest: float) -> float:
    a, b = a[a <= longest], b[b <= longest]
    if min(len(a), len(b)) < 2:
        return 0.0
    spread = np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
    return float(abs(a.mean() - b.mean()) / spread)


def worst_pair(
    classes: Mapping[str, Latencies], statistic: Statistic
) -> tuple[float, tuple[str, str]]:
    """The pair of classes that a statistic tells apart best, and its value."""
    return max(
        (statistic(classes[first], classes[second]), (first, second))
        for first, second in combinations(sorted(classes), 2)
    )


def floor(
    one: Latencies,
    parts: int,
    statistics: Sequence[Statistic],
    rounds: int,
    random: np.random.Generator,
) -> list[Latencies]:
    """What the statistics of `worst_pair` give where there is nothing to tell.

    `one` class is split at random into as many parts as there are classes, again and again; for
    each statistic the values of all rounds, sorted.
    """
    values: list[list[float]] = [[] for _ in statistics]
    for _ in range(rounds):
        split = np.array_split(random.permutation(one), parts)
        named = {str(number): part for number, part in enumerate(split)}
        for found, statistic in zip(values, statistics, strict=True):
            found.append(worst_pair(named, statistic)[0])
    return [np.sort(np.array(found)) for found in values]


def visible_shift(
    one: Latencies, size: int, bound: float, random: np.random.Generator, step: float = 1e-6
) -> float:
    """The smallest delay in seconds, in steps, by which a class of `size` would pass `bound`."""
    shuffled = random.permutation(one)
    a, b = shuffled[:size], shuffled[size : 2 * size]
    # Measured from where the halves happen to lie, so that chance neither helps nor hides.
    offset = float(np.median(a) - np.median(b))
    shift = step
    while advantage(a, b + offset + shift) <= bound:
        shift += step
    return shift
