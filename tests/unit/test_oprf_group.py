"""The group and scalar laws that the protocol rests on, against plain integers."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concordat_privacy.oprf import ElementInvalid, LengthInvalid, ScalarInvalid
from concordat_privacy.oprf import ristretto as r

ORDER = 2**252 + 27742317777372353535851937790883648493

# RFC 9496 Appendix A.1: 0 * G to 5 * G.
MULTIPLES = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76",
    "6a493210f7499cd17fecb510ae0cea23a110e8d5b901f8acadd3095c73a3b919",
    "94741f5d5d52755ece4f23f044ee27d5d1ea1e2bd196b462166b16152a9d0259",
    "da80862773358b466ffadfe0b3293ab3d9fd53c5ea6c955358f568322daf6a57",
    "e882b131016b52c1d3337080187cf768423efccbb517bb495ab812c4160ff44e",
]

# RFC 9496 Appendix A.2, at least one of each class, and the identity.
NOT_ELEMENTS = {
    "identity": "00" * 32,
    "field element not canonical": "00" + "ff" * 31,
    "field element not canonical, top bit clear": "f3" + "ff" * 30 + "7f",
    "field prime itself": "ed" + "ff" * 30 + "7f",
    "negative field element": "01" + "00" * 31,
    "negative field element, not small": (
        "ed57ffd8c914fb201471d1c3d245ce3c746fcbe63a3679d51b6a516ebebe0e20"
    ),
    "x squared is no square": "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",
    "negative xy": "3eb858e78f5a7254d8c9731174a94f76755fd3941c0ac93735c07ba14579630e",
    "s is minus one, which makes y zero": "ec" + "ff" * 30 + "7f",
}

scalars = st.integers(min_value=1, max_value=ORDER - 1)
# 64 zero bytes, which hypothesis likes to try, map to the identity.
elements = st.binary(min_size=64, max_size=64).map(r.elements_from_uniform).filter(lambda e: any(e))


def encode(scalar: int) -> bytes:
    return (scalar % ORDER).to_bytes(32, "little")


@pytest.mark.parametrize("factor", range(1, 6))
def test_small_multiples_of_the_generator(factor: int) -> None:
    expected = bytes.fromhex(MULTIPLES[factor])
    generator = bytes.fromhex(MULTIPLES[1])
    assert r.scalar_multiply_base(encode(factor)) == expected
    assert r.scalar_multiply_each(encode(factor), generator) == expected
    assert r.scalar_multiply_one(encode(factor), generator) == expected
    assert r.linear_combination(encode(1) * factor, generator * factor) == expected
    assert r.linear_combination(encode(factor), generator) == expected


@pytest.mark.parametrize("encoded", list(NOT_ELEMENTS.values()), ids=list(NOT_ELEMENTS))
def test_what_is_no_element_is_refused_everywhere(encoded: str) -> None:
    good = bytes.fromhex(MULTIPLES[2])
    packed = good + good + bytes.fromhex(encoded)
    assert not r.is_element(bytes.fromhex(encoded))
    attempts: list[Callable[[], bytes]] = [
        lambda: r.scalar_multiply_each(encode(7), packed),
        lambda: r.scalar_multiply_pairs(encode(7) * 3, packed),
        lambda: r.linear_combination(encode(7) * 3, packed),
    ]
    for attempt in attempts:
        with pytest.raises(ElementInvalid) as caught:
            attempt()
        assert caught.value.index == 2


@settings(max_examples=40, deadline=None)
@given(a=scalars, b=scalars, p=elements)
def test_multiplication_distributes_and_associates(a: int, b: int, p: bytes) -> None:
    left = r.scalar_multiply_each(encode(a), p)
    assert r.scalar_multiply_each(encode(b), left) == r.scalar_multiply_each(encode(a * b), p)
    combined = r.linear_combination(encode(a) + encode(b), p + p)
    total = (a + b) % ORDER
    assert combined == (r.scalar_multiply_each(encode(total), p) if total else r.IDENTITY)


@settings(max_examples=40, deadline=None)
@given(a=scalars, b=scalars)
def test_the_generator_is_multiplied_as_any_other_element(a: int, b: int) -> None:
    generator = bytes.fromhex(MULTIPLES[1])
    power = r.scalar_multiply_one(encode(a), generator)
    assert power == r.scalar_multiply_each(encode(a), generator)
    assert r.scalar_multiply_one(encode(b), power) == r.scalar_multiply_base(encode(a * b))


@settings(max_examples=40, deadline=None)
@given(a=scalars, p=elements, q=elements)
def test_one_scalar_for_all_is_the_same_as_for_each(a: int, p: bytes, q: bytes) -> None:
    each = r.scalar_multiply_each(encode(a), p + q)
    assert each == r.scalar_multiply_pairs(encode(a) * 2, p + q)
    together = r.linear_combination(encode(1) * 2, p + q)
    if together != r.IDENTITY:
        assert r.scalar_multiply_each(encode(a), together) == r.linear_combination(
            encode(1) * 2, each
        )


@pytest.mark.parametrize("encoded", list(NOT_ELEMENTS.values()), ids=list(NOT_ELEMENTS))
def test_what_is_no_element_is_refused_alone_too(encoded: str) -> None:
    for multiply in (r.scalar_multiply_one, r.linear_combination):
        with pytest.raises(ElementInvalid) as caught:
            multiply(encode(7), bytes.fromhex(encoded))
        assert caught.value.index == 0


@given(a=scalars)
def test_an_element_and_its_negative_sum_to_the_identity(a: int) -> None:
    point = bytes.fromhex(MULTIPLES[1])
    assert r.linear_combination(encode(a) + encode(-a), point * 2) == r.IDENTITY


@given(values=st.lists(scalars, min_size=1, max_size=20))
def test_batch_inversion_is_inversion(values: list[int]) -> None:
    inverses = r.invert_scalars(b"".join(encode(value) for value in values))
    assert inverses == b"".join(encode(pow(value, -1, ORDER)) for value in values)


@given(m=scalars, a=scalars, b=scalars)
def test_multiply_subtract(m: int, a: int, b: int) -> None:
    assert r.multiply_subtract(encode(m), encode(a), encode(b)) == encode(m - a * b)


@given(uniform=st.lists(st.binary(min_size=64, max_size=64), min_size=1, max_size=4))
def test_uniform_bytes_are_reduced_little_endian(uniform: list[bytes]) -> None:
    expected = b"".join(encode(int.from_bytes(item, "little")) for item in uniform)
    assert r.scalars_from_uniform(b"".join(uniform)) == expected


@pytest.mark.parametrize("value", [0, ORDER, ORDER + 1, 2**256 - 1])
def test_scalars_outside_the_field_are_named(value: int) -> None:
    with pytest.raises(ScalarInvalid) as caught:
        r.check_scalars(encode(5) + value.to_bytes(32, "little") + encode(6))
    assert caught.value.index == 1


def test_the_largest_scalar_is_accepted() -> None:
    r.check_scalars((ORDER - 1).to_bytes(32, "little"))


def test_random_scalars_are_valid_and_differ() -> None:
    drawn = r.random_scalars(50)
    r.check_scalars(drawn)
    assert len({drawn[i : i + 32] for i in range(0, len(drawn), 32)}) == 50


def test_zero_has_no_inverse() -> None:
    with pytest.raises(ScalarInvalid):
        r.invert_scalars(encode(3) + encode(0) + encode(4))


def test_zero_times_the_generator_is_refused() -> None:
    with pytest.raises(ScalarInvalid):
        r.scalar_multiply_base(encode(0))


POINT = bytes.fromhex(MULTIPLES[1])


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: r.scalar_multiply_base(encode(1)[:-1]),
        lambda: r.scalar_multiply_each(encode(1) + b"\0", POINT),
        lambda: r.scalar_multiply_each(encode(1), b""),
        lambda: r.scalar_multiply_one(encode(1), POINT * 2),
        lambda: r.scalar_multiply_one(encode(1)[:-1], POINT),
        lambda: r.scalar_multiply_pairs(encode(1), POINT * 2),
        lambda: r.scalar_multiply_pairs(encode(1) * 3, POINT * 2),
        lambda: r.linear_combination(encode(1)[:-1], POINT),
        lambda: r.multiply_subtract(encode(1), encode(1)[:-1], encode(1)),
        lambda: r.scalars_from_uniform(b""),
        lambda: r.check_scalars(b""),
    ],
)
def test_no_wrong_length_reaches_libsodium(attempt: Callable[[], object]) -> None:
    with pytest.raises(LengthInvalid):
        attempt()


@pytest.mark.parametrize("size", [31, 33, 63, 65])
def test_a_short_last_item_is_named(size: int) -> None:
    packed = (POINT * 3)[:size]
    with pytest.raises(ElementInvalid) as caught:
        r.scalar_multiply_each(encode(1), packed)
    assert caught.value.index == size // 32


@pytest.mark.parametrize("encoded", [b"", POINT[:-1], POINT + b"\0"])
def test_wrong_length_is_no_element(encoded: bytes) -> None:
    assert not r.is_element(encoded)
