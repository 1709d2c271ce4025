"""How requests are told apart, and how lists are paged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concordat_gateway.rules.pages import Listing, page_size
from concordat_gateway.rules.requests import Fingerprint, check_request_id
from concordat_rpc.errors import Kind, Refusal

values = st.lists(st.binary(max_size=4) | st.text(max_size=4) | st.integers() | st.none())


def digest(*parts: bytes | str | int | None) -> bytes:
    fingerprint = Fingerprint("Method")
    fingerprint.add(*parts)
    return fingerprint.digest()


@given(values, values)
def test_only_equal_values_have_equal_digests(
    one: list[bytes | str | int | None], other: list[bytes | str | int | None]
) -> None:
    # Compared with their types: 1 is not "1".
    same = [(type(v), v) for v in one] == [(type(v), v) for v in other]
    assert (digest(*one) == digest(*other)) == same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([b"ab", b"c"], [b"a", b"bc"]),
        ([b"1"], ["1"]),
        (["1"], [1]),
        ([None], []),
        ([b""], []),
        ([b"", b""], [b""]),
        ([0], [None]),
        ([-1], [1]),
        ([12, 3], [1, 23]),
    ],
)
def test_values_cannot_run_into_each_other(
    one: list[bytes | str | int | None], other: list[bytes | str | int | None]
) -> None:
    assert digest(*one) != digest(*other)


@given(values, st.integers(min_value=0))
def test_a_digest_does_not_depend_on_how_values_come_in(
    parts: list[bytes | str | int | None], cut: int
) -> None:
    fingerprint = Fingerprint("Method")
    fingerprint.add(*parts[:cut])
    fingerprint.add(*parts[cut:])
    assert fingerprint.digest() == digest(*parts)


def test_methods_have_digests_of_their_own() -> None:
    assert Fingerprint("One").digest() != Fingerprint("Other").digest()


@pytest.mark.parametrize("length", [0, 15, 17, 32])
def test_a_request_id_has_sixteen_bytes(length: int) -> None:
    assert check_request_id(bytes(16)) == bytes(16)
    with pytest.raises(Refusal) as refusal:
        check_request_id(bytes(length), "header.request_id")
    assert refusal.value.kind is Kind.INVALID_ARGUMENT
    assert [v.field for v in refusal.value.violations] == ["header.request_id"]


@given(st.integers(0, 2**63 - 1), st.lists(st.binary(max_size=4)))
def test_a_page_token_leads_back_to_its_position(position: int, selection: list[bytes]) -> None:
    listing = Listing.of(*selection)
    assert listing.position(listing.token(position)) == position
    assert listing.position("") == -1


@given(st.lists(st.binary(max_size=4)), st.lists(st.binary(max_size=4)))
def test_a_page_token_serves_its_own_selection_only(one: list[bytes], other: list[bytes]) -> None:
    page_token = Listing.of(*one).token(5)
    if one == other:
        assert Listing.of(*other).position(page_token) == 5
    else:
        with pytest.raises(Refusal):
            Listing.of(*other).position(page_token)


@given(st.text())
def test_any_other_text_is_no_page_token(text: str) -> None:
    if text:
        with pytest.raises(Refusal) as refusal:
            Listing.of(b"list").position(text)
        assert [v.field for v in refusal.value.violations] == ["page_token"]


def test_page_sizes_are_defaulted_and_capped() -> None:
    assert page_size(0, default=100, most=1000) == 100
    assert page_size(7, default=100, most=1000) == 7
    assert page_size(1001, default=100, most=1000) == 1000
    with pytest.raises(Refusal):
        page_size(-1, default=100, most=1000)
