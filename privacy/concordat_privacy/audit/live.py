"""How many consents are live at a moment, by what they cover."""

import heapq
from collections import Counter

from concordat_privacy.audit.consent import Consent
from concordat_privacy.audit.entry import Moment


class LiveCount:
    """Counts live consents as time goes on: one step for each beginning, end and change.

    Questions about the pool are many and consents are more, so nothing is counted anew.
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[int, int]] = Counter()
        self._due: list[tuple[Moment, int, Consent]] = []

    def add(self, consent: Consent, now: Moment) -> None:
        """A new consent."""
        for moment in {consent.starts_at, consent.expires_at}:
            if moment > now:
                # The entry's index keeps equal moments apart: consents have no order.
                heapq.heappush(self._due, (moment, consent.entry, consent))
        self.refresh(consent, now)

    def refresh(self, consent: Consent, now: Moment) -> None:
        """A consent after a change."""
        live = not consent.why_not_live(now)
        if live is not consent.counted:
            self._counts[consent.purposes, consent.categories] += 1 if live else -1
            consent.counted = live

    def covering(self, purpose: int, categories: int, now: Moment) -> int:
        """Live consents at `now`, no earlier than before, that cover all these bits."""
        while self._due and self._due[0][0] <= now:
            _, _, consent = heapq.heappop(self._due)
            self.refresh(consent, now)
        return sum(
            count
            for (purposes, covered), count in self._counts.items()
            if purposes & purpose == purpose and covered & categories == categories
        )
