"""The ledger as its readers see it: checkpoints, proofs, exports."""

import hashlib
import json
import os

import grpc
import pytest

from concordat.v1 import common_pb2, ledger_pb2, signal_pb2
from concordat_privacy.log.checkpoint import Checkpoint, SigningKey, open_note
from concordat_privacy.log.merkle import merkle_root, verify_consistency, verify_inclusion
from tests.services import CALL_SECONDS, Caller, Consortium, draft, fields_of, grant, token


def checkpoint(caller: Caller, key: SigningKey) -> Checkpoint:
    response = caller.ledger.GetCheckpoint(ledger_pb2.GetCheckpointRequest(), timeout=CALL_SECONDS)
    return open_note(response.checkpoint, [key.verifier])


def export(
    caller: Caller, start_index: int = 0, case: str = ""
) -> list[ledger_pb2.ExportEntriesResponse]:
    request = ledger_pb2.ExportEntriesRequest(start_index=start_index, case=case)
    return list(caller.ledger.ExportEntries(request, timeout=CALL_SECONDS))


def test_an_export_hashes_to_the_checkpoint_it_begins_with(
    consortium: Consortium, ledger_key: SigningKey
) -> None:
    grant(consortium.alpha, [draft(consortium, subject) for subject in range(30)])
    messages = export(consortium.auditor)

    tree = open_note(messages[0].checkpoint, [ledger_key.verifier])
    assert [m.checkpoint for m in messages[1:]] == [""] * (len(messages) - 1)
    entries = [entry for message in messages for entry in message.entries]
    assert [entry.entry_index for entry in entries] == list(range(tree.size))
    assert merkle_root(entry.entry for entry in entries) == tree.root


def test_a_large_export_comes_in_messages_of_bounded_size(consortium: Consortium) -> None:
    grant(consortium.alpha, [draft(consortium, subject) for subject in range(1000)])
    for _ in range(3):
        request = signal_pb2.BatchLookupRequest(
            tokens=b"".join(map(token, range(1000))),
            purpose=common_pb2.PURPOSE_UNDERWRITING,
            request_id=os.urandom(16),
        )
        consortium.alpha.signals.BatchLookup(request, timeout=CALL_SECONDS)
    messages = export(consortium.auditor)

    assert len(messages) > 1
    assert max(message.ByteSize() for message in messages) < 2 * 1024 * 1024
    entries = [entry for message in messages for entry in message.entries]
    # All but the one that says who reads them.
    assert len(entries) == consortium.journal.size - 1
    assert [len(entry.items) for entry in entries[-3:]] == [1000, 1000, 1000]


def test_an_export_can_begin_anywhere_up_to_the_end(
    consortium: Consortium, ledger_key: SigningKey
) -> None:
    grant(consortium.alpha, [draft(consortium, subject) for subject in range(5)])
    size = checkpoint(consortium.auditor, ledger_key).size

    [nothing_more] = export(consortium.auditor, size)
    assert nothing_more.checkpoint
    assert not nothing_more.entries
    tail = [entry.entry_index for m in export(consortium.auditor, size - 2) for entry in m.entries]
    assert tail == [size - 2, size - 1]
    for beyond in (size + 2, 2**64 - 1):
        with pytest.raises(grpc.RpcError) as refusal:
            export(consortium.auditor, beyond)
        assert refusal.value.code() is grpc.StatusCode.OUT_OF_RANGE
        assert fields_of(refusal.value) == ["start_index"]


def test_an_export_is_of_one_tree_whatever_is_appended_meanwhile(
    consortium: Consortium, ledger_key: SigningKey
) -> None:
    grant(consortium.alpha, [draft(consortium, subject) for subject in range(1000)])
    grant(consortium.alpha, [draft(consortium, subject) for subject in range(1000)])
    stream = consortium.auditor.ledger.ExportEntries(
        ledger_pb2.ExportEntriesRequest(), timeout=CALL_SECONDS
    )
    first = next(stream)
    grant(consortium.beta, [draft(consortium, 1)])
    count = len(first.entries) + sum(len(message.entries) for message in stream)
    tree = open_note(first.checkpoint, [ledger_key.verifier])
    assert count == tree.size < consortium.journal.size


def test_who_exports_is_recorded_before_anything_is_sent(consortium: Consortium) -> None:
    grant(consortium.alpha, [draft(consortium, subject) for subject in range(1000)])
    size = consortium.journal.size
    stream = consortium.auditor.ledger.ExportEntries(
        ledger_pb2.ExportEntriesRequest(start_index=3, case="2026/17"), timeout=CALL_SECONDS
    )
    next(stream)
    stream.cancel()
    [(index, entry, _)] = consortium.journal.entries(size, size + 9)
    fields = json.loads(entry)
    del fields["time"]
    assert fields == {
        "actor": "spiffe://concordat.test/auditor/auditor",
        "case": "2026/17",
        "from": 3,
        "to": size,
        "type": "staff.viewed",
        "v": 1,
        "view": "ledger.export",
    }
    # The next one holds it, and is a view of its own.
    [message] = export(consortium.operator, index)
    assert [exported.entry for exported in message.entries] == [entry]
    [(_, next_entry, _)] = consortium.journal.entries(index + 1, index + 9)
    fields = json.loads(next_entry)
    assert (fields["from"], fields["to"]) == (index, index + 1)
    assert fields["actor"] == "spiffe://concordat.test/operator/operator"
    assert "case" not in fields


def test_checkpoints_proofs_and_exports_of_nothing_are_no_views(
    consortium: Consortium, ledger_key: SigningKey
) -> None:
    grant(consortium.alpha, [draft(consortium, subject) for subject in range(3)])
    size = checkpoint(consortium.auditor, ledger_key).size
    inclusion = ledger_pb2.GetInclusionProofRequest(entry_index=0, tree_size=size)
    consortium.auditor.ledger.GetInclusionProof(inclusion, timeout=CALL_SECONDS)
    consistency = ledger_pb2.GetConsistencyProofRequest(old_size=1, new_size=size)
    consortium.operator.ledger.GetConsistencyProof(consistency, timeout=CALL_SECONDS)
    export(consortium.auditor, size)
    assert consortium.journal.size == size


def test_a_case_that_cannot_stand_in_the_ledger_is_refused(consortium: Consortium) -> None:
    grant(consortium.alpha, [draft(consortium, 1)])
    size = consortium.journal.size
    for case in ("two\nlines", "x" * 201, "e\u0301"):
        with pytest.raises(grpc.RpcError) as refusal:
            export(consortium.auditor, case=case)
        assert fields_of(refusal.value) == ["case"]
    assert consortium.journal.size == size


def test_a_member_cannot_export(consortium: Consortium) -> None:
    with pytest.raises(grpc.RpcError) as refusal:
        export(consortium.alpha)
    assert refusal.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_entries_are_proved_in_every_larger_tree(
    consortium: Consortium, ledger_key: SigningKey
) -> None:
    trees = []
    for count in (1, 3, 8):
        grant(consortium.alpha, [draft(consortium, subject) for subject in range(count)])
        trees.append(checkpoint(consortium.beta, ledger_key))
    leaves = [
        hashlib.sha256(b"\0" + leaf).digest()
        for _, leaf, _ in consortium.journal.entries(0, consortium.journal.size)
    ]
    for tree in trees:
        for index in range(tree.size):
            proof = consortium.beta.ledger.GetInclusionProof(
                ledger_pb2.GetInclusionProofRequest(entry_index=index, tree_size=tree.size),
                timeout=CALL_SECONDS,
            )
            verify_inclusion(leaves[index], index, tree.size, proof.hashes, tree.root)


def test_a_newer_tree_is_proved_to_extend_an_older_one(
    consortium: Consortium, ledger_key: SigningKey
) -> None:
    grant(consortium.alpha, [draft(consortium, subject) for subject in range(3)])
    old = checkpoint(consortium.beta, ledger_key)
    grant(consortium.alpha, [draft(consortium, subject) for subject in range(6)])
    new = checkpoint(consortium.beta, ledger_key)
    proof = consortium.beta.ledger.GetConsistencyProof(
        ledger_pb2.GetConsistencyProofRequest(old_size=old.size, new_size=new.size),
        timeout=CALL_SECONDS,
    )
    verify_consistency(old.size, new.size, old.root, new.root, proof.hashes)


def test_a_proof_of_what_is_not_there_is_refused(consortium: Consortium) -> None:
    grant(consortium.alpha, [draft(consortium, subject) for subject in range(3)])
    assert consortium.journal.size == 3
    out_of_range, invalid = grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.INVALID_ARGUMENT
    for method, fields, status in (
        ("Inclusion", {"entry_index": 2, "tree_size": 2}, out_of_range),
        ("Inclusion", {"entry_index": 0, "tree_size": 4}, out_of_range),
        ("Inclusion", {"entry_index": 0, "tree_size": 0}, out_of_range),
        ("Inclusion", {"entry_index": 2**64 - 1, "tree_size": 3}, out_of_range),
        ("Inclusion", {"entry_index": 0, "tree_size": 2**64 - 1}, out_of_range),
        ("Consistency", {"old_size": 0, "new_size": 3}, invalid),
        ("Consistency", {"old_size": 3, "new_size": 2}, invalid),
        ("Consistency", {"old_size": 1, "new_size": 4}, out_of_range),
    ):
        request = getattr(ledger_pb2, f"Get{method}ProofRequest")(**fields)
        with pytest.raises(grpc.RpcError) as refusal:
            getattr(consortium.alpha.ledger, f"Get{method}Proof")(request, timeout=CALL_SECONDS)
        assert refusal.value.code() is status, (method, fields)
