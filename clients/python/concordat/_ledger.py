"""What a client knows of the ledger, and the checks of receipts and proofs.

A client remembers the newest checkpoint that it has verified. Every other one must agree with it:
the same root for the same size at once, and a consistency proof (RFC 9162, 2.1.4) whenever
`checkpoint` or `verify_receipt` is called.
"""

import threading
from collections.abc import Collection, Mapping, Sequence

from concordat.errors import LedgerForked, ReceiptInvalid
from concordat.results import Receipt, SignedCheckpoint
from concordat.v1 import common_pb2
from concordat_privacy.log import leaf
from concordat_privacy.log.checkpoint import VerifierKey, open_note
from concordat_privacy.log.errors import LogError
from concordat_privacy.log.merkle import EMPTY_ROOT, leaf_hash, verify_consistency, verify_inclusion


class LedgerView:
    """The newest verified checkpoint of one client. Safe to use from several threads."""

    def __init__(self, key: VerifierKey, spiffe_id: str, known: str | None = None) -> None:
        """`known`: a signed checkpoint kept from an earlier client. Raises ReceiptInvalid."""
        self._key = key
        self._spiffe_id = spiffe_id
        self._lock = threading.Lock()
        self._seen = None if known is None else self.open(known)

    @property
    def seen(self) -> SignedCheckpoint | None:
        """The newest checkpoint that this client has verified; None before the first."""
        with self._lock:
            return self._seen

    @property
    def origin(self) -> str:
        """The ledger's name, as the pinned key has it."""
        return self._key.name

    def open(self, note: str) -> SignedCheckpoint:
        """A checkpoint that the pinned key has signed. Raises ReceiptInvalid."""
        try:
            return SignedCheckpoint(open_note(note, [self._key]), note)
        except LogError as error:
            raise ReceiptInvalid(f"the checkpoint does not verify: {error}") from None

    def check_root(self, offered: SignedCheckpoint) -> None:
        """Raise LedgerForked if a tree of this size was seen with another root.

        The first checkpoint ever offered becomes the one that all others must agree with.
        """
        with self._lock:
            seen = self._seen
            if seen is None:
                self._seen = offered
                return
        if seen.checkpoint.size == offered.checkpoint.size:
            check_consistency(seen, offered, ())

    def adopt(self, expected: SignedCheckpoint, newer: SignedCheckpoint) -> bool:
        """Remember `newer`, shown to extend `expected`, if `expected` is still the newest seen.

        If another thread moved on meanwhile, the proof starts from the wrong place and a fork
        between the two could go unseen: False, prove again.
        """
        with self._lock:
            if self._seen is not expected:
                return False
            self._seen = newer
            return True

    def receipt(
        self,
        receipt: common_pb2.Receipt,
        types: Collection[str],
        recorded: Mapping[str, leaf.Json] | None = None,
    ) -> Receipt:
        """A reply's receipt after all checks that need no further request.

        The checkpoint is signed by the pinned key and large enough to hold the entry; the entry
        is canonical, of one of the `types`, names the caller, and says of this call what
        `recorded` says; its request id tells it from the receipt of any other call. Raises
        ReceiptInvalid, LedgerForked.
        """
        checked = Receipt(receipt.entry_index, receipt.entry, receipt.checkpoint)
        self.check_receipt(checked)
        fields = checked.fields
        if fields["type"] not in types:
            raise ReceiptInvalid(
                f"entry {checked.entry_index} records {fields['type']!r}, not {', '.join(types)}"
            )
        if fields.get("actor") != self._spiffe_id:
            raise ReceiptInvalid(
                f"entry {checked.entry_index} names {fields.get('actor')!r} as its actor, not "
                f"{self._spiffe_id!r}"
            )
        for name, value in (recorded or {}).items():
            if fields.get(name) != value:
                raise ReceiptInvalid(
                    f"entry {checked.entry_index} is not this call's: it records "
                    f"{name} {fields.get(name)!r}, not {value!r}"
                )
        return checked

    def check_receipt(self, receipt: Receipt) -> SignedCheckpoint:
        """The receipt's checkpoint, verified and with room for the entry. Raises as `receipt`."""
        signed = self.open(receipt.checkpoint)
        if receipt.entry_index >= signed.checkpoint.size:
            raise ReceiptInvalid(
                f"entry {receipt.entry_index} is beyond the receipt's checkpoint of size "
                f"{signed.checkpoint.size}"
            )
        self.check_root(signed)
        return signed


def check_consistency(old: SignedCheckpoint, new: SignedCheckpoint, proof: Sequence[bytes]) -> None:
    """Raise LedgerForked unless the proof shows that `new` extends `old`."""
    before, after = old.checkpoint, new.checkpoint
    if before.size == 0 and before.root == EMPTY_ROOT and (after.size or after.root == EMPTY_ROOT):
        return  # every tree extends the empty one; RFC 9162 has no proof for that
    try:
        verify_consistency(before.size, after.size, before.root, after.root, proof)
    except LogError as error:
        raise LedgerForked(
            f"the ledger's tree of size {after.size} does not extend the one of size "
            f"{before.size}: {error}; keep both checkpoints as evidence",
            seen=old.note,
            offered=new.note,
        ) from None


def check_inclusion(receipt: Receipt, proof: Sequence[bytes], signed: SignedCheckpoint) -> None:
    """Raise ReceiptInvalid unless the receipt's entry is in the checkpoint's tree."""
    tree = signed.checkpoint
    try:
        verify_inclusion(leaf_hash(receipt.entry), receipt.entry_index, tree.size, proof, tree.root)
    except LogError as error:
        raise ReceiptInvalid(
            f"the ledger does not hold the receipt's entry at {receipt.entry_index}: {error}"
        ) from None
