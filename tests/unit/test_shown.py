"""Text of others on a terminal and in a spreadsheet."""

import csv
import io
import unicodedata

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from concordat_gateway.commands._client import errors_shown, show_table
from concordat_privacy.log.report import Problem, ProblemKind, Report
from concordat_privacy.shown import csv_cell, printable

FORMULAS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
HOSTILE = "\x1b]0;gone\x07\x1b[2J\r\n\u202etxt\x9b31m\u2066"


def opened_by_a_spreadsheet(cell: str) -> str:
    """What it takes for the cell's content: blanks before it do not count."""
    return unicodedata.normalize("NFKC", cell).lstrip()


@given(st.text(st.characters(codec="utf-8")) | st.sampled_from(FORMULAS).map(lambda c: c + "1"))
def test_no_text_becomes_a_formula_or_moves_a_cursor(text: str) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(["before", csv_cell(text), "after"])
    [[_, cell, after]] = csv.reader(io.StringIO(out.getvalue()))
    assert after == "after"
    assert cell.isprintable()
    assert not cell.lstrip().startswith(FORMULAS)
    if text.isprintable() and text[:1].isalnum():
        assert cell == text


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "'"])
@pytest.mark.parametrize("before", ["", " ", "\u00a0", "\u3000", "\ufeff"])
def test_what_begins_like_a_formula_is_text(start: str, before: str) -> None:
    cell = csv_cell(f"{before}{start}cmd|' /C calc'!A0")
    assert not opened_by_a_spreadsheet(cell).startswith(("=", "+", "-", "@"))
    assert before or cell.startswith("'")


@pytest.mark.parametrize(("number", "shown"), [(-5, "-5"), (0, "0"), (12, "12"), (None, "")])
def test_numbers_stay_numbers(number: int | None, shown: str) -> None:
    assert csv_cell(number) == shown
    # The same digits from somebody else's text are text.
    assert number is None or number >= 0 or csv_cell(str(number)) == f"'{shown}"


@given(st.text())
def test_what_is_shown_is_one_line_of_printable_characters(text: str) -> None:
    assert printable(text).isprintable()
    assert not text.isprintable() or printable(text) == text


def test_a_verified_export_cannot_steer_the_terminal() -> None:
    problem = Problem(ProblemKind.UNEXPECTED, f"message {HOSTILE}", f"file{HOSTILE}")
    for problems in ((), (problem,)):
        report = Report(f"origin{HOSTILE}", 1, "ab", problems, (HOSTILE,), {f"type{HOSTILE}": 1})
        assert all(line.isprintable() for line in report.summary().split("\n"))
        assert "\\x1b[2J" in report.summary()


@click.command()
def tell() -> None:
    with errors_shown():
        show_table([("name", "state"), (f"Bank {HOSTILE}", "active")])
        raise OSError(2, "no", "file")


def test_tables_of_a_gateway_s_answers_keep_their_lines() -> None:
    ended = CliRunner().invoke(tell)
    first, second = ended.stdout.splitlines()
    assert first.split() == ["name", "state"]
    assert second.isprintable()
    assert second.endswith("  active")
    assert "\\x1b[2J" in second
