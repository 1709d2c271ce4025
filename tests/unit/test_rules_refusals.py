"""Why rows were refused, as it is kept."""

from hypothesis import given
from hypothesis import strategies as st

from concordat_gateway.rules.items import ItemRefusal
from concordat_gateway.rules.refusals import pack_refusals, unpack_refusals

refusals = st.builds(ItemRefusal, st.integers(0, 3_999), st.text(), st.text(), st.text())


@given(st.lists(refusals, max_size=20))
def test_refusals_come_back_as_they_were(found: list[ItemRefusal]) -> None:
    assert unpack_refusals(pack_refusals(found)) == found


def test_a_part_that_is_refused_for_one_reason_takes_a_few_bytes_a_row() -> None:
    found = [
        ItemRefusal(item, "token", "NO_CONSENT", "no live consent of the subject")
        for item in range(4_000)
    ]
    assert len(pack_refusals(found)) < 4 * len(found)
