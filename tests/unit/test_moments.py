"""Moments: microseconds since 1970 as a datetime and as text."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concordat_privacy.moments import micros_of, moment_of, rfc3339

LAST = 253_402_300_799_999_999


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1, "1970-01-01T00:00:00.000001Z"),
        (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
        (LAST, "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_a_moment_as_text_has_always_six_decimals(micros: int, text: str) -> None:
    assert rfc3339(micros) == text


@given(micros=st.integers(0, LAST))
def test_a_moment_comes_back_unchanged(micros: int) -> None:
    moment = moment_of(micros)
    assert moment.utcoffset() == timedelta(0)
    assert micros_of(moment) == micros


def test_the_zone_of_a_time_counts() -> None:
    noon = datetime(1970, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert micros_of(noon) == 10 * 3_600 * 1_000_000
    assert moment_of(micros_of(noon)) == datetime(1970, 1, 1, 10, tzinfo=UTC)


def test_there_is_no_moment_after_the_year_9999() -> None:
    with pytest.raises(OverflowError):
        moment_of(LAST + 1)
