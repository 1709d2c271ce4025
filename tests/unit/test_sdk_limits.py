"""The SDK refuses, splits and pages by the limits that the gateway keeps."""

import pytest

from concordat import requests
from concordat._operations import consents, contributions, lookups, members, tokens
from concordat_gateway import pki
from concordat_gateway.rules import consents as consent_rules
from concordat_gateway.rules import drafts, intake, scopes
from concordat_gateway.rules import lookups as lookup_rules
from concordat_gateway.rules import members as member_rules
from concordat_gateway.rules import requests as request_rules
from concordat_privacy.oprf import MAX_BATCH

LIMITS = {
    "request id": (requests.REQUEST_ID_BYTES, request_rules.REQUEST_ID_BYTES),
    "consent id": (requests.CONSENT_ID_BYTES, scopes.CONSENT_ID_BYTES),
    "evidence": (requests.SHA256_BYTES, drafts.EVIDENCE_BYTES),
    "notice version": (requests.MAX_NOTICE_VERSION_CHARACTERS, drafts.MAX_NOTICE_CHARACTERS),
    "consents": (consents.CONSENTS_PER_REQUEST, consent_rules.MAX_CONSENTS),
    "page of consents": (consents.MAX_PAGE_SIZE, consent_rules.MAX_PAGE),
    "rows": (contributions.ROWS_PER_BATCH, intake.MAX_ROWS),
    "rows of a message": (contributions.ROWS_PER_MESSAGE, intake.MAX_ROWS_A_MESSAGE),
    "subjects": (lookups.SUBJECTS_PER_REQUEST, lookup_rules.MAX_SUBJECTS),
    "certificate request": (members.MAX_CSR_BYTES, pki.MAX_CSR_BYTES),
    "display name": (members.MAX_DISPLAY_NAME_CHARACTERS, member_rules._MAX_NAME),
    "reason": (members.MAX_REASON_CHARACTERS, member_rules._MAX_REASON),
    "page of members": (members.MAX_PAGE_SIZE, member_rules.MAX_PAGE),
}


@pytest.mark.parametrize("what", LIMITS)
def test_a_limit_is_the_gateways(what: str) -> None:
    ours, theirs = LIMITS[what]
    assert ours == theirs


def test_two_batches_of_identifiers_fit_where_one_is_allowed() -> None:
    assert 2 * tokens.BATCH_SIZE <= MAX_BATCH


def test_the_longest_member_id_is_the_gateways() -> None:
    longest = "m" * members.MAX_MEMBER_ID_CHARACTERS
    assert member_rules._MEMBER_ID.fullmatch(longest)
    assert not member_rules._MEMBER_ID.fullmatch(longest + "m")
