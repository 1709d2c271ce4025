"""What makes two calls that record consents the same call."""

from dataclasses import replace

import pytest

from concordat_gateway.rules.consent_grants import _digest
from concordat_gateway.rules.drafts import ConsentDraft
from concordat_gateway.rules.requests import Fingerprint

PLAIN = ConsentDraft(b"\1" * 32, (1, 2), (3,), None, 10**15, "2026-1", b"\2" * 32)


def test_a_draft_of_before_the_full_record_keeps_its_digest() -> None:
    """So that a call that an earlier build answered is still known when it is sent again."""
    expected = Fingerprint("GrantConsents")
    expected.add(5)
    for _ in range(2):
        expected.add(b"\1" * 32, 2, 1, 2, 1, 3, None, 10**15, "2026-1", b"\2" * 32)
    assert _digest("GrantConsents", [PLAIN, PLAIN], 5) == expected.digest()


@pytest.mark.parametrize(
    "other",
    [
        replace(PLAIN, notice_sha256=b"\3" * 32),
        replace(PLAIN, language="de"),
        replace(PLAIN, withdrawal_method="de"),
        replace(PLAIN, jurisdiction="de"),
        replace(PLAIN, data_life=(1, 1)),
        replace(PLAIN, frequency=(1, 1)),
        replace(PLAIN, evidence_jws="de"),
        replace(PLAIN, evidence_nonce=b"\3" * 16),
    ],
)
def test_every_field_of_the_record_makes_another_call(other: ConsentDraft) -> None:
    digests = {
        _digest("GrantConsents", [PLAIN], 0),
        _digest("GrantConsents", [other], 0),
        _digest("RequestConsents", [other], 0),
    }
    assert len(digests) == 3
