"""Why a file is not contributed. Each is a ConcordatError."""

from pathlib import Path

from concordat.errors import ConcordatError

__all__ = ["JobBusy", "JobChanged", "JournalError", "MappingError", "SourceError"]


class MappingError(ConcordatError):
    """A mapping says something that cannot be done. `key` is where, e.g. "account.limit.unit"."""

    default_reason = "MAPPING_INVALID"

    def __init__(self, message: str, *, key: str = "", path: Path | None = None) -> None:
        where = ": ".join(part for part in (str(path or ""), key) if part)
        super().__init__(f"{where}: {message}" if where else message)
        self.key = key
        self.path = path
        self._text = message

    def of_file(self, path: Path) -> "MappingError":
        """The same error, once the mapping's file is known."""
        return MappingError(self._text, key=self.key, path=path)


class SourceError(ConcordatError):
    """A source cannot be read at all. (A bad row is refused by itself and raises nothing.)"""

    default_reason = "SOURCE_UNREADABLE"


class JobChanged(ConcordatError):
    """A journal is of another source, mapping or member than this job's. `what` names it."""

    default_reason = "JOB_CHANGED"

    def __init__(self, message: str, *, what: str = "") -> None:
        super().__init__(message)
        self.what = what


class JobBusy(ConcordatError):
    """Another process, or another thread, is working on the same job."""

    default_reason = "JOB_BUSY"


class JournalError(ConcordatError):
    """The journal, or the cache of tokens, cannot be read or written: a full disk, another file."""

    default_reason = "JOURNAL_UNUSABLE"
