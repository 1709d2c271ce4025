"""A small ledger written by hand, its export, bundles of it, and attackers who re-list their files.

Persons are named as docs/ledger.md says, worked out here anew.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from concordat_privacy.evidence.bundle import make_bundle
from concordat_privacy.evidence.export import ExportFiles
from concordat_privacy.evidence.persons import Person
from concordat_privacy.evidence.selection import select
from concordat_privacy.log import leaf
from concordat_privacy.log.checkpoint import Checkpoint, SigningKey, sign
from concordat_privacy.log.merkle import merkle_root
from concordat_privacy.log.tiles import write_export

KEY = SigningKey("concordat.example/ledger", bytes(range(32)))
VKEY = KEY.verifier.encode()
NONE = "00" * 16
E, A, OTHER_E, OTHER_A = (bytes([number]) * 32 for number in (1, 2, 3, 4))
FIRST, SECOND, STRANGER = (f"{number:032x}" for number in (0xA1, 0xA2, 0xB1))
"""Two consents of the person, one of another person."""
GRANT, OTHER_GRANT, LOOKUP, PAUSE, RESUME, GRANT_2, BATCH, WITHDRAWN, REFUSED = range(3, 12)
SIZE = 300


def mac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, "sha256").digest()


def commitment(salt: bytes, name: bytes) -> str:
    return hashlib.sha256(b"concordat/subject/v1" + salt[:16] + name).hexdigest()


def of_consent(key: bytes, number: int) -> str:
    return commitment(mac(key, b"consent" + number.to_bytes(8, "big")), mac(key, b"record"))


def asked(key: bytes, request: str, item: int, kind: str = "lookup") -> str:
    asked_by = f"{kind}\0spiffe://concordat.example/member/alpha".encode()
    salt = mac(key, bytes.fromhex(request) + item.to_bytes(8, "big") + asked_by)
    return commitment(salt, mac(key, b"asking"))


def record(consent: str, subject: str, **changes: Any) -> dict[str, Any]:
    return {
        "type": "consent.granted",
        "consent": consent,
        "recipient": "alpha",
        "subject": subject,
        "purposes": ["contribution", "underwriting"],
        "categories": ["credit_accounts"],
        "starts_at": "2026-03-01T00:00:00.000000Z",
        "expires_at": "2026-04-01T00:00:00.000000Z",
        "frequency": {"unit": "day", "uses": 2},
        **changes,
    }


def about(kind: str, consent: str, subject: str, **more: Any) -> dict[str, Any]:
    return {
        "type": kind, "consent": consent, "recipient": "alpha", "subject": subject, **more
    }  # fmt: skip


def item(consent: str, subject: str, decision: str = "permit") -> dict[str, Any]:
    named = {"credit_accounts": consent, "inquiries": NONE}
    return {"consents": named, "decision": decision, "subject": subject}


class Ledger:
    """Entries without v and time, and items by entry; a test may change them before `write`."""

    def __init__(self) -> None:
        one, two, other = of_consent(E, 0), of_consent(E, 1), of_consent(OTHER_E, 0)
        asks = ["11" * 16, "22" * 16]
        self.items: dict[int, list[dict[str, Any]]] = {
            LOOKUP: [
                item(STRANGER, asked(OTHER_A, asks[0], 0)),
                item(FIRST, asked(A, asks[0], 1)),
                item(NONE, asked(OTHER_A, asks[0], 2), "refuse"),
            ],
            BATCH: [
                {
                    "first": 0,
                    "uses": [{"credit_accounts": SECOND}, {"credit_accounts": STRANGER}],
                    "rows": [0, 1, 1],
                }
            ],
            REFUSED: [item(NONE, asked(A, asks[1], 0), "refuse")],
        }
        self.entries: list[dict[str, Any]] = [
            {"type": "member.joined", "member": name} for name in ("alpha", "beta", "gamma")
        ]
        self.entries += [
            record(FIRST, one),
            record(STRANGER, other),
            {"type": "lookup", "purpose": "underwriting", "request": asks[0]},
            about("consent.paused", FIRST, one),
            about("consent.resumed", FIRST, one),
            record(SECOND, two),
            {"type": "contribution.batch", "rows": 3},
            about("consent.withdrawn", FIRST, one, notice="0f" * 16),
            {"type": "lookup", "purpose": "underwriting", "request": asks[1], "max_age_months": 6},
            {"type": "notice.acknowledged", "notice": "0f" * 16, "member": "alpha"},
        ]
        while len(self.entries) < SIZE:
            self.entries.append({"type": "test.filler", "n": len(self.entries)})

    def leaves(self) -> list[bytes]:
        actor = "spiffe://concordat.example/member/alpha"
        found = []
        for index, fields in enumerate(self.entries):
            time = f"2026-03-02T{index // 60:02}:{index % 60:02}:00.000000Z"
            whole = {"v": 1, "time": time, "actor": actor, **fields}
            if index in self.items:
                lines = self.lines(index)
                whole |= {"items": len(lines), "items_root": merkle_root(lines).hex()}
            found.append(leaf.encode(whole))
        return found

    def lines(self, index: int) -> list[bytes]:
        return [leaf.encode_item(fields) for fields in self.items[index]]

    def note(self, size: int = SIZE, key: SigningKey = KEY) -> str:
        return sign(Checkpoint(key.name, size, merkle_root(self.leaves()[:size])), key)

    def write(self, folder: Path, note: str = "") -> ExportFiles:
        items = [(index, self.lines(index)) for index in sorted(self.items)]
        write_export(folder, self.leaves(), note or self.note(), items)
        return ExportFiles(folder)

    def bundle(self, folder: Path, old: int = 7, note: str = "", **what: Any) -> dict[str, bytes]:
        """A bundle of what is selected; of everything about the person unless something is."""
        what = what or {"person": person()}
        export = self.write(folder, note)
        return make_bundle(export, select(export, **what), KEY.verifier, self.note(old))


def person(evidence: bytes = E, asking: bytes = A, consents: int = 2) -> Person:
    return Person.parse(keys(evidence, asking, consents), KEY.name)


def keys(evidence: bytes = E, asking: bytes = A, consents: int = 2) -> str:
    """A person's keys as a file has them."""
    return json.dumps(
        {
            "ledger": KEY.name,
            "evidence_keys": [{"key": evidence.hex(), "consents": consents}],
            "asking_keys": [{"epoch": 1, "key": asking.hex()}],
        }
    )


class Witness:
    """A cosigner by the letter of C2SP tlog-cosignature."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self._private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        public = b"\x04" + self._private.public_key().public_bytes_raw()
        self._id = hashlib.sha256(name.encode() + b"\n" + public).digest()[:4]
        self.vkey = f"{name}+{self._id.hex()}+{base64.b64encode(public).decode()}"

    def line(self, note: str, time: int = 1_772_000_000) -> str:
        body = note.rpartition("\n\n")[0] + "\n"
        signature = self._private.sign(f"cosignature/v1\ntime {time}\n{body}".encode())
        blob = self._id + time.to_bytes(8, "big") + signature
        return f"\u2014 {self.name} {base64.b64encode(blob).decode()}\n"


def lay(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files down as a folder, with names that a bundle does not have too."""
    for name, data in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return folder


def relisted(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files with a manifest that lists them as they are: what any attacker can do.

    Written without the maker's code.
    """
    listed = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        for name, data in sorted(files.items())
        if name != "manifest.json"
    }
    manifest = {"bundle": "concordat/evidence/v1", "files": listed, "ledger": KEY.name}
    text = json.dumps(manifest, separators=(",", ":"), sort_keys=True)
    return {**files, "manifest.json": text.encode()}


Change = Callable[[dict[str, bytes]], None]
