"""What every book of a replay shares: where findings go, and the entry at hand."""

from concordat_privacy.audit.entry import Entry
from concordat_privacy.audit.findings import Findings, Kind


class Context:
    """The sink of findings, which adds the entry at hand to each."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.entry: Entry | None = None
        self.found = 0
        """Findings about entries so far."""

    def find(
        self,
        kind: Kind,
        message: str,
        *,
        item: int | None = None,
        consent: str = "",
        member: str = "",
    ) -> None:
        """Report something about the entry at hand."""
        self.found += 1
        entry = self.entry
        if entry is not None and not member:
            member = entry.actor.member
        index = None if entry is None else entry.index
        self.findings.add(kind, message, index, item, consent, member)

    def find_at(
        self, kind: Kind, message: str, entry: int, *, consent: str = "", member: str = ""
    ) -> None:
        """Report something that an earlier entry left undone."""
        self.findings.add(kind, message, entry, None, consent, member)
