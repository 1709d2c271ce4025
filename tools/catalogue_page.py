"""Writes docs/catalogue.md from the catalogue in the code.

Usage: python tools/catalogue_page.py [OUTPUT]. A test says when the page is not current.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from concordat_privacy.catalogue import bands, evidence, measures, rows
from concordat_privacy.catalogue.bands import DataCategory
from concordat_privacy.catalogue.definitions import (
    ATTRIBUTES,
    CATALOGUE_VERSION,
    SCALES,
    Attribute,
    Keep,
    Scale,
)
from concordat_privacy.catalogue.retention import DELINQUENCY_MONTHS
from concordat_privacy.catalogue.signals import SIGNALS, SignalDefinition

PAGE = Path(__file__).resolve().parent.parent / "docs" / "catalogue.md"

_INTRODUCTION = f"""\
# Catalogue

Version {CATALOGUE_VERSION}. Written by `tools/catalogue_page.py` from
`privacy/concordat_privacy/catalogue/catalogue.toml`, which is the authority. Band numbers never
change their meaning; rows in the bands of earlier versions are taken.

## What members contribute

Raw values are banded in the member's own process. Lower bounds are inclusive; 0 stands for
unknown everywhere and is never taken for bad.
"""

_ROWS = f"""\
An account is reported monthly, with the first report up to {rows.MAX_PROFILE_MONTHS} earlier months
of days past due. An application is reported when it comes in, and again once it is decided.
Attributes of spending need at least {bands.MIN_VOLATILITY_MONTHS} months,
{bands.VOLATILITY_MONTHS} where there are.

- A report that contradicts itself is refused (INCONSISTENT): an amount past due with 0 days past
  due, or days past due of an open account with an amount of 0; a balance or instalments left of an
  account repaid in full. Unknown contradicts nothing.
- The newest month gives an account's state; a second report of the same month corrects the first.
- Of two reports about one earlier month the milder counts, a known one before an unknown one.
- A delinquency has one beginning. Of an account that stays delinquent the earliest
  `first_delinquency_month` of all reports counts, in whatever order they come; a report without it,
  a sale or a dispute leaves it as it is. It is forgotten with a newer report that names none and
  says that the account is in order: repaid in full, or open or restructured with 0 days past due.
  Such a report ends what was there when it came in; coming after newer ones it changes nothing.
  A correction of the newest month (docs/uploads.md) sets the month as it says.
- Reports are used for {rows.RETENTION_MONTHS} months, {rows.ADVERSE_RETENTION_MONTHS} after an
  account was charged off or settled for less; applications for {rows.INQUIRY_RETENTION_DAYS} days;
  what tells of behaviour (keep: 6 months) for {rows.BEHAVIOUR_RETENTION_MONTHS} months, whatever
  else the report says.
- Where the gateway's `[retention]` names a jurisdiction that counts from the first delinquency,
  as the US, an account that was charged off or settled for less goes, and is not taken again, once
  the law's years and {DELINQUENCY_MONTHS} months have passed since that month, however new its
  report is; where the month is not known, the report's counts. No lookup and no count waits for the
  day's run of retention: what it will delete is left out from the day on which its time is over.

## What a lookup returns

- No result tells which member a signal comes from: see the last section.
- A disputed account is left out of every signal at once; where nothing else is known, the signal
  is DISPUTED. Or, if the gateway's `[signals] disputed = "marked"` says so, it counts as an open
  one, and every signal that it changes is DISPUTED, with its band.
- While a dispute of the subject is open (docs/notices.md), all signals of its category are
  DISPUTED, whoever contributed to them: without a band, or with `"marked"` those that have one with
  it. They stay so until the last member has answered, so no change of a signal tells who had to.
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


_MEMBERS = """## Which member it comes from

A result never tells. Three rules keep it so, whoever asks and however few the members are:

1. It stays the same, byte for byte, when the members' numbers are exchanged for others
   (`test_a_result_does_not_tell_which_member_it_comes_from`). Nothing is released by member or by
   account.
2. Whether one member or two told something shows in `lenders_open` alone, the count that the
   consortium releases on purpose
   (`test_whether_one_member_or_two_told_it_shows_in_the_count_of_lenders_alone`). Coverage, which
   stands beside every signal of every category, is THIN for both: where few members tell of
   spending or trade, or of accounts that are closed, it is all that could count them.
3. After one of two members that told the same has withdrawn, the answer is the same whichever it
   was (`test_who_withdrew_does_not_show_in_what_is_left`). All of a category is disputed or none
   of it, so the same holds for who has to answer a dispute.

What each attack still gives:

- Coverage of any category: that nobody, one or two, or three and more members tell of it. Not one
  from two, and not which.
- `lenders_open`: 0, 1, 2, 3-4 or 5+ lenders with open accounts. Not which, nor how many have only
  closed ones.
- Contributing oneself: the same, less one's own part. Where coverage rises by one's own rows, that
  two others tell. Not which.
- Contributing oneself finely: rows of known bands move a sum over the edges of its bands, so the
  others' sum of midpoints comes out more finely than the band, at a charged and recorded lookup a
  step and with false rows in the ledger. Not whose.
- Asking before and after a consent is withdrawn elsewhere: that somebody's part is gone, and what
  it changed. Not whose; the notice goes to its recipient alone.
- A kind of credit, a category or a month of reporting that one member alone has: that it is that
  member. No rule can hide it.
- A consortium of two, or a count that equals the number of members: all of them. No rule can hide
  it.

So whoever runs a consortium lets members contribute to a category once three of them do, tells
nobody which member offers what, and does not expect two members to hide from each other.
"""

_KEEP = {
    Keep.POSITIVE: "24 months",
    Keep.NEGATIVE: "24 months, adverse by law",
    Keep.APPLICATION: "24 months",
    Keep.BEHAVIOUR: "6 months",
}


def page() -> str:
    """The whole page."""
    tables = [*_band_table(), "", *_attribute_tables()]
    return "\n".join([_INTRODUCTION, *tables, _ROWS, *_signal_table(), _MEMBERS])


def _band_table() -> Iterator[str]:
    yield "| scale | bands, from number 1 | unit |"
    yield "|---|---|---|"
    for scale in SCALES.values():
        yield f"| {_words(scale)} | {_cell(scale.labels)} | {scale.unit} |"


def _attribute_tables() -> Iterator[str]:
    for record in dict.fromkeys(attribute.record for attribute in ATTRIBUTES):
        yield f"### {record.capitalize()}"
        yield ""
        yield "| attribute | type | reported | kept | needs consent to | | 含义 |"
        yield "|---|---|---|---|---|---|---|"
        yield from (_attribute_row(a) for a in ATTRIBUTES if a.record == record)
        yield ""


def _attribute_row(attribute: Attribute) -> str:
    scale = SCALES.get(attribute.type)
    kind = _words(scale) if scale else attribute.type
    needed = f"{attribute.category} too" if attribute.category else ""
    name = f"`{attribute.name}`" + (", required" if attribute.required else "")
    return (
        f"| {name} | {kind} | {attribute.fresh} | {_KEEP[attribute.keep]} | {needed}"
        f" | {attribute.en} | {attribute.zh} |"
    )


def _words(scale: Scale) -> str:
    spaced = "".join(f" {c.lower()}" if c.isupper() else c for c in scale.name)
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
