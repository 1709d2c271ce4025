"""Reads an export of the ledger and checks it as it arrives."""

from concordat._ledger import LedgerView
from concordat.errors import ProtocolViolation, ReceiptInvalid
from concordat.results import LedgerEntry, SignedCheckpoint
from concordat.v1 import ledger_pb2
from concordat_privacy.log import leaf
from concordat_privacy.log.errors import LogError
from concordat_privacy.log.merkle import Frontier, leaf_hash


class ExportReader:
    """The entries of one export, in the order of its messages."""

    def __init__(self, view: LedgerView, start_index: int) -> None:
        self._view = view
        self._start = start_index
        self._next = start_index
        self._signed: SignedCheckpoint | None = None
        self._frontier = Frontier()

    def accept(self, message: ledger_pb2.ExportEntriesResponse) -> list[LedgerEntry]:
        """The message's entries. Raises ReceiptInvalid, LedgerForked, ProtocolViolation."""
        signed = self._open(message)
        entries = [
            self._entry(position, exported, signed)
            for position, exported in enumerate(message.entries, start=self._next)
        ]
        self._next += len(entries)
        if self._start == 0:
            hashes = (leaf_hash(entry.entry) for entry in entries)
            self._frontier, _ = self._frontier.extend(hashes)
        return entries

    def finish(self) -> None:
        """Check that the export is whole and, from entry 0, that its root is the signed one."""
        if self._signed is None:
            raise ProtocolViolation("the export ended before its checkpoint")
        tree = self._signed.checkpoint
        if self._next < tree.size:
            raise ProtocolViolation(f"the export ended at entry {self._next} of {tree.size}")
        if self._start == 0 and self._frontier.root != tree.root:
            raise ReceiptInvalid(
                f"the exported entries do not have the signed root of size {tree.size}"
            )

    def _open(self, message: ledger_pb2.ExportEntriesResponse) -> SignedCheckpoint:
        if self._signed is None:
            self._signed = self._view.open(message.checkpoint)
            self._view.check_root(self._signed)
        return self._signed

    def _entry(
        self, position: int, exported: ledger_pb2.ExportedEntry, signed: SignedCheckpoint
    ) -> LedgerEntry:
        size = signed.checkpoint.size
        if exported.entry_index != position or position >= size:
            raise ProtocolViolation(
                f"entry {exported.entry_index} came where {position} was due in a tree of {size}"
            )
        try:
            leaf.check(exported.entry)
        except LogError as error:
            raise ReceiptInvalid(f"entry {position} is malformed: {error}") from None
        return LedgerEntry(position, exported.entry, tuple(exported.items), signed)
