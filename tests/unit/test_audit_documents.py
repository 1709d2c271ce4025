"""What an audit says: its figures, and its form as text, CSV and JSON."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from concordat_privacy.audit import documents, render
from concordat_privacy.audit.documents import Document
from concordat_privacy.audit.findings import Kind
from concordat_privacy.audit.reading import audit_export
from concordat_privacy.audit.replay import Replay
from concordat_privacy.audit.tables import Column, Form, Table
from concordat_privacy.log.report import Report
from tests.logbook import ACCOUNTS, DAY, KEY, NONE, START, STRANGER, Logbook, digest

REPORT = Report(KEY.name, 9, "ab" * 32, (), (), {})


@pytest.fixture
def log() -> Logbook:
    """Two members with uses that are all allowed but one."""
    log = Logbook(("alpha", "beta"))
    mine = log.grant()
    furnished = log.grant("beta", purposes=["contribution"])
    counted = log.grant("beta", purposes=["aggregate_statistics"])
    log.lookup([mine, mine], refused=3)
    log.lookup([STRANGER])
    log.contribute([{ACCOUNTS: furnished}] * 5, "beta", refused=2)
    log.charge()
    log.settle(log.withdraw(counted, "beta"), "beta")
    log.charge("two")
    return log


def test_figures_are_those_of_the_log(log: Logbook) -> None:
    document = documents.exceptions(REPORT, log.replay())
    facts = document.facts
    assert (facts["uses_checked"], facts["uses_without_valid_consent"]) == (8, 1)
    assert (facts["lookups_permitted"], facts["lookups_refused"]) == (3, 3)
    assert (facts["rows_contributed"], facts["uses_not_recheckable"]) == (5, 0)
    assert document.findings == 1
    budgets = {table.name: table.rows for table in document.tables}["budgets"]
    assert budgets == [("member:alpha", 2_000), ("pool", 2_000)]


def test_refused_disputes_are_told_of_the_member_and_are_no_uses(log: Logbook) -> None:
    for _ in range(2):
        log.add(
            "dispute.refused",
            request=log.id(),
            subject=digest("someone"),
            consents={ACCOUNTS: NONE},
            about=f"{ACCOUNTS}.not_mine",
            statement_sha256=digest("words"),
        )
    facts = documents.exceptions(REPORT, log.replay()).facts
    assert (facts["disputes_refused"], facts["disputes_with_consent"]) == (2, 0)
    assert (facts["uses_checked"], facts["lookups_refused"]) == (8, 3)
    document = documents.members(REPORT, log.replay())
    [table] = [table for table in document.tables if table.name == "members"]
    column = [column.name for column in table.columns].index("refused")
    assert {row[0]: row[column] for row in table.rows} == {"alpha": 5, "beta": 0}


def test_live_consents_behind_a_question_are_counted_again(log: Logbook) -> None:
    one, two = log.replay().pool.aggregates
    assert one.live == {"contribution": 1, "aggregate_statistics": 1}
    assert two.live == {"contribution": 1, "aggregate_statistics": 0}


def test_live_consents_follow_beginning_pause_and_expiry() -> None:
    log = Logbook()
    first = log.grant(purposes=["contribution"], expiry=log.now + 10 * DAY)
    log.grant(purposes=["contribution"], start=log.now + 5 * DAY)
    log.grant(purposes=["contribution"], categories=["inquiries"])
    log.grant(kind="consent.requested", purposes=["contribution"])
    log.charge("0")
    log.change("consent.paused", first)
    log.charge("1")
    log.change("consent.resumed", first)
    log.wait(days=6).charge("2")
    log.wait(days=6).charge("3")
    live = [asked.live["contribution"] for asked in log.replay().pool.aggregates]
    # First alone; paused; first and the second that has begun; the second alone.
    assert live == [1, 0, 2, 1]


def test_members_are_summed_up(log: Logbook) -> None:
    document = documents.members(REPORT, log.replay())
    alpha, beta = (
        dict(zip((c.name for c in document.tables[0].columns), row, strict=True))
        for row in document.tables[0].rows
    )
    assert (alpha["permitted"], alpha["refused"], alpha["rows"]) == (3, 3, 0)
    assert (beta["permitted"], beta["rows"], beta["rows_refused"]) == (0, 5, 2)
    assert (alpha["consents"], beta["consents"], beta["live"]) == (1, 2, 1)
    assert (alpha["findings"], beta["findings"]) == (1, 0)


def test_a_members_answer_is_about_that_member(log: Logbook) -> None:
    replay = log.replay()
    assert documents.members(REPORT, replay, "alpha").findings == 1
    beta = documents.members(REPORT, replay, "beta")
    assert beta.findings == 0
    assert "The whole ledger has 1" in beta.verdict
    tables = {table.name: table for table in beta.tables}
    assert len(tables["notices"].rows) == 1
    assert len(tables["consents"].rows) == 2


def test_consents_are_chosen_by_member_and_state(log: Logbook) -> None:
    replay = log.replay()

    def ids(**chosen: str) -> int:
        return len(documents.consents(REPORT, replay, **chosen).tables[0].rows)

    assert (ids(), ids(member="beta"), ids(state="withdrawn"), ids(state="expired")) == (3, 2, 1, 0)


def test_a_later_moment_makes_consents_expired(log: Logbook) -> None:
    replay = log.replay(as_of=START + 400 * DAY)
    states = documents.consents(REPORT, replay).tables[1].rows
    assert states == [("expired", 2), ("withdrawn", 1)]


def test_an_earlier_moment_leaves_out_what_came_later(log: Logbook) -> None:
    replay = log.replay(as_of=START)
    document = documents.exceptions(REPORT, replay)
    assert document.facts["entries"] == 0
    assert document.facts["entries_after_as_of"] == len(log.entries)
    assert document.findings == 0


def test_json_says_what_the_document_says(log: Logbook) -> None:
    content = json.loads(render.as_json(documents.exceptions(REPORT, log.replay())))
    assert content["ok"] is False
    assert content["ledger"] == {"origin": KEY.name, "size": 9, "root": "ab" * 32}
    [finding] = content["tables"]["findings"]
    assert finding["kind"] == "use_without_consent"
    assert finding["consent"] == STRANGER
    assert finding["member"] == "alpha"
    assert content["cannot_show"]


HEADERS = {
    "findings": "severity,kind,entry,item,member,consent,message",
    "consents": "consent,recipient,state,starts_at,expires_at,uses,entry,purposes,categories,"
    "jurisdiction,recorded_at,ended_at,ended_entry,last_use,covers",
    "members": "member,standing,consents,live,permitted,refused,withheld,rows,unchecked,findings,"
    "name,since,rows_refused,trained_on,corrected,withdrawn,changes,uploads,uploads_ended",
    "notices": "notice,consent,sent_at,acknowledged_at,deleted_at,entry,member,acknowledge_by,"
    "delete_by",
    "disputes": "dispute,state,jurisdiction,opened_at,answer_by,answered_at,outcome,entry,"
    "resolved_at,member",
    "erasures": "erasure,state,requested_at,decided_at,consents,entry,basis",
    "views": "entry,time,actor,view,case",
    "aggregates": "entry,time,asked_by,nano_rho,live_consents",
}


def test_csv_headings_are_stable(log: Logbook) -> None:
    replay = log.replay()
    answers = (
        documents.exceptions(REPORT, replay),
        documents.consents(REPORT, replay),
        documents.members(REPORT, replay, "beta"),
    )
    shown = {
        table.name: render.as_csv(answer, table.name).splitlines()[0]
        for answer in answers
        for table in answer.tables
    }
    assert HEADERS.items() <= shown.items()


def document_of(*cells: str, form: Form = Form.TEXT) -> Document:
    columns = [Column(f"c{at}", form) for at in range(len(cells))]
    table = Table("t", "A table", columns, [cells])
    return Document("exceptions", REPORT, "", "verdict", [], [], 0, [table])


@pytest.mark.parametrize(
    "cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1+1", "'=1", "\x00=1", "\n=1"]
)
def test_no_cell_of_a_csv_is_a_formula(cell: str) -> None:
    text = render.as_csv(document_of(cell, "fine"))
    [_, row] = csv.reader(io.StringIO(text))
    assert row[0].lstrip()[0] not in "=+-@"
    assert row[0].endswith(cell[-1])
    assert all(char.isprintable() for char in row[0])
    assert row[1] == "fine"


def test_quotes_commas_and_lines_stay_in_their_cell() -> None:
    text = render.as_csv(document_of('a"b', "c,d", "e\nf"))
    assert list(csv.reader(io.StringIO(text)))[1] == ['a"b', "c,d", "e\\nf"]


def test_text_shown_to_people_moves_no_cursor() -> None:
    text = render.as_text(document_of("\x1b[2Jgone", "a\u202eb", form=Form.BELOW))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\\x1b[2Jgone" in text


def test_json_shown_to_people_moves_no_cursor_and_says_the_same() -> None:
    cell = "a\x1b[2J\x9b31m\u202eb\x7f\u4e2d\U000e0001\n"
    text = render.as_json(document_of(cell))
    assert all(line.isprintable() for line in text.split("\n"))
    assert json.loads(text)["tables"]["t"] == [{"c0": cell}]
    assert "\u4e2d" in text


def test_text_is_readable_in_100_columns() -> None:
    log = Logbook(("alpha", "a-member-with-the-longest-name-of-40-char"[:40]))
    name = "a-member-with-the-longest-name-of-40-char"[:40]
    for _ in range(30):
        log.lookup([log.grant(name, frequency={"unit": "month", "uses": 9_999}), STRANGER], name)
    replay = log.replay()
    for document in (
        documents.exceptions(REPORT, replay),
        documents.consents(REPORT, replay),
        documents.members(REPORT, replay, name),
    ):
        lines = render.as_text(document).splitlines()
        assert max(map(len, lines)) <= 100
        assert any(line.startswith("What no export can show") for line in lines)


def test_a_time_is_never_cut_however_wide_the_rest() -> None:
    columns = (
        *(Column(f"at_{number}", Form.TIME) for number in range(3)),
        *(Column(f"word_{number}", Form.TEXT) for number in range(4)),
        Column("count", Form.NUMBER),
    )
    times = [f"2026-11-27T0{hour}:15:00.000000Z" for hour in range(3)]
    table = Table("t", "A table", columns, [[*times, *("w" * 40,) * 4, 123_456_789]])
    document = replace(documents.exceptions(REPORT, Logbook().replay()), tables=[table])
    lines = render.as_text(document).splitlines()
    for hour in range(3):
        assert f"2026-11-27 0{hour}:15Z" in lines[-1]
    assert lines[-1].endswith("123456789")
    assert len(lines[-1]) <= 100


def test_an_erasure_is_called_what_the_list_of_erasures_calls_it() -> None:
    log = Logbook()
    erasure = log.id()
    log.add(
        "erasure.requested",
        erasure=erasure,
        subject=digest("someone"),
        request=log.id(),
        ground="PIPL 47",
    )
    log.add("erasure.executed", "operator/op", items=[], erasure=erasure, basis="PIPL 47", rows=0)
    document = documents.exceptions(REPORT, log.replay())
    [row] = {table.name: table.rows for table in document.tables}["erasures"]
    assert row[:2] == (erasure, "erased")


def test_an_export_is_audited_as_its_entries_are(log: Logbook, tmp_path: Path) -> None:
    audit = audit_export(log.export(tmp_path / "export"), KEY.verifier)
    assert audit.replay is not None
    direct = log.replay()
    assert audit.replay.sorted_findings() == direct.sorted_findings()
    assert audit.replay.uses.counts == direct.uses.counts
    assert audit.report.size == len(log.entries)


def test_an_export_that_does_not_verify_is_not_audited(log: Logbook, tmp_path: Path) -> None:
    folder = log.export(tmp_path / "export")
    [bundle] = (folder / "tile" / "entries").rglob("*.p/*")
    bundle.write_bytes(bundle.read_bytes().replace(b"alpha", b"gamma"))
    audit = audit_export(folder, KEY.verifier)
    assert not audit.report.ok
    assert audit.replay is None


def test_uses_of_an_export_without_items_are_not_recheckable(log: Logbook, tmp_path: Path) -> None:
    folder = log.export(tmp_path / "export", items=False)
    audit = audit_export(folder, KEY.verifier, without_items=True)
    assert audit.replay is not None
    counts = audit.replay.uses.counts
    assert counts.checked == 0
    # Nine subjects were looked up, permitted or not, and five rows contributed.
    assert counts.not_recheckable == {
        "lookups whose items are not in this export": 6,
        "rows whose items are not in this export": 5,
    }


def older(log: Logbook, rows: int) -> int:
    """A batch as it was before batches had items."""
    consent = log.grant("beta", purposes=["contribution"])
    index = log.contribute([{ACCOUNTS: consent}] * rows, "beta")
    del log.items[index], log.entries[index]["adverse"]
    return index


@pytest.mark.parametrize("answer", [documents.exceptions, documents.consents, documents.members])
def test_batches_of_the_older_form_are_in_the_verdict(
    answer: Callable[[Report, Replay], Document],
) -> None:
    log = Logbook(("alpha", "beta"))
    first = older(log, 4)
    log.grant()
    older(log, 5)
    last = older(log, 300)
    document = answer(REPORT, log.replay())

    assert document.ok
    assert document.unchecked == 309
    assert document.verdict == (
        "No exceptions. Not re-checkable: 309 uses; nothing is known of these. Under which "
        "consents 309 rows of 3 batches were contributed is NOT shown (the first entry "
        f"{first}, the last entry {last}): the form without items names none, and no export can "
        "add them."
    )
    facts = document.facts
    assert (facts["older_form_batches"], facts["older_form_rows"]) == (3, 309)
    assert (facts["older_form_first_entry"], facts["older_form_last_entry"]) == (first, last)


def test_one_batch_of_the_older_form_after_the_newer_is_found_and_counted(log: Logbook) -> None:
    before = documents.exceptions(REPORT, log.replay()).findings
    index = older(log, 2)
    document = documents.exceptions(REPORT, log.replay())

    assert document.findings == before + 1
    assert [f.entry for f in log.replay().sorted_findings() if f.kind is Kind.OLDER_FORM] == [index]
    assert f"2 rows of 1 batch were contributed is NOT shown (entry {index})" in document.verdict


def test_a_ledger_without_the_older_form_says_nothing_of_it(log: Logbook) -> None:
    document = documents.exceptions(REPORT, log.replay())
    assert (document.verdict, document.unchecked) == ("Exceptions found: 1.", 0)
    assert document.facts["older_form_first_entry"] is None


def test_more_than_all_findings_are_counted_even_if_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = Logbook()
    log.lookup([STRANGER] * 700)
    replay: Replay = log.replay()
    monkeypatch.setattr("concordat_privacy.audit.findings.MAX_FINDINGS", 500)
    bounded: Replay = log.replay()
    assert len(replay.findings.kept) == replay.findings.counts.total() == 700
    assert (len(bounded.findings.kept), bounded.findings.counts.total()) == (500, 700)
    # A member without a finding among those kept may have one among the others.
    assert documents.members(REPORT, replay, "beta").ok
    assert not documents.members(REPORT, bounded, "beta").ok
    assert documents.exceptions(REPORT, bounded).findings == 700


def test_the_page_for_auditors_names_every_kind_of_finding() -> None:
    page = (Path(__file__).parents[2] / "docs" / "audit.md").read_text()
    assert [kind.value for kind in Kind if f"`{kind.value}`" not in page] == []
