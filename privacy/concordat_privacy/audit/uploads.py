"""Uploads: the parts of each follow one another without a gap, up to its end.

An upload is named by a member and 16 bytes that the member chose; each of its parts is a batch with
a sequence. Memory grows by one small record an upload.
"""

from dataclasses import dataclass
from typing import Final

from concordat_privacy.audit.context import Context
from concordat_privacy.audit.entry import Entry, Fields, Malformed, count_of, hex_of
from concordat_privacy.audit.findings import Kind
from concordat_privacy.audit.members import Members

UPLOAD_ID_BYTES: Final = 16


@dataclass(slots=True)
class _Upload:
    """What the log says of one upload so far."""

    last: int = 0
    """Highest sequence of its parts; 0 before the first."""
    rows: int = 0
    refused: int = 0
    ended: int | None = None
    """Entry of its end."""


class Uploads:
    """Checks the sequences and ends of all uploads of one log."""

    def __init__(self, context: Context, members: Members) -> None:
        self._context = context
        self._members = members
        self._uploads: dict[tuple[str, bytes], _Upload] = {}

    def part(self, entry: Entry) -> None:
        """`contribution.batch`: if it is a part, the one that comes next."""
        if "upload" not in entry.fields:
            return
        try:
            sequence = _positive(entry.fields, "sequence")
            if "request" in entry.fields:
                raise Malformed("request: a part of an upload is named by upload and sequence")
            upload = self._of(entry)
            rows, refused = count_of(entry.fields, "rows"), count_of(entry.fields, "refused")
        except Malformed as error:
            # Found here, so that the rows are held against their consents all the same.
            self._context.find(Kind.MALFORMED, str(error))
            return
        member = entry.actor.name
        if not upload.last:
            self._members.of(member).uploads += 1
        if upload.ended is not None:
            message = f"part {sequence} of an upload that ended with entry {upload.ended}"
            self._context.find(Kind.UPLOAD_AFTER_END, message, member=member)
        elif sequence != upload.last + 1:
            message = f"part {sequence} of an upload, {upload.last + 1} was to come"
            self._context.find(Kind.UPLOAD_OUT_OF_ORDER, message, member=member)
        upload.last = max(upload.last, sequence)
        upload.rows += rows
        upload.refused += refused

    def ended(self, entry: Entry) -> None:
        """`contribution.ended`: says once how many parts and rows the upload has."""
        fields, member = entry.fields, entry.actor.name
        said = (
            _positive(fields, "parts"),
            count_of(fields, "rows"),
            count_of(fields, "refused"),
        )
        upload = self._of(entry)
        if upload.ended is not None:
            message = f"the upload ended with entry {upload.ended} already"
            self._context.find(Kind.UPLOAD_AFTER_END, message, member=member)
            return
        upload.ended = entry.index
        self._members.of(member).uploads_ended += 1
        counted = (upload.last, upload.rows, upload.refused)
        if said != counted:
            message = (
                f"{_told(*said)} by the end of the upload, {_told(*counted)} by its parts' entries"
            )
            self._context.find(Kind.UPLOAD_MISCOUNTED, message, member=member)

    def _of(self, entry: Entry) -> _Upload:
        named = bytes.fromhex(hex_of(entry.fields, "upload", UPLOAD_ID_BYTES))
        return self._uploads.setdefault((entry.actor.name, named), _Upload())


def _positive(fields: Fields, name: str) -> int:
    value = count_of(fields, name)
    if not value:
        raise Malformed(f"{name}: counted from 1")
    return value


def _told(parts: int, rows: int, refused: int) -> str:
    return f"{parts} parts with {rows} rows taken and {refused} refused"
