"""An operator who has the ledger's key writes entries in another order and signs the tree anew.

Out of time, the entries give it away by themselves. With their times exchanged too they do not:
then it is what others kept, an older checkpoint or a witness's memory, that refuses.
"""

import base64
from pathlib import Path
from typing import Any

import pytest

from concordat_privacy.evidence.bundle import BundleError, make_bundle
from concordat_privacy.evidence.selection import select
from concordat_privacy.log.checkpoint import parse_note
from concordat_privacy.log.cosignature import Quorum, WitnessSigningKey
from concordat_privacy.log.merkle import Tree
from concordat_privacy.log.report import ProblemKind
from concordat_privacy.log.verify import verify_export
from concordat_privacy.log.witnessing import AddCheckpoint, Seen, Status, WitnessRefusal, judge
from concordat_privacy.verifier import verify
from tests.evidences import FIRST, KEY, LOOKUP, SIZE, VKEY, WITHDRAWN, Ledger, relisted

WITNESS = WitnessSigningKey("witness.example/w1", bytes([7] * 32))
LATE = WITHDRAWN + 2
"""Where the withdrawal is put instead, after a use that it forbids."""


def reordered(*, exchange_times: bool) -> Ledger:
    """The withdrawal, moved behind two later entries."""
    ledger = Ledger()
    moved: dict[str, Any] = ledger.entries.pop(WITHDRAWN)
    if not exchange_times:
        # A ledger's times are those of their places, unless told otherwise.
        moved = {**moved, "time": f"2026-03-02T00:{WITHDRAWN - 1:02}:30.000000Z"}
    ledger.entries.insert(LATE, moved)
    ledger.items[WITHDRAWN] = ledger.items.pop(WITHDRAWN + 1)
    return ledger


def check(files: dict[str, bytes]) -> verify.Story:
    return verify.check_bundle(files, verify.read_key(VKEY, 1), [], 0)


def test_entries_out_of_time_are_named_in_an_export_signed_anew(tmp_path: Path) -> None:
    reordered(exchange_times=False).write(tmp_path / "export")
    report = verify_export(tmp_path / "export", KEY.verifier)
    assert [(p.kind, p.entry) for p in report.problems] == [(ProblemKind.ORDER, LATE)]


def test_entries_out_of_time_are_named_in_a_bundle_signed_anew(tmp_path: Path) -> None:
    ledger = reordered(exchange_times=False)
    with pytest.raises(BundleError, match=f"entry {LATE}: its time lies before"):
        ledger.bundle(tmp_path / "made", old=SIZE)
    # Made by a program of the operator's own, without our maker's last look.
    files = reordered(exchange_times=True).bundle(tmp_path / "forged", old=SIZE)
    assert b"consent.withdrawn" in files[f"entries/{LATE}.json"]
    sound = ledger.leaves()
    tree, note = Tree.of(sound), ledger.note()
    before = files["checkpoint"]
    for name in [name for name in files if name.endswith(".tlog-proof")]:
        index = int(name.split("/")[1].split(".")[0])
        files[f"entries/{index}.json"] = sound[index]
        head, _, _ = files[name].partition(before)
        assert head
        proof = lines(tree.inclusion_proof(index))
        files[name] = f"c2sp.org/tlog-proof@v1\nindex {index}\n{proof}\n{note}".encode()
    for name in ("checkpoint", "checkpoint.old"):
        files[name] = note.encode()
    files["consistency"] = f"old {SIZE}\n\n{note}".encode()
    assert check(relisted(files)).faults == [
        f"entry {LATE}: its time lies before that of an earlier entry"
    ]


def lines(hashes: list[bytes]) -> str:
    return "".join(f"{base64.b64encode(digest).decode()}\n" for digest in hashes)


def test_with_the_times_exchanged_only_what_others_kept_refuses(tmp_path: Path) -> None:
    true, forged = Ledger(), reordered(exchange_times=True)
    kept = true.note(LATE + 1)
    # By itself the forged history is a sound one: this is what no export can show.
    export = forged.write(tmp_path / "export")
    assert verify_export(tmp_path / "export", KEY.verifier).ok
    assert check(forged.bundle(tmp_path / "whole", old=SIZE, entries=[LOOKUP])).faults == []

    # A checkpoint that anybody kept from before the forgery.
    with pytest.raises(BundleError, match=f"older checkpoint of size {LATE + 1}: .* rewritten"):
        make_bundle(export, select(export, consents=[FIRST]), KEY.verifier, kept)
    bundle = forged.bundle(tmp_path / "again", old=LATE + 1, consents=[FIRST])
    bundle["checkpoint.old"] = kept.encode()
    [fault] = check(relisted(bundle)).faults
    assert fault.startswith("consistency: the consistency proof does not lead to the root")


@pytest.mark.parametrize("size", [LATE + 1, SIZE - 1])
def test_a_witness_that_saw_the_true_order_refuses_the_other(size: int) -> None:
    true, forged = Ledger(), reordered(exchange_times=True)
    seen = {KEY.name: Seen(size, Tree.of(true.leaves()[:size]).root, true.note(size))}
    proof = tuple(Tree.of(forged.leaves()).consistency_proof(size))
    with pytest.raises(WitnessRefusal) as refused:
        judge(AddCheckpoint(size, proof, forged.note()), {KEY.name: KEY.verifier}, seen)
    assert refused.value.status == Status.NOT_CONSISTENT
    # Nor does what it cosigned before stand under the new tree.
    note, other = true.note(), forged.note()
    line = WITNESS.cosign(parse_note(note).text, 1_772_000_000)
    quorum = Quorum((WITNESS.verifier,), 1)
    assert quorum.check(note + line)
    with pytest.raises(ValueError, match="does not verify"):
        quorum.check(other + line)


def test_before_the_place_of_the_change_both_histories_are_one() -> None:
    true, forged = Ledger(), reordered(exchange_times=True)
    assert true.note(WITHDRAWN) == forged.note(WITHDRAWN)
    assert true.note(WITHDRAWN + 1) != forged.note(WITHDRAWN + 1)
