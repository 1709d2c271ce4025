"""Consent managers: registered and disabled by the operator, listed by all."""

from concordat._checks import checked_text
from concordat._context import Context
from concordat._convert import time_of
from concordat._methods import (
    DISABLE_CONSENT_MANAGER,
    LIST_CONSENT_MANAGERS,
    REGISTER_CONSENT_MANAGER,
)
from concordat._operations.consents import MAX_MANAGER_ID_CHARACTERS
from concordat._steps import Operation
from concordat.errors import InvalidInput
from concordat.results import ConsentManager, ConsentManagerChange, Receipt
from concordat.v1 import consent_pb2
from concordat_privacy.jwk import MAX_JWK_CHARACTERS, JwkError, parse_jwk
from concordat_privacy.log.leaf import Json

MAX_NAME_CHARACTERS = 200


def register_consent_manager(
    context: Context, manager_id: str, name: str, jwk: str, timeout: float | None
) -> Operation[ConsentManagerChange]:
    """Register a consent manager."""
    checked_text(jwk, "jwk", MAX_JWK_CHARACTERS)
    try:
        parse_jwk(jwk)
    except JwkError as error:
        raise InvalidInput.field("jwk", str(error)) from None
    request = consent_pb2.RegisterConsentManagerRequest(
        manager_id=checked_text(manager_id, "manager_id", MAX_MANAGER_ID_CHARACTERS),
        name=checked_text(name, "name", MAX_NAME_CHARACTERS),
        jwk=jwk,
    )
    reply = yield from context.send(REGISTER_CONSENT_MANAGER, request, timeout)
    return ConsentManagerChange(
        _manager(reply.manager), _receipt(context, reply, "manager.registered", manager_id)
    )


def disable_consent_manager(
    context: Context, manager_id: str, timeout: float | None
) -> Operation[ConsentManagerChange]:
    """Take no more evidence of a consent manager."""
    request = consent_pb2.DisableConsentManagerRequest(
        manager_id=checked_text(manager_id, "manager_id", MAX_MANAGER_ID_CHARACTERS)
    )
    reply = yield from context.send(DISABLE_CONSENT_MANAGER, request, timeout)
    return ConsentManagerChange(
        _manager(reply.manager), _receipt(context, reply, "manager.disabled", manager_id)
    )


def list_consent_managers(
    context: Context, timeout: float | None
) -> Operation[tuple[ConsentManager, ...]]:
    """All consent managers by id."""
    request = consent_pb2.ListConsentManagersRequest()
    reply = yield from context.send(LIST_CONSENT_MANAGERS, request, timeout)
    return tuple(_manager(manager) for manager in reply.managers)


def _receipt(
    context: Context,
    reply: consent_pb2.RegisterConsentManagerResponse | consent_pb2.DisableConsentManagerResponse,
    entry_type: str,
    manager_id: str,
) -> Receipt | None:
    if not reply.HasField("receipt"):
        return None
    recorded: dict[str, Json] = {"manager": manager_id}
    return context.ledger.receipt(reply.receipt, {entry_type}, recorded)


def _manager(manager: consent_pb2.ConsentManager) -> ConsentManager:
    disabled_at = None
    if manager.HasField("disabled_at"):
        disabled_at = time_of(manager.disabled_at, "disabled_at")
    return ConsentManager(
        manager_id=manager.manager_id,
        name=manager.name,
        jwk=manager.jwk,
        key=manager.key,
        registered_at=time_of(manager.registered_at, "registered_at"),
        disabled_at=disabled_at,
    )
