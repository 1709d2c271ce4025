"""Anchors: what the stores of subjects' keys remember of the ledger.

A control store that was restored from a backup would bring erased subjects back, and say nothing
of the entries that are missing. So the other stores remember the largest ledger that they have
seen, and nothing is served from a control store that is behind it, or beside it.
"""

from concordat_gateway.ledger.journal import Journal
from concordat_gateway.store.subject_keys import Anchor, KeyStore, SubjectKeys
from concordat_privacy.log.checkpoint import parse_checkpoint
from concordat_privacy.log.merkle import ProofError, verify_consistency
from concordat_privacy.log.signed_note import parse_note
from concordat_store.engines import StoreError


def check_anchors(journal: Journal, keys: SubjectKeys) -> None:
    """Raises StoreError where control is not at, or ahead of, what the other stores have seen."""
    for name, store in _stores(keys):
        anchor = store.anchor()
        if anchor is not None:
            _check(journal, anchor, name)


def set_anchors(journal: Journal, keys: SubjectKeys) -> None:
    """Have the stores of keys remember the ledger as it is now. Raises Refusal UNAVAILABLE."""
    now = _now(journal)
    for _, store in _stores(keys):
        known = store.anchor()
        if known is None or known.size < now.size:
            store.set_anchor(now)


def _stores(keys: SubjectKeys) -> tuple[tuple[str, KeyStore], ...]:
    return ("live-key", keys.live), ("evidence", keys.evidence)


def _now(journal: Journal) -> Anchor:
    checkpoint = parse_checkpoint(parse_note(journal.checkpoint()).text)
    return Anchor(checkpoint.origin, checkpoint.size, checkpoint.root)


def _check(journal: Journal, anchor: Anchor, name: str) -> None:
    now = _now(journal)
    if anchor.origin != now.origin:
        raise StoreError(
            f"the {name} store belongs to the ledger {anchor.origin}, the control store to "
            f"{now.origin}: one of the two URLs is wrong"
        )
    if now.size < anchor.size:
        raise StoreError(
            f"the control store is behind: its ledger has {now.size} entries, and the {name} store "
            f"has seen {anchor.size}. It was restored from an older backup. Serving it would bring "
            "erased subjects back and lose entries that members hold receipts for: restore the "
            "newest one (docs/erasure.md, Restoring backups)"
        )
    if not _extends(journal, anchor, now):
        raise StoreError(
            f"the control store's ledger is another one than the {name} store has seen at "
            f"{anchor.size} entries: its history was replaced, or it went on from an older backup. "
            "Nothing is served from it (docs/erasure.md, Restoring backups)"
        )


def _extends(journal: Journal, anchor: Anchor, now: Anchor) -> bool:
    if anchor.size == 0 or anchor.size == now.size:
        return anchor.size == 0 or anchor.root == now.root
    proof = journal.consistency_proof(anchor.size, now.size)
    try:
        verify_consistency(anchor.size, now.size, anchor.root, now.root, proof)
    except ProofError:
        return False
    return True
