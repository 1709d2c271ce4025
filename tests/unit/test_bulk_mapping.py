"""Mappings: checked whole, each error by its key; rows become bands and nothing finer."""

import dataclasses
import tomllib
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concordat import bulk
from concordat.bulk import Mapping, MappingError, load_mapping, parse_mapping
from concordat.bulk._pseudonyms import key_in, pseudonym
from concordat.bulk._targets import RECORDS, Form, targets
from concordat.bulk.mapping import INCLUDED, Mapped
from concordat.errors import ProfileError
from concordat_privacy.catalogue.bands import (
    AccountStatus,
    AmountBand,
    DaysPastDueBand,
    ProductClass,
    UtilisationBand,
    VolatilityBand,
)
from concordat_privacy.catalogue.definitions import SCALES, Attribute, Keep
from concordat_privacy.catalogue.rows import AccountSnapshot, ApplicationEvent, FieldProblem, RowRef
from concordat_privacy.identifiers import DEFAULT_REGISTRY
from tests.bulkfiles import amount_band, days_band
from tests.fabricate import resident_id

KEY = bytes(range(32))
HEAD = """
version = 1
[subject]
kind = "cn-resident-id/1"
column = "id"
"""
ACCOUNT = """
[account]
account_ref = "acct"
as_of_month = { column = "as_of" }
status = { constant = "OPEN" }
product = { constant = "REVOLVING" }
opened_quarter = { constant = "2020-02-01" }
"""
ROW = {"id": resident_id(1), "acct": "6222", "as_of": "2026-10-31"}


def mapped(values: dict[str, object], more: str = "", text: str = HEAD + ACCOUNT) -> Any:
    """The record of a row under the tests' mapping with more attributes."""
    result = parse_mapping(text + more).map(ROW | values, KEY)
    assert isinstance(result, Mapped), result
    return result.record


def refusals(values: dict[str, object], more: str = "") -> list[tuple[str, str]]:
    """Field and reason of everything wrong with a row."""
    result = parse_mapping(HEAD + ACCOUNT + more).map(ROW | values, KEY)
    assert isinstance(result, list)
    return [(problem.field, problem.reason) for problem in result]


AMOUNTS = st.decimals(min_value=0, max_value=10**9, places=2, allow_nan=False)


@given(amount=AMOUNTS, unit=st.sampled_from([1, 1000, 10000]))
def test_an_amount_falls_into_one_band_however_it_is_written(amount: Decimal, unit: int) -> None:
    mapping = f'limit = {{ column = "limit", unit = {unit}, grouping = "," }}\n'
    wanted = amount_band(amount * unit)
    for written in (str(amount), f"{amount:,}", f" +{amount} ", amount, float(amount)):
        assert mapped({"limit": written}, mapping).limit == wanted
    if amount == int(amount):
        assert mapped({"limit": int(amount)}, mapping).limit == wanted


@given(amount=AMOUNTS)
def test_a_decimal_comma_is_read_where_it_is_said(amount: Decimal) -> None:
    text = f"{amount:,}".translate(str.maketrans(",.", ".,"))
    mapping = 'limit = { column = "limit", decimal = ",", grouping = "." }\n'
    assert mapped({"limit": text}, mapping).limit == amount_band(amount)


@pytest.mark.parametrize("written", ["1.234,56", "12.34,5", "1.2,3"])
def test_a_fraction_has_no_groups(written: str) -> None:
    mapping = 'limit = { column = "limit", grouping = "," }\n'
    assert refusals({"limit": written}, mapping) == [("account.limit", "MALFORMED")]


@pytest.mark.parametrize(
    ("settings", "written"),
    [
        ('decimal = ",", grouping = "."', ["1234.56", "1.5", "12.34,5", "1.234,5.0", ".500"]),
        ('grouping = ","', ["1234,56", "12,5", "1,234,5", "1.234,5", ",500", "1,,234", "1,234,"]),
    ],
)
def test_what_stands_between_groups_of_digits_is_no_decimal_point(
    settings: str, written: list[str]
) -> None:
    for text in written:
        mapping = f'limit = {{ column = "limit", {settings} }}\n'
        assert refusals({"limit": text}, mapping) == [("account.limit", "MALFORMED")], text


@pytest.mark.parametrize("written", ["12,34,567", "123,4567", "1,234,567", "1234,567", "+1,234.5"])
def test_digits_are_grouped_as_in_other_countries_too(written: str) -> None:
    mapping = 'limit = { column = "limit", grouping = "," }\n'
    plain = Decimal(written.replace(",", ""))
    assert mapped({"limit": written}, mapping).limit == amount_band(plain)


@given(days=st.integers(0, 10_000))
def test_days_past_due_fall_into_their_band(days: int) -> None:
    for written in (str(days), days, float(days)):
        assert mapped({"d": written}, 'days_past_due = "d"\n').days_past_due == days_band(days)


@given(day=st.dates(date(1970, 4, 1), date(2030, 1, 1)))
def test_of_a_date_the_quarter_or_the_month_is_kept(day: date) -> None:
    text = (HEAD + ACCOUNT).replace('{ constant = "2020-02-01" }', '{ column = "o", FORMAT }')
    quarter = (day.year - 1970) * 4 + (day.month - 1) // 3
    for form, written in (
        ("%Y%m%d", f"{day:%Y%m%d}"),
        ("%d.%m.%Y", f"{day:%d.%m.%Y}"),
        ("%Y-%m-%d", day),
        ("%Y-%m-%d", datetime(day.year, day.month, day.day, 23, 59)),
        ("%Y-%m", f"{day:%Y-%m}"),
    ):
        record = mapped({"o": written}, text=text.replace("FORMAT", f'format = "{form}"'))
        assert record.opened_quarter == quarter


@pytest.mark.parametrize("column", ["id", "acct"])
def test_a_float_that_stands_for_several_numbers_is_no_number_of_anybody(column: str) -> None:
    # What a frame makes of a column of long numbers with gaps. Rounded, this one is somebody
    # else's, with the right check digit.
    number = 110101199801278984
    assert DEFAULT_REGISTRY.parse("cn-resident-id/1", str(int(float(number)))).kind
    assert [reason for _, reason in refusals({column: float(number)})] == ["MALFORMED"]
    assert mapped({"acct": float(2**53 - 1)}) == mapped({"acct": 2**53 - 1})


@given(
    value=st.one_of(
        st.none(),
        st.text(max_size=40),
        st.integers(),
        st.floats(),
        st.decimals(),
        st.booleans(),
        st.dates(),
        st.lists(st.integers(), max_size=2),
        st.binary(max_size=4),
    ),
    column=st.sampled_from(
        ["id", "acct", "as_of", "limit", "d", "u1", "u2", "m0", "history", "state"]
    ),
)
def test_no_value_is_more_than_a_refusal_that_does_not_repeat_it(value: Any, column: str) -> None:
    mapping = parse_mapping(
        HEAD
        + ACCOUNT.replace('{ constant = "OPEN" }', '{ column = "state" }')
        + """
limit = { column = "limit", unit = 10000 }
days_past_due = "d"
utilisation = { ratio = ["u1", "u2"], unit = 100 }
spend_volatility = { variation = ["m0", "m1", "m2"] }
payment_profile = { column = "history", codes = { N = "CURRENT" } }
"""
    )
    good: dict[str, object] = {
        **ROW,
        **{"limit": "2", "d": "0", "u1": "50", "u2": "100", "m0": "1", "m1": "2", "m2": "3"},
        **{"history": "NN", "state": "OPEN"},
    }
    assert isinstance(mapping.map(good, KEY), Mapped)
    result = mapping.map(good | {column: value}, KEY)
    if not isinstance(result, Mapped):
        assert result
        for problem in result:
            assert isinstance(problem, FieldProblem)
            if isinstance(value, str) and len(value.strip()) > 12:
                assert value not in problem.description


def test_every_attribute_of_the_catalogue_can_be_mapped() -> None:
    for name, record in RECORDS.items():
        known = targets(name)
        assert set(known) == {field.name for field in dataclasses.fields(record)}
        assert Form.OTHER not in {target.form for target in known.values()}


def test_an_attribute_that_is_added_to_the_catalogue_is_mapped_by_its_type() -> None:
    types = ("ref", "month", "quarter", "day", "profile", "AmountBand", "FiveClass", "TrendBand")
    added = [
        Attribute("account", f"added_{kind.lower()}", kind, False, "month", Keep.POSITIVE, "", "")
        for kind in types
    ]
    assert [target.form for target in targets("account", added).values()] == [
        *(Form.PSEUDONYM, Form.DATE, Form.DATE, Form.DATE, Form.MONTHS),
        *(Form.BAND, Form.CODE, Form.BAND),
    ]


@given(points=st.integers(-200, 200))
def test_a_signed_scale_keeps_what_is_below_0(points: int) -> None:
    wanted = 1 + sum(points >= bound for bound in (-5, 5, 25))
    mapping = 'utilisation_trend = "change"\n'
    assert mapped({"change": str(points)}, mapping).utilisation_trend == wanted


@given(number=st.decimals(min_value=0, max_value=200, places=3))
def test_every_measured_band_is_that_of_its_scale(number: Decimal) -> None:
    measured = {
        name: target for name, target in targets("account").items() if target.form is Form.BAND
    }
    text = "".join(f'{name} = "{name}"\n' for name in measured)
    record = mapped(dict.fromkeys(measured, str(number)), text)
    for name, target in measured.items():
        assert target.kind is not None
        scale = SCALES[target.kind.__name__]
        bounds = list(scale.bounds)
        if scale.closed_top:
            wanted = 1 + sum(number >= bound for bound in bounds[:-1]) + (number > bounds[-1])
        else:
            wanted = 1 + sum(number >= bound for bound in bounds)
        if scale.zero:
            wanted = 1 if number == 0 else wanted + 1
        assert getattr(record, name) == wanted, name


def test_all_kinds_of_attributes_come_out_right() -> None:
    record = mapped(
        {
            **{"bal": "8,200", "lim": "20,000", "d": "M2", "past": "-3", "h": "*1NN"},
            **{"m0": 310, "m1": 280, "m2": 0},
        },
        """
limit = { column = "lim", grouping = "," }
balance = { column = "bal", grouping = "," }
past_due = { column = "past", negative = "zero" }
days_past_due = { column = "d", codes = { M2 = "FROM_30_TO_59" }, or_number = true }
utilisation = { ratio = ["bal", "lim"], unit = 100, grouping = "," }
spend_volatility = { variation = ["m0", "m1", "m2"] }
payment_profile.column = "h"
payment_profile.order = "oldest_first"
payment_profile.skip = 1
payment_profile.codes = { N = "CURRENT", "1" = "FROM_8_TO_29", "*" = "UNSPECIFIED" }
""",
    )
    assert record == AccountSnapshot(
        account_ref=record.account_ref,
        as_of_month=56 * 12 + 9,
        status=AccountStatus.OPEN,
        product=ProductClass.REVOLVING,
        opened_quarter=200,
        limit=AmountBand.FROM_20K_TO_50K,
        balance=AmountBand.FROM_5K_TO_10K,
        past_due=AmountBand.ZERO,
        days_past_due=DaysPastDueBand.FROM_30_TO_59,
        utilisation=UtilisationBand.FROM_30_TO_50,
        # Population standard deviation of (310, 280, 0) over its mean: 139.6 / 196.7.
        spend_volatility=VolatilityBand.FROM_50_TO_100,
        payment_profile=bytes([1, 3, 0]),
    )


def test_a_code_is_never_taken_for_a_number_of_days() -> None:
    mapping = 'days_past_due = { column = "d", codes = { "11" = "CURRENT" } }\n'
    assert mapped({"d": "11"}, mapping).days_past_due == DaysPastDueBand.CURRENT
    assert refusals({"d": "05"}, mapping) == [("account.days_past_due", "UNKNOWN_VALUE")]


def test_months_in_columns_of_their_own_are_a_profile() -> None:
    mapping = 'payment_profile = { columns = ["p1", "p2", "p3"] }\n'
    record = mapped({"p1": "0", "p2": "", "p3": "95"}, mapping)
    assert record.payment_profile == bytes([1, 0, 6])


def test_what_is_not_held_is_unknown_and_not_zero() -> None:
    mapping = """
limit = { column = "limit", empty = ["NULL"] }
utilisation = { ratio = ["a", "b"], unit = 100 }
"""
    for nothing in ("", "  ", "NULL", None):
        assert mapped({"limit": nothing, "a": "5", "b": "0"}, mapping).limit == 0
        assert mapped({"limit": nothing, "a": "5", "b": "0"}, mapping).utilisation == 0


def test_rows_of_two_kinds_are_told_apart() -> None:
    mapping = parse_mapping(
        HEAD
        + ACCOUNT
        + """
when = { column = "kind", values = ["A", "a"] }
[application]
when = { column = "kind", values = ["Q"] }
application_ref = "acct"
day = "as_of"
product = { column = "p", codes = { card = "REVOLVING" } }
"""
    )
    account = mapping.map(ROW | {"kind": "a", "p": ""}, KEY)
    asked = mapping.map(ROW | {"kind": "Q", "p": "card"}, KEY)
    assert isinstance(account, Mapped)
    assert isinstance(asked, Mapped)
    assert isinstance(account.record, AccountSnapshot)
    assert asked.record == ApplicationEvent(
        pseudonym(KEY, "application", ["6222"]), 20757, ProductClass.REVOLVING
    )
    assert account.record.account_ref != asked.record.application_ref
    other = mapping.map(ROW | {"kind": "Z", "p": ""}, KEY)
    assert isinstance(other, list)
    assert other[0].reason == "UNKNOWN_VALUE"


def test_the_subject_may_be_named_by_one_of_several_kinds() -> None:
    text = (
        ACCOUNT
        + """
[subject]
columns = ["id", "mobile"]
kinds = { column = "type", codes = { "10" = "cn-resident-id/1", T = "phone/1" } }
"""
    )
    mapping = parse_mapping("version = 1\n" + text)
    by_id = mapping.map(ROW | {"mobile": "", "type": "10"}, KEY)
    by_phone = mapping.map(ROW | {"id": "", "mobile": "138 0013 8000", "type": "T"}, KEY)
    assert isinstance(by_id, Mapped)
    assert isinstance(by_phone, Mapped)
    assert by_id.identifier.value == resident_id(1)
    assert by_phone.identifier.value == "+8613800138000"
    unknown = mapping.map(ROW | {"mobile": "", "type": "11"}, KEY)
    assert isinstance(unknown, list)


def test_a_row_is_refused_with_everything_that_is_wrong_with_it() -> None:
    assert refusals(
        {"id": "1", "acct": " ", "as_of": "31.10.2026", "l": "1e5"}, 'limit = "l"\n'
    ) == [
        ("subject", "MALFORMED"),
        ("account.account_ref", "REQUIRED"),
        ("account.as_of_month", "MALFORMED"),
        ("account.limit", "MALFORMED"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "key", "said"),
    [
        ("version = 1", "version = 2", "version", "1 wanted"),
        ("version = 1", "", "version", "is missing"),
        ("version = 1", "version = ", "", "no TOML"),
        ("version = 1", "version = 1\nrows = 3", "rows", "no such setting"),
        ('kind = "cn-resident-id/1"', 'kind = "ssn/1"', "subject.kind", "cn-resident-id/1"),
        ('column = "id"', "", "subject.column", "is missing"),
        ('account_ref = "acct"', "", "account.account_ref", "is missing"),
        ('account_ref = "acct"', "account_ref = 5", "account.account_ref", "a table wanted"),
        ("[account]", "[account]\ncolour = 'c'", "account.colour", "there are account_ref"),
        ('{ constant = "OPEN" }', '{ constant = "OPENED" }', "account.status.constant", "CLOSED"),
        ('{ constant = "OPEN" }', "{}", "account.status", "one of column"),
        (
            '{ constant = "OPEN" }',
            '{ column = "s", constant = "OPEN" }',
            "account.status",
            "2 given",
        ),
        (
            '{ constant = "OPEN" }',
            '{ column = "s", codes = { 1 = "O" } }',
            "account.status.codes.1",
            "no AccountStatus",
        ),
        (
            '{ column = "as_of" }',
            '{ column = "as_of", format = "%d" }',
            "account.as_of_month.format",
            "%d",
        ),
        (
            '{ column = "as_of" }',
            '{ column = "as_of", unit = 2 }',
            "account.as_of_month.unit",
            "no such",
        ),
        ('"2020-02-01"', '"last year"', "account.opened_quarter.constant", "a date"),
        (
            "[account]",
            "[account]\nlimit = { column = 'l', unit = 0 }",
            "account.limit.unit",
            "above 0",
        ),
        (
            "[account]",
            "[account]\nlimit = { column = 'l', grouping = '.' }",
            "account.limit.grouping",
            "the same as decimal",
        ),
        (
            "[account]",
            "[account]\nutilisation = { ratio = ['a'] }",
            "account.utilisation.ratio",
            "two columns",
        ),
        (
            "[account]",
            "[account]\npayment_profile = { column = 'h' }",
            "account.payment_profile.codes",
            "each character",
        ),
        ("[account]", "[file]\nencoding = 'latin-1'\n[account]", "file.encoding", "gb18030"),
        ("[account]", "[file]\ncolumns = ['id']\n[account]", "file.columns", "'acct'"),
        ("[account]", "[records]", "records", "no such setting"),
    ],
)
def test_a_wrong_mapping_is_one_error_with_key_and_reason(
    old: str, new: str, key: str, said: str
) -> None:
    text = HEAD + ACCOUNT
    assert old in text
    with pytest.raises(MappingError, match=said) as raised:
        parse_mapping(text.replace(old, new, 1))
    assert raised.value.key == key


def test_a_mapping_of_a_file_is_named_in_its_errors(tmp_path: Path) -> None:
    file = tmp_path / "map.toml"
    file.write_text(HEAD + ACCOUNT + "limit = 7\n")
    with pytest.raises(MappingError) as raised:
        load_mapping(file)
    assert raised.value.path == file
    assert raised.value.key == "account.limit"
    with pytest.raises(MappingError, match="metro2, pboc2"):
        load_mapping(tmp_path / "none.toml")


@pytest.mark.parametrize("name", INCLUDED)
def test_what_an_included_mapping_cannot_hold_is_no_attribute_yet(name: str) -> None:
    file = Path(bulk.__file__).parent / "mappings" / f"{name}.toml"
    table = tomllib.loads(file.read_text("utf-8"))
    for attribute in table.get("not_held", {}):
        assert attribute not in targets("account"), "move it to [account]"
    assert isinstance(load_mapping(name), Mapping)


def test_the_key_of_pseudonyms_lies_beside_the_mapping_that_names_it(tmp_path: Path) -> None:
    file = tmp_path / "map.toml"
    file.write_text(HEAD + ACCOUNT + '[pseudonyms]\nkey_file = "keys/ref.key"\n')
    assert load_mapping(file).key_file == tmp_path / "keys" / "ref.key"


def test_another_identifier_makes_another_mapping() -> None:
    included = load_mapping("metro2")
    other = included.with_identifier("cn-resident-id/1", "ID")
    assert other.digest != included.digest
    assert "ID" in other.columns
    assert "Telephone Number" not in other.columns
    with pytest.raises(MappingError, match="phone/1"):
        included.with_identifier("ssn/1")


def test_pseudonyms_are_the_same_each_month_and_of_one_key_alone(tmp_path: Path) -> None:
    key = key_in(tmp_path / "keys" / "account-ref.key")
    assert key_in(tmp_path / "keys" / "account-ref.key") == key
    first = pseudonym(key, "account", ["12", "3"])
    assert first == pseudonym(key, "account", ["12", "3"])
    assert len(first) == 16
    others = [("account", ["1", "23"]), ("account", ["123"]), ("application", ["12", "3"])]
    assert len({first, *(pseudonym(key, kind, parts) for kind, parts in others)}) == 4
    assert pseudonym(KEY, "account", ["12", "3"]) != first


def test_a_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    file = tmp_path / "account-ref.key"
    key_in(file)
    file.chmod(0o640)
    with pytest.raises(ProfileError, match="chmod 600"):
        key_in(file)
    file.chmod(0o600)
    file.write_text("short")
    with pytest.raises(ProfileError, match="no key"):
        key_in(file)


REPLACING = HEAD + ACCOUNT + 'replaces_entry = "entry"\nreplaces_item = "item"\n'


@pytest.mark.parametrize(
    ("entry", "item", "expected"),
    [
        ("12", "0", RowRef(12, 0)),
        (" 12 ", 7, RowRef(12, 7)),
        (str(2**64 - 1), str(2**32 - 1), RowRef(2**64 - 1, 2**32 - 1)),
        ("", None, None),
        ("12", "", "REQUIRED"),
        ("", "3", "REQUIRED"),
        ("-1", "0", "MALFORMED"),
        ("1.5", "0", "MALFORMED"),
        (str(2**64), "0", "MALFORMED"),
        ("1", str(2**32), "MALFORMED"),
        ("\u0661", "0", "MALFORMED"),
        ("1" * 400, "0", "MALFORMED"),
    ],
)
def test_a_row_of_a_file_may_name_the_row_that_it_replaces(
    entry: object, item: object, expected: object
) -> None:
    mapping = parse_mapping(REPLACING)
    assert {"entry", "item"} <= set(mapping.columns)
    mapped = mapping.map({**ROW, "entry": entry, "item": item}, KEY)
    if isinstance(expected, str):
        assert isinstance(mapped, list)
        assert [(problem.field, problem.reason) for problem in mapped] == [("replaces", expected)]
    else:
        assert isinstance(mapped, Mapped)
        assert mapped.replaces == expected


@pytest.mark.parametrize("missing", ["replaces_entry", "replaces_item"])
def test_a_mapping_names_both_columns_of_what_is_replaced(missing: str) -> None:
    lines = [line for line in REPLACING.splitlines() if not line.startswith(missing)]
    with pytest.raises(MappingError, match=rf"account\.{missing}"):
        parse_mapping("\n".join(lines))
