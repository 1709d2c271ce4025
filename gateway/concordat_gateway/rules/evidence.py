"""Evidence by signature: a detached JWS over a consent's terms, verified before it is recorded.

RFC 7515 appendix F, and RFC 7797 (b64 false). The protected header says whose key signed: `jwk`,
the subject's own, or `kid`, the id of a registered consent manager. What it shows is that the
holder of that key signed these terms for this subject and recipient; that a `jwk` is the subject's
is the recipient's knowledge, and the entry carries its thumbprint for whoever wants to ask.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

import jwt
import sqlalchemy as sa
from jwt.api_jws import PyJWS

from concordat_gateway.rules import managers
from concordat_gateway.rules.consent_records import Evidence
from concordat_gateway.rules.managers import Manager
from concordat_gateway.store.control_tables import consent as consent_table
from concordat_privacy.catalogue.rows import FieldProblem
from concordat_privacy.jwk import JwkError, PublicJwk, once_each, read_jwk

_ALGORITHMS = ("EdDSA", "ES256")
_JWS = PyJWS(algorithms=_ALGORITHMS)
# Base64url without padding, which the library would let pass.
_DETACHED = re.compile(r"[A-Za-z0-9_-]+\.\.[A-Za-z0-9_-]+")


class EvidenceInvalid(Exception):
    """The signature does not stand for the terms. The message never repeats what was sent."""

    def problem(self) -> FieldProblem:
        """As the refusal of an item."""
        return FieldProblem("evidence_jws", "EVIDENCE_INVALID", str(self))


@dataclass(frozen=True, slots=True)
class Signatories:
    """Who may have signed: the consent managers, by id. Of those disabled, the keys count too."""

    managers: Mapping[str, Manager]

    def key_of(self, header: Mapping[str, object]) -> tuple[str, PublicJwk]:
        """Name of the signer, and its key. Raises EvidenceInvalid."""
        if ("jwk" in header) == ("kid" in header):
            raise EvidenceInvalid("exactly one of `jwk` and `kid` is wanted in the header")
        if "kid" in header:
            kid = header["kid"]
            manager = self.managers.get(kid) if isinstance(kid, str) else None
            if manager is None or manager.disabled_at is not None:
                raise EvidenceInvalid("`kid` is no registered consent manager")
            return f"manager:{manager.manager_id}", manager.key
        try:
            key = read_jwk(header["jwk"])
        except JwkError as error:
            raise EvidenceInvalid(f"`jwk`: {error}") from None
        # A manager that was disabled must not come back as a subject.
        if any(manager.thumbprint == key.thumbprint for manager in self.managers.values()):
            raise EvidenceInvalid("`jwk` is a consent manager's key, not a subject's")
        return "subject", key


def verified(jws: str, terms: bytes, signatories: Signatories) -> Evidence:
    """The evidence that a detached JWS over `terms` is. Raises EvidenceInvalid."""
    header = _protected_header(jws)
    signer, key = signatories.key_of(header)
    if header.get("alg") != key.algorithm:
        raise EvidenceInvalid(f"`alg` is not {key.algorithm}, the one of the key")
    unencoded = _is_unencoded(header)
    protected, _, signature = jws.split(".")
    payload = "" if unencoded else base64.urlsafe_b64encode(terms).rstrip(b"=").decode()
    try:
        _JWS.decode_complete(
            f"{protected}.{payload}.{signature}",
            key.key,
            algorithms=[key.algorithm],
            detached_payload=terms if unencoded else None,
        )
    except jwt.PyJWTError:
        raise EvidenceInvalid("the signature does not verify over the terms") from None
    return Evidence(
        evidence_jws=jws,
        evidence_jws_sha256=hashlib.sha256(jws.encode()).digest(),
        evidence_terms_sha256=hashlib.sha256(terms).digest(),
        evidence_signer=signer,
        evidence_key=key.thumbprint,
    )


def signatories_of(connection: sa.Connection) -> Signatories:
    """Who may have signed, at this moment."""
    return Signatories({one.manager_id: one for one in managers.read_all(connection)})


def evidence_problems(
    connection: sa.Connection, evidence: Mapping[int, Evidence]
) -> dict[int, FieldProblem]:
    """What only the transaction can tell of verified evidence, by item.

    A signature is good for one consent: by the terms it signs and not by its own bytes, because an
    ECDSA signature can be rewritten into another one that verifies as well. One of a manager that
    was disabled meanwhile is good for none. Documents cost no statement.
    """
    signed = {
        item: (one.evidence_terms_sha256, one.evidence_signer)
        for item, one in evidence.items()
        if one.evidence_terms_sha256 is not None
    }
    if not signed:
        return {}
    hashes = {terms for terms, _ in signed.values()}
    used = {bytes(row[0]) for row in connection.execute(_USED, {"hashes": sorted(hashes)})}
    usable = {"subject"} | {
        f"manager:{one.manager_id}"
        for one in managers.read_all(connection)
        if one.disabled_at is None
    }
    problems: dict[int, FieldProblem] = {}
    for item, (terms, signer) in signed.items():
        if terms in used:
            problems[item] = EvidenceInvalid("these signed terms are another consent's").problem()
        elif signer not in usable:
            problems[item] = EvidenceInvalid("`kid` is no registered consent manager").problem()
        else:
            used.add(terms)
    return problems


def _protected_header(jws: str) -> Mapping[str, object]:
    if _DETACHED.fullmatch(jws) is None:
        raise EvidenceInvalid("not a compact JWS with its payload detached (RFC 7515, appendix F)")
    text = jws.split(".", 1)[0]
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        header = json.loads(data, object_pairs_hook=once_each)
    except (binascii.Error, ValueError, RecursionError):
        raise EvidenceInvalid("the protected header is not base64url of a JSON object") from None
    if not isinstance(header, dict):
        raise EvidenceInvalid("the protected header is not base64url of a JSON object")
    return header


def _is_unencoded(header: Mapping[str, object]) -> bool:
    """Whether the payload is signed as it is (RFC 7797). Raises EvidenceInvalid.

    The library looks at `crit` too; that no extension but b64 is known here is ours to say.
    """
    crit, b64 = header.get("crit"), header.get("b64", True)
    if not isinstance(b64, bool):
        raise EvidenceInvalid("`b64` is neither true nor false")
    if "crit" in header and crit != ["b64"]:
        raise EvidenceInvalid("`crit` names an extension that is not known here")
    if ("b64" in header) != ("crit" in header):
        raise EvidenceInvalid("`b64` and `crit` go together (RFC 7797, section 6)")
    return not b64


_USED = sa.select(consent_table.c.evidence_terms_sha256).where(
    consent_table.c.evidence_terms_sha256.in_(sa.bindparam("hashes", expanding=True))
)
