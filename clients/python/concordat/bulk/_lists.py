"""The files that a job writes beside its journal: rows that were refused, rows that were taken."""

import csv
import os
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from concordat.bulk._journal import Journal, Reject
from concordat.bulk._names import ROW_COLUMNS
from concordat.bulk._paths import checked_path
from concordat.errors import InvalidInput

REJECT_COLUMNS: Final = ("row", "field", "reason", "description", "refused_by")


@dataclass(frozen=True, slots=True)
class Lists:
    """Where they are to be written; None where one is not wanted."""

    rejects: str | os.PathLike[str] | None
    rows: str | os.PathLike[str] | None

    def check(self, used: Iterable[tuple[str, object]], own_folder: Path) -> None:
        """Raise InvalidInput where one cannot be written, or would destroy a file that is used.

        Asked before anything is sent, as they are written at the end. `used`: what each file is,
        and its path; what is no path is passed over. `own_folder` is made by the job.
        """
        kept = [(what, Path(file)) for what, file in used if isinstance(file, str | os.PathLike)]
        for name, file in (("rejects", self.rejects), ("rows", self.rows)):
            if file is None:
                continue
            folder = checked_path(file, name).absolute().parent
            if Path(file).is_dir():
                raise InvalidInput.field(name, f"{file}: a file wanted, not a folder")
            if not folder.is_dir() and folder != own_folder.absolute():
                raise InvalidInput.field(name, f"{folder} is no folder; make it first")
            for what, other in kept:
                if _is_same(Path(file), other):
                    raise InvalidInput.field(name, f"{what} itself; another file wanted")
            kept.append((f"the file of {name}", Path(file)))

    def clear(self) -> None:
        """Remove the list of refused rows of an earlier run: it is no word about this one."""
        if self.rejects is not None:
            Path(self.rejects).unlink(missing_ok=True)

    def write(self, book: Journal) -> None:
        """Write them, of all that is known so far."""
        if self.rejects is not None:
            _write(Path(self.rejects), REJECT_COLUMNS, map(_reject_columns, book.rejects()))
        if self.rows is not None:
            _write(Path(self.rows), ROW_COLUMNS, book.taken())


def _reject_columns(one: Reject) -> tuple[object, ...]:
    return one.row, one.field, one.reason, one.description, one.refused_by


def _is_same(file: Path, other: Path) -> bool:
    """Whether two paths are of one file, which need not be there yet."""
    if file.exists() and other.exists():
        return file.samefile(other)
    return file.resolve() == other.resolve()


def _write(file: Path, heading: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file in the place of what is there, whole or not at all."""
    unfinished = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        with unfinished.open("x", newline="", encoding="utf-8") as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(heading)
            writer.writerows(rows)
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)
