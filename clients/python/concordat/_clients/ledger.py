"""The ledger: checkpoints, proofs, cosignatures, its entries."""

from collections.abc import AsyncIterator, Iterator

from concordat._clients.base import AwaitingMethods, BlockingMethods
from concordat._methods import EXPORT_ENTRIES
from concordat._operations import ledger
from concordat._steps import Flow
from concordat.results import (
    LedgerEntry,
    LedgerTimestamp,
    Receipt,
    SignedCheckpoint,
    VerifiedReceipt,
)
from concordat_privacy.log.proof import TlogProof


class LedgerMethods(BlockingMethods):
    """Methods of `Client`."""

    def checkpoint(self, *, timeout: float | None = None) -> SignedCheckpoint:
        """The ledger's newest checkpoint, shown to extend every one this client has verified.

        Raises:
            LedgerForked: it does not. The error holds both signed checkpoints as evidence.
            ReceiptInvalid: it is not signed by the pinned key.
        """
        return self._runner.run("checkpoint", ledger.checkpoint(self._context, timeout))

    def verify_receipt(self, receipt: Receipt, *, timeout: float | None = None) -> VerifiedReceipt:
        """Show that a receipt's entry is in the ledger today.

        Checks the receipt's signature, that the newest checkpoint extends the receipt's and the
        last one seen, and the entry's inclusion in it. Raises LedgerForked, ReceiptInvalid.
        """
        return self._runner.run(
            "verify_receipt", ledger.verify_receipt(self._context, receipt, timeout)
        )

    def cosigned_checkpoint(self, *, timeout: float | None = None) -> SignedCheckpoint:
        """The newest checkpoint that as many witnesses cosigned as the gateway wants.

        Its note carries the cosignatures; check them against the witnesses that *you* trust, with
        `concordat_privacy.log.cosignature.Quorum`. Raises NotFound where there is none yet,
        LedgerForked, ReceiptInvalid.
        """
        return self._runner.run(
            "cosigned_checkpoint", ledger.cosigned_checkpoint(self._context, timeout)
        )

    def add_cosignature(
        self, size: int, cosignature: str, *, timeout: float | None = None
    ) -> tuple[int, int]:
        """Bring a witness's cosignature of the checkpoint of `size` entries to the gateway.

        Returns how many witnesses have cosigned it, and how many are wanted. Raises NotFound
        (WITNESS_UNKNOWN), InvalidInput.
        """
        return self._runner.run(
            "add_cosignature",
            ledger.add_cosignature(self._context, size, cosignature, timeout),
        )

    def prove(self, receipt: Receipt, *, timeout: float | None = None) -> TlogProof:
        """A receipt's entry as a C2SP tlog-proof, which verifies offline with the ledger's key.

        Its checkpoint carries the cosignatures that there are. Raises as `verify_receipt`.
        """
        return self._runner.run("prove", ledger.prove(self._context, receipt, timeout))

    def checkpoint_to_cosign(self, *, timeout: float | None = None) -> SignedCheckpoint:
        """The checkpoint that the gateway asks its witnesses to cosign now.

        Shown to agree with every one this client has verified; it may be older than the newest,
        so that all witnesses cosign the same. Raises as `checkpoint`.
        """
        return self._runner.run(
            "checkpoint_to_cosign", ledger.checkpoint_to_cosign(self._context, timeout)
        )

    def consistency_proof(
        self, old_size: int, new_size: int, *, timeout: float | None = None
    ) -> tuple[bytes, ...]:
        """The gateway's proof (RFC 9162, 2.1.4) that one of its trees extends another.

        Not verified here: `concordat_privacy.log.merkle.verify_consistency` does, with both roots.
        Raises InvalidInput for sizes that the ledger does not have.
        """
        return self._runner.run(
            "consistency_proof",
            ledger.consistency_proof(self._context, old_size, new_size, timeout),
        )

    def prove_entry(self, index: int, *, timeout: float | None = None) -> TlogProof:
        """As `prove`, for an entry that is known by its index alone.

        The proof is not verified here, since that takes the entry: `TlogProof.verify` does. Raises
        InvalidInput for an entry beyond the ledger.
        """
        return self._runner.run("prove_entry", ledger.prove_entry(self._context, index, timeout))

    def timestamps(
        self, after_size: int = 0, *, timeout: float | None = None
    ) -> tuple[LedgerTimestamp, ...]:
        """Time-stamps of checkpoints of more than `after_size` entries, by ascending size.

        Some at a time: ask again with the last one's size, until there are none. They are not
        verified here, which takes the authority's certificates and the library of the extra
        `timestamps`: `concordat ledger verify --tsa-ca` does.
        """
        return self._runner.run("timestamps", ledger.timestamps(self._context, after_size, timeout))

    def export_entries(
        self,
        start_index: int = 0,
        *,
        case: str = "",
        cosigned: bool = False,
        timeout: float | None = None,
    ) -> Iterator[LedgerEntry]:
        """The ledger's entries from an index on. Auditors and operators only.

        Who reads them, and for which `case` (a reference of your own), is recorded in the ledger
        before they come, in an entry that the next export holds. Every entry carries the export's
        checkpoint. When the last one has been read, the export is checked to be whole and, if it
        began at 0, to have the signed root.

        Args:
            cosigned: end where `cosigned_checkpoint` does, and carry that one, instead of the
                newest.

        Raises:
            ReceiptInvalid: it does not. What was read before is then not trustworthy.
        """
        request, reader = ledger.export(self._context, start_index, case, cosigned)
        seconds = self._context.timeout_seconds(Flow.DOWNLOAD, timeout)
        return self._runner.download("export_entries", EXPORT_ENTRIES, request, seconds, reader)


class AwaitingLedgerMethods(AwaitingMethods):
    """Methods of `AsyncClient`."""

    async def checkpoint(self, *, timeout: float | None = None) -> SignedCheckpoint:
        """See `Client.checkpoint`."""
        return await self._runner.run("checkpoint", ledger.checkpoint(self._context, timeout))

    async def verify_receipt(
        self, receipt: Receipt, *, timeout: float | None = None
    ) -> VerifiedReceipt:
        """See `Client.verify_receipt`."""
        return await self._runner.run(
            "verify_receipt", ledger.verify_receipt(self._context, receipt, timeout)
        )

    async def cosigned_checkpoint(self, *, timeout: float | None = None) -> SignedCheckpoint:
        """See `Client.cosigned_checkpoint`."""
        return await self._runner.run(
            "cosigned_checkpoint", ledger.cosigned_checkpoint(self._context, timeout)
        )

    async def add_cosignature(
        self, size: int, cosignature: str, *, timeout: float | None = None
    ) -> tuple[int, int]:
        """See `Client.add_cosignature`."""
        return await self._runner.run(
            "add_cosignature",
            ledger.add_cosignature(self._context, size, cosignature, timeout),
        )

    async def prove(self, receipt: Receipt, *, timeout: float | None = None) -> TlogProof:
        """See `Client.prove`."""
        return await self._runner.run("prove", ledger.prove(self._context, receipt, timeout))

    async def checkpoint_to_cosign(self, *, timeout: float | None = None) -> SignedCheckpoint:
        """See `Client.checkpoint_to_cosign`."""
        return await self._runner.run(
            "checkpoint_to_cosign", ledger.checkpoint_to_cosign(self._context, timeout)
        )

    async def consistency_proof(
        self, old_size: int, new_size: int, *, timeout: float | None = None
    ) -> tuple[bytes, ...]:
        """See `Client.consistency_proof`."""
        return await self._runner.run(
            "consistency_proof",
            ledger.consistency_proof(self._context, old_size, new_size, timeout),
        )

    async def prove_entry(self, index: int, *, timeout: float | None = None) -> TlogProof:
        """See `Client.prove_entry`."""
        return await self._runner.run(
            "prove_entry", ledger.prove_entry(self._context, index, timeout)
        )

    async def timestamps(
        self, after_size: int = 0, *, timeout: float | None = None
    ) -> tuple[LedgerTimestamp, ...]:
        """See `Client.timestamps`."""
        return await self._runner.run(
            "timestamps", ledger.timestamps(self._context, after_size, timeout)
        )

    def export_entries(
        self,
        start_index: int = 0,
        *,
        case: str = "",
        cosigned: bool = False,
        timeout: float | None = None,
    ) -> AsyncIterator[LedgerEntry]:
        """See `Client.export_entries`."""
        request, reader = ledger.export(self._context, start_index, case, cosigned)
        seconds = self._context.timeout_seconds(Flow.DOWNLOAD, timeout)
        return self._runner.download("export_entries", EXPORT_ENTRIES, request, seconds, reader)
