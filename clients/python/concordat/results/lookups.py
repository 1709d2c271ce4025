"""Answers to lookups, and the signals that they hold."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

from concordat.enums import Coverage, DataCategory, Purpose, SignalStatus, SubjectStatus
from concordat.errors import NoConsent, UnknownSignal
from concordat.results.ledger import Receipt


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal about a subject."""

    name: str
    status: SignalStatus
    """PRESENT: the band holds. STALE: it holds but is older than the signal's maximum age.
    NOT_FOUND: nobody contributed what the signal is computed from; not negative. SUPPRESSED: too
    little history stands behind a spending pattern. NO_CONSENT: the consent does not cover the
    signal's category. DISPUTED: the subject disputes what it rests on, or a dispute of its
    category is open; by the gateway's policy it has a band that holds only if what is disputed is
    true, or none."""
    band: int
    """Band number within the signal; 0 where there is none."""
    band_label: str
    """The band in words, e.g. "3-4"; empty where there is none."""
    as_of: date | None
    """First day of the newest month behind it; None where there is no band."""
    coverage: Coverage
    """What stands behind the signal's category. THIN: one or two contributing members, or less than
    three months of history. PARTIAL: three or more and less than a year. FULL: three or more and at
    least a year. UNSPECIFIED: nothing was computed."""

    @property
    def has_band(self) -> bool:
        """Whether `band` says anything."""
        return self.band > 0


@dataclass(frozen=True, slots=True)
class LookupResult:
    """The answer about one subject. There is one only if the gateway answered.

    Read a signal with `result["lenders_open"]`. Where there is no consent, reading any raises
    NoConsent, so that a missing consent cannot be taken for an empty history.
    """

    status: SubjectStatus
    purpose: Purpose
    receipt: Receipt
    """The ledger entry of this lookup, or of its refusal. Subjects of one batch share it."""
    _signals: tuple[Signal, ...] = field(repr=False)

    @property
    def signals(self) -> tuple[Signal, ...]:
        """All signals, in the catalogue's order. Raises NoConsent."""
        if self.status is SubjectStatus.NO_CONSENT:
            raise NoConsent(
                "there is no live consent of this subject for this member and purpose "
                f"{self.purpose.name}, or no such subject; this says nothing about the subject's "
                "credit",
                operation="lookup",
            )
        return self._signals

    def __getitem__(self, name: str) -> Signal:
        """The signal of that name. Raises NoConsent, UnknownSignal."""
        for signal in self.signals:
            if signal.name == name:
                return signal
        known = ", ".join(signal.name for signal in self._signals)
        raise UnknownSignal(f"no signal {name!r} in this result (it has: {known})")

    def __iter__(self) -> Iterator[Signal]:
        """The signals. Raises NoConsent."""
        return iter(self.signals)

    def __contains__(self, name: object) -> bool:
        """Whether there is a signal of that name. Raises NoConsent."""
        return any(signal.name == name for signal in self.signals)


@dataclass(frozen=True, slots=True)
class SignalInfo:
    """One signal that the gateway releases."""

    name: str
    band_labels: tuple[str, ...]
    """The label of band b stands at position b - 1."""
    category: DataCategory
    """What a consent must cover."""
    max_age_months: int
    """Age after which the signal is STALE."""
    reason_en: str
    """Reason for an adverse action notice, English."""
    reason_zh: str
    """The same in Chinese."""


@dataclass(frozen=True, slots=True)
class SignalCatalogue:
    """All signals that the gateway releases."""

    version: int
    signals: tuple[SignalInfo, ...]
