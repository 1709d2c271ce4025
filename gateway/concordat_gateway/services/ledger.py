"""LedgerService: checkpoints, proofs and the export of entries."""

from collections.abc import Iterator

import grpc

from concordat.v1 import ledger_pb2, ledger_pb2_grpc
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules import timestamps, witnesses
from concordat_gateway.rules.staff import Viewed, check_case, record_view
from concordat_gateway.services._translate import seconds_left
from concordat_privacy.log.checkpoint import parse_checkpoint
from concordat_privacy.log.cosignature import Quorum
from concordat_privacy.log.signed_note import parse_note
from concordat_rpc import call
from concordat_rpc.errors import out_of_range

PAGE_BYTES = 512 * 1024
"""Entries after which a message of an export is sent; one entry can be larger than that."""
PAGE_ENTRIES = 1_000


class LedgerServicer(ledger_pb2_grpc.LedgerServiceServicer):
    """Serves the ledger to whoever may read it."""

    def __init__(self, journal: Journal, quorum: Quorum) -> None:
        self._journal = journal
        self._quorum = quorum

    def GetCheckpoint(
        self, request: ledger_pb2.GetCheckpointRequest, _context: grpc.ServicerContext
    ) -> ledger_pb2.GetCheckpointResponse:
        if request.to_cosign:
            checkpoint = witnesses.to_cosign(self._journal, self._quorum)
        else:
            checkpoint = self._journal.checkpoint()
        return ledger_pb2.GetCheckpointResponse(checkpoint=checkpoint)

    def GetInclusionProof(
        self, request: ledger_pb2.GetInclusionProofRequest, _context: grpc.ServicerContext
    ) -> ledger_pb2.GetInclusionProofResponse:
        hashes = self._journal.inclusion_proof(request.entry_index, request.tree_size)
        return ledger_pb2.GetInclusionProofResponse(hashes=hashes)

    def GetConsistencyProof(
        self, request: ledger_pb2.GetConsistencyProofRequest, _context: grpc.ServicerContext
    ) -> ledger_pb2.GetConsistencyProofResponse:
        hashes = self._journal.consistency_proof(request.old_size, request.new_size)
        return ledger_pb2.GetConsistencyProofResponse(hashes=hashes)

    def AddCosignature(
        self, request: ledger_pb2.AddCosignatureRequest, _context: grpc.ServicerContext
    ) -> ledger_pb2.AddCosignatureResponse:
        found = witnesses.add(
            self._journal, self._quorum, request.tree_size, request.cosignature, seconds_left()
        )
        return ledger_pb2.AddCosignatureResponse(cosignatures=found, quorum=self._quorum.needed)

    def GetCosignedCheckpoint(
        self, _request: ledger_pb2.GetCosignedCheckpointRequest, _context: grpc.ServicerContext
    ) -> ledger_pb2.GetCosignedCheckpointResponse:
        note = witnesses.newest(self._journal, self._quorum)
        return ledger_pb2.GetCosignedCheckpointResponse(checkpoint=note)

    def ListTimestamps(
        self, request: ledger_pb2.ListTimestampsRequest, _context: grpc.ServicerContext
    ) -> ledger_pb2.ListTimestampsResponse:
        found = timestamps.after(self._journal, request.after_tree_size)
        return ledger_pb2.ListTimestampsResponse(
            timestamps=(
                ledger_pb2.LedgerTimestamp(tree_size=size, response=response)
                for size, response in found
            )
        )

    def ExportEntries(
        self, request: ledger_pb2.ExportEntriesRequest, _context: grpc.ServicerContext
    ) -> Iterator[ledger_pb2.ExportEntriesResponse]:
        # The first message fixes the tree; entries appended meanwhile are not part of the export.
        if request.cosigned:
            checkpoint = witnesses.newest(self._journal, self._quorum)
        else:
            checkpoint = self._journal.checkpoint()
        size = parse_checkpoint(parse_note(checkpoint).text).size
        if request.start_index > size:
            raise out_of_range("start_index", f"the exported tree has {size} entries")
        check_case(request.case)
        # Its own entry comes after the tree that is exported, and is part of the next export.
        if request.start_index < size:
            viewed = Viewed("ledger.export", case=request.case, first=request.start_index, end=size)
            record_view(self._journal, call.current().peer, viewed, seconds_left())
        checkpoint = witnesses.with_known_cosignatures(self._journal, checkpoint, size)
        message = ledger_pb2.ExportEntriesResponse(checkpoint=checkpoint)
        message_bytes = 0
        for index, leaf, items in self._journal.entries(request.start_index, size):
            message.entries.add(entry_index=index, entry=leaf, items=items)
            message_bytes += len(leaf) + sum(map(len, items))
            if message_bytes >= PAGE_BYTES or len(message.entries) >= PAGE_ENTRIES:
                yield message
                message, message_bytes = ledger_pb2.ExportEntriesResponse(), 0
        if message.entries or message.checkpoint:
            yield message
