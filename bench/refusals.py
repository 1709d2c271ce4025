"""Refused lookups: can a member with a clock tell why it was refused?

A server over mutual TLS in this process, on stores of its own; one client looks subjects up that
are refused for different reasons, in random order, and times every call. The stores are in memory
where the machine has such a file system: a disk's flush, slower than all else and never the same
twice, would only hide a difference.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from bench.distinguish import (
    QUANTILE_99,
    Latencies,
    advantage,
    auc,
    auc_error,
    floor,
    visible_shift,
    welch,
    worst_pair,
)
from bench.harness import Figure
from concordat.v1 import common_pb2, signal_pb2
from concordat_gateway.store.migrate import upgrade_stores
from concordat_store.clock import system_clock
from tests.services import (
    Caller,
    Consortium,
    account,
    application,
    contribute,
    draft,
    grant,
    request_id,
    serving,
    token,
    withdraw,
)
from tests.stores import ManualClock, open_journal, open_signals, sqlite_urls

SUBJECTS = 40
"""Of each class."""
CALLS = 1_000
"""Timed of each class."""
ROUNDS = 1_000
"""Random splits for the floor."""
WARM_UP = 300
SEED = 20_261_118
DUDECT_THRESHOLD = 4.5

_IN_MEMORY = Path("/dev/shm")
_UNDERWRITING = common_pb2.PURPOSE_UNDERWRITING
_REVIEW = common_pb2.PURPOSE_PORTFOLIO_REVIEW
_CONTRIBUTION = common_pb2.PURPOSE_CONTRIBUTION
_EVERYTHING = (
    common_pb2.DATA_CATEGORY_CREDIT_ACCOUNTS,
    common_pb2.DATA_CATEGORY_INQUIRIES,
    common_pb2.DATA_CATEGORY_SPENDING,
)
_SPLIT = "no consent"
"""The class whose calls, as many as of all others together, make the floor."""
_PERMITTED = "permitted"


def run() -> list[Figure]:
    """Measure the group: about a minute on two cores."""
    random = np.random.default_rng(SEED)
    with _consortium() as consortium:
        classes = _subjects(consortium)
        measured = _measure(consortium.alpha, classes, random)
    permitted = measured.pop(_PERMITTED)
    # At random, not the first: the machine changes while it is measured.
    many = random.permutation(measured[_SPLIT])
    measured[_SPLIT] = many[:CALLS]
    floors = floor(many, len(measured), [advantage, welch], ROUNDS, random)
    aucs, ts = (float(np.quantile(values, 0.99)) for values in floors)
    shift = visible_shift(many, CALLS, aucs, random)
    control = auc(measured["unknown"], permitted)
    return [
        _time_distinguisher(measured, aucs, float(np.median(floors[0])), shift, control),
        _welch(measured, ts),
    ]


@contextmanager
def _consortium() -> Iterator[Consortium]:
    place = _IN_MEMORY if _IN_MEMORY.is_dir() else None
    clock = ManualClock(system_clock())
    with tempfile.TemporaryDirectory(dir=place) as folder:
        urls = sqlite_urls(Path(folder))
        upgrade_stores(*urls.all)
        with (
            open_journal(urls, clock) as journal,
            open_signals(urls, clock) as signals,
            serving(journal, signals, clock) as running,
        ):
            yield running


def _subjects(consortium: Consortium) -> dict[str, list[bytes]]:
    """Tokens of each class. Of all but the unknown two members have contributed much."""
    names = (
        "unknown",
        _SPLIT,
        "wrong purpose",
        "withdrawn",
        "expired",
        "another member's",
        "not begun",
        _PERMITTED,
    )
    classes = {
        name: [token(1_000 * number + subject) for subject in range(SUBJECTS)]
        for number, name in enumerate(names, start=1)
    }
    known = [one for name, tokens in classes.items() if name != "unknown" for one in tokens]
    for contributor in (consortium.beta, consortium.gamma):
        grant(contributor, [draft(consortium, one, [_CONTRIBUTION], _EVERYTHING) for one in known])
        rows = [
            row
            for one in known
            for ref in range(6)
            for row in (account(consortium, one, ref), application(consortium, one, ref))
        ]
        assert contribute(contributor, rows).rows_accepted == len(rows)

    def consents(caller: Caller, name: str, purpose: int, **times: float) -> list[bytes]:
        drafts = [draft(consortium, one, [purpose], _EVERYTHING, **times) for one in classes[name]]
        return [granted.consent_id for granted in grant(caller, drafts).granted]

    consents(consortium.alpha, "wrong purpose", _REVIEW)
    for consent_id in consents(consortium.alpha, "withdrawn", _UNDERWRITING):
        withdraw(consortium.alpha, consent_id)
    consents(consortium.alpha, "expired", _UNDERWRITING, lasts_seconds=60)
    consents(consortium.gamma, "another member's", _UNDERWRITING)
    consents(consortium.alpha, "not begun", _UNDERWRITING, starts_in_seconds=7_200)
    consents(consortium.alpha, _PERMITTED, _UNDERWRITING)
    consortium.clock.advance(60)
    return classes


def _measure(
    caller: Caller, classes: dict[str, list[bytes]], random: np.random.Generator
) -> dict[str, Latencies]:
    """Latencies of each class, all in one random order."""
    names = list(classes)
    # Enough of one class to split it into parts as large as the classes.
    wanted = {name: CALLS * (len(names) - 1 if name == _SPLIT else 1) for name in names}
    order = random.permutation(np.repeat(np.arange(len(names)), list(wanted.values())))
    picks = random.integers(SUBJECTS, size=len(order))
    taken: dict[str, list[float]] = {name: [] for name in names}
    for position, (number, pick) in enumerate(zip(order, picks, strict=True)):
        name = names[number]
        if position < WARM_UP:
            _seconds(caller, classes[name][pick], name == _PERMITTED)
        taken[name].append(_seconds(caller, classes[name][pick], name == _PERMITTED))
    return {name: np.array(seconds) for name, seconds in taken.items()}


def _seconds(caller: Caller, subject: bytes, permitted: bool) -> float:
    request = signal_pb2.LookupRequest(
        token=subject, purpose=_UNDERWRITING, request_id=request_id()
    )
    started = time.perf_counter()
    response = caller.signals.Lookup(request, timeout=60)
    taken = time.perf_counter() - started
    wanted = signal_pb2.SUBJECT_STATUS_OK if permitted else signal_pb2.SUBJECT_STATUS_NO_CONSENT
    assert response.result.status == wanted
    return taken


def _time_distinguisher(
    measured: dict[str, Latencies], bound: float, median: float, shift: float, control: float
) -> Figure:
    value, (first, second) = worst_pair(measured, advantage)
    a, b = measured[first], measured[second]
    middle, margin = auc(a, b), QUANTILE_99 * auc_error(a, b)
    return Figure(
        name="refusals.time_distinguisher",
        value=value,
        unit="|AUC - 0.5|",
        reference=bound,
        ratio=value / bound,
        target="<= reference",
        holds=value <= bound,
        note=f"{CALLS} refused lookups of each of {len(measured)} classes in random order; the "
        f"worst of all pairs is {first} against {second}: AUC {middle:.4f}, 99% interval "
        f"{middle - margin:.4f} to {middle + margin:.4f}. The reference is the 99% bound of the "
        f"same maximum over {ROUNDS} random splits of one class ({_SPLIT}) into as many parts "
        f"(median {median:.4f}), so one run in a hundred fails by chance. A delay of "
        f"{shift * 1e6:.0f} µs in a call of {np.median(a) * 1e3:.2f} ms would pass it; a permitted "
        f"lookup is told from a refused one with AUC {control:.3f}",
    )


def _welch(measured: dict[str, Latencies], bound: float) -> Figure:
    value, (first, second) = worst_pair(measured, welch)
    return Figure(
        name="refusals.welch_t",
        value=value,
        unit="|t|",
        reference=bound,
        ratio=value / bound,
        target="<= reference",
        holds=value <= bound,
        note=f"Welch's t as dudect takes it, the largest over four crops and all pairs ({first} "
        f"against {second}), against the same 99% bound; dudect speaks of a leak from "
        f"{DUDECT_THRESHOLD} on, for one pair",
    )
