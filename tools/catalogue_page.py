"""Writes docs/catalogue.md from the catalogue in the code.

Usage: python tools/catalogue_page.py [OUTPUT]. A test says when the page is not current.
"""

import sys
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path

from concordat_privacy.catalogue import bands, evidence, measures, rows
from concordat_privacy.catalogue.bands import BAND_LABELS, DataCategory
from concordat_privacy.catalogue.signals import CATALOGUE_VERSION, SIGNALS, SignalDefinition

PAGE = Path(__file__).resolve().parent.parent / "docs" / "catalogue.md"

_INTRODUCTION = f"""\
# Catalogue

Version {CATALOGUE_VERSION}. Written by `tools/catalogue_page.py` from
`concordat_privacy.catalogue`, which is the authority. Band numbers never change their meaning.

## What members contribute

Raw values are banded in the member's own process. Lower bounds are inclusive; 0 stands for
unknown everywhere and is never taken for bad.
"""

_ROWS = f"""\
An account is reported monthly: status, product, quarter of opening, limit, balance, amount past
due, days past due, utilisation, spending volatility ({bands.VOLATILITY_MONTHS} months, at least
{bands.MIN_VOLATILITY_MONTHS}), and with the first report up to {rows.MAX_PROFILE_MONTHS} earlier
months of days past due. An application is reported once: day and product.

- The newest month gives an account's state; a second report of the same month corrects the first.
- Of two reports about one earlier month the milder counts, a known one before an unknown one.
- Reports are used for {rows.RETENTION_MONTHS} months, {rows.ADVERSE_RETENTION_MONTHS} after an
  account was charged off or settled for less; applications for {rows.INQUIRY_RETENTION_DAYS} days.

## What a lookup returns

- A result stays the same when the members' numbers are exchanged for others: it cannot tell which
  member a signal comes from. In a consortium of two, whatever is not one's own is the other's; no
  rule can hide that.
- A disputed account is left out of every signal at once.
- Open accounts are those whose report is at most {evidence.CURRENT_MONTHS} months old and says open
  or restructured. Where all such reports are older, they are used and the signal is STALE.
- Sums and ratios take the midpoint of each band; an amount of the open top band counts as
  {measures.AMOUNT_MIDPOINTS[-1]:,}, a utilisation above 100% as
  {measures.UTILISATION_MIDPOINTS[-1] // 10}%. What is unknown is left out.
- No application on record is 0 for a subject whose accounts the pool knows, else NOT_FOUND.
- A spell of arrears of several months counts once in `count_30plus_24m`.
- Ages of accounts are counted from the middle month of the quarter of opening.
- A spending pattern that rests on less than {bands.MIN_VOLATILITY_MONTHS} months is SUPPRESSED.
- A reason is the text below with the band added: "Number of open credit accounts: 4-6".
"""


def page() -> str:
    """The whole page."""
    return "\n".join([_INTRODUCTION, *_band_table(), "", _ROWS, *_signal_table()]) + "\n"


def _band_table() -> Iterator[str]:
    yield "| attribute | bands, from number 1 |"
    yield "|---|---|"
    for kind, labels in BAND_LABELS.items():
        yield f"| {_words(kind)} | {_cell(labels)} |"


def _words(kind: type[IntEnum]) -> str:
    spaced = "".join(f" {c.lower()}" if c.isupper() else c for c in kind.__name__)
    return spaced.strip().removesuffix(" band")


def _signal_table() -> Iterator[str]:
    for category in DataCategory:
        chosen = [signal for signal in SIGNALS if signal.category is category]
        if not chosen:
            continue
        yield f"### {category.name.capitalize().replace('_', ' ')}"
        yield ""
        yield "| signal | bands, from number 1 | STALE after | reason | 理由 |"
        yield "|---|---|---|---|---|"
        yield from map(_signal_row, chosen)
        yield ""


def _signal_row(signal: SignalDefinition) -> str:
    return (
        f"| `{signal.name}` | {_cell(signal.labels)} | {signal.max_age_months} months"
        f" | {signal.reason_en} | {signal.reason_zh} |"
    )


def _cell(labels: tuple[str, ...]) -> str:
    return "; ".join(label.replace("<", "&lt;") for label in labels)


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE).write_text(page(), encoding="utf-8")
