"""The consent ledger: how fast an outsider re-checks an export, with nothing but the log's key."""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.harness import Figure, best_seconds
from concordat_privacy.log import leaf
from concordat_privacy.log.checkpoint import Checkpoint, SigningKey, sign
from concordat_privacy.log.merkle import merkle_root
from concordat_privacy.log.tiles import write_export
from concordat_privacy.log.verify import verify_export

ENTRIES = 50_000
VERIFY_TARGET = 40_000


def run() -> list[Figure]:
    """Measure the group: about 5 seconds on two cores."""
    return [_verify()]


def _verify() -> Figure:
    key = SigningKey.generate("bench.example/ledger")
    entries = list(_entries(ENTRIES))
    note = sign(Checkpoint(key.name, ENTRIES, merkle_root(entries)), key)
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "export"
        write_export(directory, entries, note)

        def verify() -> None:
            report = verify_export(directory, key.verifier)
            if not report.ok:
                raise RuntimeError(report.summary())

        per_second = ENTRIES / best_seconds(verify)

    def parse_and_hash() -> None:
        for entry in entries:
            json.loads(entry)
            hashlib.sha256(entry).digest()

    floor = ENTRIES / best_seconds(parse_and_hash)
    mean_bytes = sum(map(len, entries)) // ENTRIES
    return Figure(
        name="ledger.verify_per_second",
        value=per_second,
        unit="entries/s",
        reference=floor,
        ratio=per_second / floor,
        target=f">= {VERIFY_TARGET}",
        holds=per_second >= VERIFY_TARGET,
        note=(
            f"{ENTRIES} entries of {mean_bytes} bytes on average, from files, on one core: "
            "signature, form and hash of every entry, every tile, root. Reference: json.loads and "
            "one SHA-256 an entry, from memory"
        ),
    )


def _entries(count: int) -> Iterator[bytes]:
    """Entries of the shapes and sizes that a gateway writes: mostly lookups, some consents."""
    for index in range(count):
        seconds, micros = divmod(index * 700, 1_000_000)
        fields: dict[str, object] = {
            "v": leaf.VERSION,
            "type": "lookup.permitted",
            "time": f"2026-01-01T00:{seconds // 60:02}:{seconds % 60:02}.{micros:06}Z",
            "member": f"spiffe://bench.example/member/lender-{index % 5}",
            "consent": hashlib.sha256(b"consent %d" % (index // 4)).hexdigest()[:32],
            "purpose": "credit_assessment",
            "request_sha256": hashlib.sha256(b"request %d" % index).hexdigest(),
            "signals": 12,
        }
        if index % 4 == 0:
            fields |= {
                "type": "consent.granted",
                "categories": ["repayment", "inquiries", "exposure"],
                "valid_until": "2027-01-01T00:00:00.000000Z",
                "commitment": hashlib.sha256(b"salt %d" % index).hexdigest(),
            }
        yield leaf.encode(fields)
