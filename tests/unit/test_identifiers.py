"""Normalisation: what is accepted, what it becomes, what is refused and why.

Expected values are written out or come from :mod:`tests.fabricate`, which computes check digits
from the standards' weights.
"""

import datetime
import pickle
from dataclasses import FrozenInstanceError, dataclass
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concordat_privacy.identifiers import (
    DEFAULT_REGISTRY,
    Identifier,
    IdentifierInvalid,
    IdentifierRegistry,
    PhoneNumber,
    Reason,
    ResidentId,
    UnifiedSocialCreditCode,
    oprf_input,
)
from tests import fabricate

# Fabricated: heading code 110100, birth on 1 January 1900, order codes 010 and 001.
WITH_X = "11010019000101010X"
WITH_DIGIT = "110100190001010018"
CREDIT_CODE = "91000000MA00000056"
# China Mobile's public service line; belongs to no person.
PHONE = "+8613800138000"

KINDS: list[tuple[type[Identifier], str]] = [
    (ResidentId, WITH_DIGIT),
    (UnifiedSocialCreditCode, CREDIT_CODE),
    (PhoneNumber, PHONE),
]
resident_ids = st.integers(0, fabricate.RESIDENT_IDS - 1).map(fabricate.resident_id)


def resident(first17: str) -> str:
    return first17 + fabricate.resident_check_digit(first17)


@pytest.mark.parametrize(
    "text",
    [
        WITH_DIGIT,
        f"  {WITH_DIGIT}\r\n",
        "110100 1900 0101 0018",
        "110100-19000101-0018",
        "110100–19000101—0018",
        "110100\u221219000101\u22120018",
        "１１０１００１９０００１０１００１８",
        "１１０１００　１９０００１０１　００１８",
        "\ufeff110100190001010018",
        "110100\u200b190001010018",
        "110100\u00a0190001010018",
        "110100\t190001010018",
    ],
)
def test_one_person_has_one_form(text: str) -> None:
    assert ResidentId(text).value == WITH_DIGIT
    assert ResidentId.parse(text) == ResidentId(WITH_DIGIT)


def test_15_digits_become_the_18_of_the_same_person() -> None:
    assert ResidentId("110100000101001").value == WITH_DIGIT
    assert ResidentId("110100-000101-001").value == WITH_DIGIT


@given(resident_ids)
def test_15_digits_and_18_agree(number: str) -> None:
    if number[14:17] < "996":
        assert ResidentId(number[:6] + number[8:17]) == ResidentId(number)


@pytest.mark.parametrize("letter", ["x", "X", "ｘ", "Ｘ", "ⅹ"])
def test_a_check_letter_in_any_writing(letter: str) -> None:
    number = next(n for n in map(fabricate.resident_id, range(100)) if n.endswith("X"))
    assert ResidentId(number[:-1] + letter).value == number


@given(resident_ids)
def test_every_other_check_digit_is_refused(number: str) -> None:
    for digit in set("0123456789X") - {number[-1]}:
        with pytest.raises(IdentifierInvalid) as caught:
            ResidentId(number[:-1] + digit)
        assert caught.value.reason is Reason.CHECK_DIGIT


@given(resident_ids, st.integers(0, 16), st.sampled_from("0123456789"))
def test_no_single_wrong_digit_passes(number: str, place: int, digit: str) -> None:
    if number[place] != digit:
        with pytest.raises(IdentifierInvalid):
            ResidentId(number[:place] + digit + number[place + 1 :])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", Reason.LENGTH),
        (WITH_DIGIT[:-1], Reason.LENGTH),
        (WITH_DIGIT + "0", Reason.LENGTH),
        ("1" * 16, Reason.LENGTH),
        (WITH_DIGIT + " " * 200, Reason.LENGTH),
        ("11010X190001010018", Reason.CHARACTER),
        ("١١٠١٠٠190001010018", Reason.CHARACTER),
        (WITH_DIGIT[:-1] + "Y", Reason.CHARACTER),
        ("11010000010100X", Reason.CHARACTER),
        ("1101001900010100\uff0b8", Reason.CHARACTER),
        (resident("11010018991231001"), Reason.DATE),
        (resident("11010018000101001"), Reason.DATE),
        (resident("11010020990101001"), Reason.DATE),
        (resident("11010019000229001"), Reason.DATE),
        (resident("11010019001301001"), Reason.DATE),
        (resident("11010019000100001"), Reason.DATE),
        ("110100001301001", Reason.DATE),
        ("110100000101996", Reason.DATE),
        ("110100000101999", Reason.DATE),
        (resident("10010019000101001"), Reason.REGION),
        (resident("99010019000101001"), Reason.REGION),
        (WITH_DIGIT[:-1] + "0", Reason.CHECK_DIGIT),
    ],
)
def test_what_is_no_resident_number(text: str, reason: Reason) -> None:
    with pytest.raises(IdentifierInvalid) as caught:
        ResidentId(text)
    assert caught.value.reason is reason
    assert caught.value.kind == "cn-resident-id/1"


def test_people_born_before_their_county_got_its_code() -> None:
    """440103 exists since 1983; people registered there later were born long before."""
    number = resident("44010319050101001")
    assert ResidentId(number).value == number


@pytest.mark.parametrize("region", ["71", "81", "82", "83"])
def test_residence_permits_of_taiwan_hong_kong_and_macao(region: str) -> None:
    number = resident(f"{region}000019050101001")
    assert ResidentId(number).value == number


def test_birth_after_a_given_day_is_refused() -> None:
    birth = datetime.date(1900, 1, 1)
    assert ResidentId(WITH_DIGIT).birth_date == birth
    assert ResidentId.parse(WITH_DIGIT, as_of=birth).value == WITH_DIGIT
    with pytest.raises(IdentifierInvalid) as caught:
        ResidentId.parse(WITH_DIGIT, as_of=birth - datetime.timedelta(days=1))
    assert caught.value.reason is Reason.DATE


@pytest.mark.parametrize(
    "text",
    [
        CREDIT_CODE,
        "91000000ma00000056",
        "9100 0000-MA00 0000 56",
        "９１００００００ＭＡ００００００５６",
    ],
)
def test_credit_codes(text: str) -> None:
    assert UnifiedSocialCreditCode(text).value == CREDIT_CODE


@given(st.integers(0, 9_999_999))
def test_every_fabricated_credit_code_passes(index: int) -> None:
    code = fabricate.credit_code(index)
    assert UnifiedSocialCreditCode(code).value == code


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (CREDIT_CODE[:-1], Reason.LENGTH),
        ("9100000AMA00000056", Reason.CHARACTER),
        ("91000000IA00000056", Reason.CHARACTER),
        ("91000000MA000000\u00e96", Reason.CHARACTER),
        ("91000000MA00000057", Reason.CHECK_DIGIT),
        ("91000000AM00000056", Reason.CHECK_DIGIT),
    ],
)
def test_what_is_no_credit_code(text: str, reason: Reason) -> None:
    with pytest.raises(IdentifierInvalid) as caught:
        UnifiedSocialCreditCode(text)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("13800138000", PHONE),
        ("138 0013 8000", PHONE),
        ("138-0013-8000", PHONE),
        ("+86 138 0013 8000", PHONE),
        ("0086 138 0013 8000", PHONE),
        ("86 13800138000", PHONE),
        ("＋８６（１３８）００１３８０００", PHONE),
        ("\u202a+86 138 0013 8000\u202c", PHONE),
        ("+1 (202) 555-0123", "+12025550123"),
        ("+1.202.555.0123", "+12025550123"),
    ],
)
def test_phone_numbers(text: str, expected: str) -> None:
    assert PhoneNumber(text).value == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", Reason.NUMBER),
        ("+", Reason.NUMBER),
        ("10086", Reason.NUMBER),
        ("12345678901", Reason.NUMBER),
        ("+999 1234567", Reason.NUMBER),
        ("13800138000 ext 5", Reason.CHARACTER),
        ("13800138000#5", Reason.CHARACTER),
        ("1-800-FLOWERS", Reason.CHARACTER),
        ("138001+38000", Reason.CHARACTER),
        ("13800138000;ext=5", Reason.CHARACTER),
        ("13800138000/13800138001", Reason.CHARACTER),
        ("1" * 129, Reason.LENGTH),
    ],
)
def test_what_is_no_phone_number(text: str, reason: Reason) -> None:
    with pytest.raises(IdentifierInvalid) as caught:
        PhoneNumber(text)
    assert caught.value.reason is reason


@pytest.mark.parametrize(("kind", "value"), KINDS)
def test_normalising_twice_changes_nothing(kind: type[Identifier], value: str) -> None:
    assert kind.normalise(kind(value).value) == value


@given(text=st.text(max_size=140), kind=st.sampled_from([kind for kind, _ in KINDS]))
def test_any_text_is_an_identifier_or_a_typed_error(text: str, kind: type[Identifier]) -> None:
    refusal = None
    try:
        identifier = kind(text)
    except IdentifierInvalid as error:
        refusal = error
    if refusal is None:
        assert kind(identifier.value) == identifier
    else:
        assert str(refusal) == f"{kind.kind}: {refusal.reason.value}"
        assert refusal.__context__ is None


@pytest.mark.parametrize(("kind", "value"), KINDS)
def test_an_identifier_hides_its_value(kind: type[Identifier], value: str) -> None:
    identifier = kind(value)
    for shown in (repr(identifier), str(identifier), f"{identifier}", f"{[identifier]}"):
        assert "hidden" in shown
        assert value[-6:] not in shown


@pytest.mark.parametrize(("kind", "value"), KINDS)
def test_an_identifier_is_a_value(kind: type[Identifier], value: str) -> None:
    identifier = kind(value)
    assert {identifier: 1}[kind(value)] == 1
    assert pickle.loads(pickle.dumps(identifier)) == identifier
    with pytest.raises(FrozenInstanceError):
        identifier.value = "other"  # type: ignore[misc]  # the test is that this fails


def test_equal_characters_of_two_kinds_are_different() -> None:
    assert len({oprf_input(kind(value)) for kind, value in KINDS}) == len(KINDS)


def test_oprf_input_layout() -> None:
    assert oprf_input(ResidentId(WITH_DIGIT)) == (
        b"\x00\x10cn-resident-id/1\x00\x12" + WITH_DIGIT.encode()
    )


@pytest.mark.parametrize(("kind", "value"), KINDS)
def test_the_registry_knows_kinds_by_name(kind: type[Identifier], value: str) -> None:
    assert DEFAULT_REGISTRY.parse(kind.kind, value) == kind(value)


@dataclass(frozen=True, slots=True, repr=False)
class Passport(Identifier):
    """A kind that a deployment adds."""

    kind: ClassVar[str] = "test-passport/1"

    @classmethod
    def normalise(cls, text: str) -> str:
        return text.strip().upper()


def test_a_kind_can_be_added() -> None:
    registry = DEFAULT_REGISTRY.with_kind(Passport)
    assert registry.parse("test-passport/1", " e123 ") == Passport("E123")
    with pytest.raises(KeyError):
        DEFAULT_REGISTRY.parse("test-passport/1", "E123")


def test_a_name_stands_for_one_kind() -> None:
    with pytest.raises(ValueError, match="same name"):
        IdentifierRegistry((Passport, Passport))


def test_an_invalid_identifier_error_crosses_processes() -> None:
    error = IdentifierInvalid("phone/1", Reason.NUMBER)
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.kind, copy.reason, str(copy)) == (error.kind, error.reason, str(error))


def test_fabricated_numbers_are_valid_and_differ() -> None:
    numbers = [fabricate.resident_id(i) for i in range(0, fabricate.RESIDENT_IDS, 1009)]
    assert len({ResidentId(number).value for number in numbers}) == len(numbers)
