"""The SDK refuses, splits and pages by the limits that the gateway keeps."""

import pytest

from concordat import _checks, requests
from concordat._operations import consents, contributions, lookups, managers, members, tokens
from concordat_gateway import pki
from concordat_gateway.rules import consent_changes, consent_grants, drafts, intake, scopes
from concordat_gateway.rules import consents as consent_rules
from concordat_gateway.rules import lookups as lookup_rules
from concordat_gateway.rules import managers as manager_rules
from concordat_gateway.rules import members as member_rules
from concordat_gateway.rules import requests as request_rules
from concordat_privacy.jurisdictions import policies
from concordat_privacy.oprf import MAX_BATCH

LIMITS = {
    "request id": (requests.REQUEST_ID_BYTES, request_rules.REQUEST_ID_BYTES),
    "consent id": (requests.CONSENT_ID_BYTES, scopes.CONSENT_ID_BYTES),
    "evidence": (requests.SHA256_BYTES, request_rules.SHA256_BYTES),
    "notice version": (requests.MAX_NOTICE_VERSION_CHARACTERS, drafts.MAX_NOTICE_CHARACTERS),
    "withdrawal method": (
        requests.MAX_WITHDRAWAL_METHOD_CHARACTERS,
        drafts.MAX_WITHDRAWAL_CHARACTERS,
    ),
    "signature": (requests.MAX_JWS_CHARACTERS, drafts.MAX_JWS_CHARACTERS),
    "data life": (_checks.MAX_PERIOD, drafts.MAX_PERIOD),
    "frequency": (_checks.MAX_USES, drafts.MAX_USES),
    "reason of a change": (consents.MAX_REASON_CHARACTERS, consent_changes.MAX_REASON_CHARACTERS),
    "name of a manager": (managers.MAX_NAME_CHARACTERS, manager_rules._MAX_NAME),
    "consents": (consents.CONSENTS_PER_REQUEST, consent_grants.MAX_CONSENTS),
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


def test_the_longest_manager_id_is_the_gateways() -> None:
    longest = "m" * consents.MAX_MANAGER_ID_CHARACTERS
    assert manager_rules._MANAGER_ID.fullmatch(longest)
    assert not manager_rules._MANAGER_ID.fullmatch(longest + "m")


def test_every_jurisdictions_code_can_be_named() -> None:
    assert max(map(len, policies())) <= requests.MAX_JURISDICTION_CHARACTERS
