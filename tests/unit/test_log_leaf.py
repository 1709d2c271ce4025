"""What a leaf may look like, byte for byte."""

import json
import unicodedata
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from concordat_privacy.log import leaf
from concordat_privacy.log.leaf import Fault, LeafError

HEADER: dict[str, object] = {
    "v": 1,
    "type": "consent.granted",
    "time": "2026-11-22T10:00:00.000001Z",
}


def fault_of(fields: dict[str, object]) -> tuple[Fault, str]:
    with pytest.raises(LeafError) as caught:
        leaf.encode(fields)
    return caught.value.fault, caught.value.where


def fault_in(data: bytes) -> Fault:
    with pytest.raises(LeafError) as caught:
        leaf.parse(data)
    with pytest.raises(LeafError) as checked:
        leaf.check(data)
    assert checked.value.fault is caught.value.fault
    return caught.value.fault


def raw(**changes: str) -> bytes:
    """A leaf as JSON text, members in order, each value given as JSON text."""
    members = {name: json.dumps(value) for name, value in HEADER.items()} | changes
    return ("{" + ",".join(f'"{name}":{members[name]}' for name in sorted(members)) + "}").encode()


def test_encoding_sorts_names_and_adds_no_space() -> None:
    data = leaf.encode({"z": ["é", None, True], "a": {"c": -5, "b": 'q"\n\x01'}, **HEADER})
    assert data.decode() == (
        '{"a":{"b":"q\\"\\n\\u0001","c":-5},"time":"2026-11-22T10:00:00.000001Z",'
        '"type":"consent.granted","v":1,"z":["é",null,true]}'
    )


def test_the_leaf_hash_is_rfc_6962s() -> None:
    # RFC 6962: the hash of a leaf of no bytes is SHA-256 of the byte 0.
    assert leaf.leaf_hash(b"").hex() == (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    )


nfc_text = st.text(max_size=20).map(lambda text: unicodedata.normalize("NFC", text))
ascii_names = st.text(st.characters(max_codepoint=127), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | nfc_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ascii_names, inner, max_size=4),
    max_leaves=12,
)
# What an entry has of its own, and checks, is not among the fields that are drawn.
members = st.dictionaries(
    ascii_names.filter(lambda name: name not in {"items", "items_root"}), values, max_size=8
)


@given(members)
def test_every_leaf_is_written_as_the_rfc_8785_library_writes_it(fields: dict[str, Any]) -> None:
    fields |= HEADER
    data = leaf.encode(fields)
    assert data == rfc8785.dumps(fields)
    assert leaf.parse(data) == leaf.check(data) == fields


@given(members, st.data())
def test_a_changed_byte_gives_no_second_text_of_the_same_leaf(
    fields: dict[str, Any], data: st.DataObject
) -> None:
    text = bytearray(leaf.encode(fields | HEADER))
    at = data.draw(st.integers(0, len(text) - 1))
    text[at] ^= data.draw(st.integers(1, 255))
    try:
        changed = leaf.check(bytes(text))
    except LeafError:
        return
    assert changed != fields | HEADER
    assert rfc8785.dumps(changed) == bytes(text)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_arbitrary_bytes_are_refused_or_canonical(data: bytes) -> None:
    try:
        fields = leaf.parse_item(data)
    except LeafError:
        return
    assert rfc8785.dumps(fields) == data


@pytest.mark.parametrize(
    ("field", "value", "fault", "where"),
    [
        ("x", 1.0, Fault.FLOAT, "$.x"),
        ("x", float("nan"), Fault.FLOAT, "$.x"),
        ("x", 2**53, Fault.INTEGER_RANGE, "$.x"),
        ("x", -(2**53), Fault.INTEGER_RANGE, "$.x"),
        ("x", {"y": ["a", "e\u0301"]}, Fault.NOT_NFC, "$.x.y[1]"),
        ("x", b"bytes", Fault.UNSUPPORTED, "$.x"),
        ("x", {"naïve": 1}, Fault.NAME_NOT_ASCII, "$.x"),
        ("x", {1: "y"}, Fault.NAME_NOT_ASCII, "$.x"),
        ("x", "\ud800", Fault.NOT_UTF8, "$"),
        ("x", "a" * 65_535, Fault.TOO_LONG, "$"),
        ("v", 2, Fault.VERSION, "$.v"),
        ("v", True, Fault.VERSION, "$.v"),
        ("v", None, Fault.VERSION, "$.v"),
        ("type", "consent.", Fault.TYPE, "$.type"),
        ("type", "Consent.granted", Fault.TYPE, "$.type"),
        ("type", "consent.granted\n", Fault.TYPE, "$.type"),
        ("time", "2026-11-22T10:00:00Z", Fault.TIME, "$.time"),
        ("time", "2026-11-22T10:00:00.000001+00:00", Fault.TIME, "$.time"),
        ("time", "2026-02-30T10:00:00.000001Z", Fault.TIME, "$.time"),
        ("time", "2026-11-22 10:00:00.000001Z", Fault.TIME, "$.time"),
        ("time", "２026-11-22T10:00:00.000001Z", Fault.TIME, "$.time"),
        ("items_root", "00", Fault.ITEMS, "$.items_root"),
        ("items_root", "0" * 64, Fault.ITEMS, "$.items"),
    ],
)
def test_encode_refuses(field: str, value: object, fault: Fault, where: str) -> None:
    assert fault_of(HEADER | {field: value}) == (fault, where)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", Fault.NOT_JSON),
        (b"{", Fault.NOT_JSON),
        (b"[]", Fault.NOT_AN_OBJECT),
        (b"\xff{}", Fault.NOT_UTF8),
        (b"\xef\xbb\xbf" + raw(), Fault.NOT_JSON),
        (b" " + raw(), Fault.NOT_CANONICAL),
        (raw() + b"\n", Fault.NOT_CANONICAL),
        (raw(x='"\\u0041"'), Fault.NOT_CANONICAL),
        (raw(x='"\\/"'), Fault.NOT_CANONICAL),
        (raw(x='"\\u001F"'), Fault.NOT_CANONICAL),
        (raw(x="-0"), Fault.NOT_CANONICAL),
        (raw(x='{"b":1,"a":2}'), Fault.NOT_CANONICAL),
        (raw(x='{"a":1,"a":1}'), Fault.DUPLICATE_NAME),
        (raw(x="1.0"), Fault.FLOAT),
        (raw(x="1e3"), Fault.FLOAT),
        (raw(x="NaN"), Fault.FLOAT),
        (raw(x="9007199254740992"), Fault.INTEGER_RANGE),
        (raw(x="9" * 5_000), Fault.INTEGER_RANGE),
        (raw(x='"e\u0301"'), Fault.NOT_NFC),
        (raw(x='"\\ud800"'), Fault.NOT_UTF8),
        (raw(x='{"é":1}'), Fault.NAME_NOT_ASCII),
        (raw(x="[" * 17 + "]" * 17), Fault.TOO_DEEP),
        (raw(x="[" * 30_000 + "]" * 30_000), Fault.TOO_DEEP),
        (raw(x='"' + "a" * 65_535 + '"'), Fault.TOO_LONG),
        (b"{}", Fault.VERSION),
        (raw(v="1.0"), Fault.FLOAT),
        (raw(v="2"), Fault.VERSION),
    ],
)
def test_parse_refuses(data: bytes, fault: Fault) -> None:
    assert fault_in(data) is fault


def test_the_longest_leaf_is_65535_bytes() -> None:
    spare = leaf.MAX_LEAF_BYTES - len(leaf.encode(HEADER | {"x": ""}))
    assert len(leaf.encode(HEADER | {"x": "a" * spare})) == 65_535
    assert fault_of(HEADER | {"x": "a" * (spare + 1)})[0] is Fault.TOO_LONG


def test_a_cycle_is_refused() -> None:
    cycle: list[object] = []
    cycle.append(cycle)
    assert fault_of(HEADER | {"x": cycle})[0] is Fault.TOO_DEEP


def test_items_need_no_header_but_leaves_do() -> None:
    assert leaf.encode_item({"b": 1, "a": 2}) == b'{"a":2,"b":1}'
    assert leaf.parse_item(b'{"a":2,"b":1}') == {"a": 2, "b": 1}
    assert fault_in(b'{"a":2,"b":1}') is Fault.VERSION


def test_batch_of_tells_a_batch_entry_from_another() -> None:
    batch = HEADER | {"items": 3, "items_root": "ab" * 32}
    assert leaf.batch_of(leaf.parse(leaf.encode(batch))) == (3, b"\xab" * 32)
    assert leaf.batch_of(leaf.parse(leaf.encode(HEADER | {"items": 3}))) is None
