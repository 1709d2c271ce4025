"""Puts the files of a bundle together: the same selection always gives the same bytes."""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping

from concordat_privacy.evidence.export import ExportFiles, items_tree
from concordat_privacy.evidence.selection import CONSENT_STEPS, Selection, consents_in
from concordat_privacy.log import leaf
from concordat_privacy.log.checkpoint import VerifierKey, open_note
from concordat_privacy.log.errors import LogError
from concordat_privacy.log.leaf import Json
from concordat_privacy.verifier import verify

FORMAT = "concordat/evidence/v1"


class BundleError(LogError):
    """The bundle cannot be made; the text says why."""


def make_bundle(
    export: ExportFiles, selection: Selection, key: VerifierKey, old_note: str | None = None
) -> dict[str, bytes]:
    """The files of a bundle by name.

    `old_note` is an earlier signed checkpoint; without one the export's own stands for it, and
    the bundle shows no growth. `export` must have been verified with `key`.

    Raises BundleError: the older checkpoint is of another history, newer than the export, or not
    signed by the key (CheckpointError).
    """
    old_note = export.note if old_note is None else old_note
    old = open_note(old_note, [key])
    if old.size > export.size:
        raise BundleError(f"the older checkpoint has size {old.size}, the export {export.size}")
    if export.root(old.size) != old.root:
        raise BundleError(
            f"the export does not extend the older checkpoint of size {old.size}: the ledger was "
            "rewritten, or the two are of different ledgers. Keep both."
        )
    note = export.note.encode()
    files = {"checkpoint": note, "checkpoint.old": old_note.encode()}
    proof = _lines(export.consistency_proof(old.size))
    files["consistency"] = f"old {old.size}\n{proof}\n".encode() + note
    for index, data in selection.entries.items():
        files[f"entries/{index}.json"] = data
        proof = _lines(export.inclusion_proof(index))
        head = f"c2sp.org/tlog-proof@v1\nindex {index}\n{proof}\n"
        files[f"entries/{index}.tlog-proof"] = head.encode() + note
    for index, numbers in selection.items.items():
        items = export.items(index)
        tree = items_tree(items)
        for number in numbers:
            files[f"items/{index}/{number}.json"] = items[number]
            proof = _lines(tree.inclusion_proof(number))
            files[f"items/{index}/{number}.proof"] = f"index {number}\n{proof}".encode()
    files["openings.json"] = _json({"openings": _openings(export, selection)})
    return _finished(files, key)


def manifest_of(files: Mapping[str, bytes], ledger: str) -> bytes:
    """manifest.json for these files of the ledger with this origin."""
    listed = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        for name, data in files.items()
        if name != "manifest.json"
    }
    return _json({"bundle": FORMAT, "files": listed, "ledger": ledger})


def _finished(files: dict[str, bytes], key: VerifierKey) -> dict[str, bytes]:
    """With the report, which says what the verifier finds, and the manifest."""
    files["manifest.json"] = manifest_of(files, key.name)
    log_key = verify.read_key(key.encode(), 1)
    story = verify.check_bundle(files, log_key, [], 0, report=False)
    if story.faults:
        raise BundleError(f"the bundle would not verify: {story.faults[0]}")
    files["report.html"] = verify.render_report(story, key.name)
    files["manifest.json"] = manifest_of(files, key.name)
    return files


def _openings(export: ExportFiles, selection: Selection) -> list[dict[str, object]]:
    """The openings in order. Names are one person's where the bundle itself shows it."""
    group = _Groups()
    names = {at: opening.name.hex() for at, opening in selection.openings.items()}
    subjects: dict[str, Json] = {}
    for _, data in sorted(selection.entries.items()):
        fields = leaf.check(data)
        if str(fields["type"]) in CONSENT_STEPS:
            subjects.setdefault(str(fields.get("consent")), fields.get("subject"))
    for (index, item), name in names.items():
        for thing in _tied_to(export, selection, subjects, index, item):
            group.join(name, thing)
    persons: dict[str, int] = {}
    listed: list[dict[str, object]] = []
    for (index, item), opening in sorted(selection.openings.items()):
        leader = group.leader(names[index, item])
        person = persons.setdefault(leader, len(persons) + 1)
        opened: dict[str, object] = {"entry": index, "person": person}
        opened |= {"name": opening.name.hex(), "salt": opening.salt.hex()}
        listed.append(opened if item < 0 else {**opened, "item": item})
    return listed


def _tied_to(
    export: ExportFiles, selection: Selection, subjects: Mapping[str, Json], index: int, item: int
) -> set[str]:
    """What an opened entry or item says is its subject's own: consents, an erasure.

    `subjects`: of each consent, by its first entry. A change that names another ties nobody.
    """
    if item >= 0:
        return consents_in(leaf.parse_item(export.items(index)[item]))
    fields = leaf.check(selection.entries[index])
    kind, consent = str(fields["type"]), fields.get("consent")
    strange = kind in CONSENT_STEPS and fields.get("subject") != subjects[str(consent)]
    chosen = selection.items.get(index)
    lines = export.items(index) if chosen else []
    own = [leaf.parse_item(lines[number]).get("consent") for number in chosen or ()]
    told = [*own, fields.get("erasure"), None if strange else consent]
    return consents_in(fields) | {thing for thing in told if isinstance(thing, str)}


class _Groups:
    """Names that are one person's."""

    def __init__(self) -> None:
        self._leader: dict[str, str] = {}

    def leader(self, name: str) -> str:
        while self._leader.setdefault(name, name) != name:
            name = self._leader[name]
        return name

    def join(self, one: str, other: str) -> None:
        self._leader[self.leader(one)] = self.leader(other)


def _lines(hashes: Iterable[bytes]) -> str:
    return "".join(f"{base64.b64encode(digest).decode()}\n" for digest in hashes)


def _json(value: object) -> bytes:
    """RFC 8785 form of what holds ASCII text and integers only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
