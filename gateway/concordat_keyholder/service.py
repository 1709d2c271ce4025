"""KeyholderService: evaluates what members signed, under the held keys."""

from __future__ import annotations

import logging
import time

import grpc
from cryptography import x509

from concordat.v1 import keyholder_pb2, keyholder_pb2_grpc, token_pb2
from concordat_keyholder import batches, updates
from concordat_keyholder.batches import SignedBatch
from concordat_keyholder.certificates import CertificateInvalid, MemberCertificate, read_der
from concordat_keyholder.holdings import CurrentHoldings
from concordat_keyholder.keys import HeldKey
from concordat_privacy import oprf
from concordat_privacy.keylog import EpochKey
from concordat_privacy.metering import Quota
from concordat_privacy.oprf import ELEMENT_BYTES, Share, sharing
from concordat_privacy.signing import NONCE_BYTES, EvaluationStatement
from concordat_rpc import call
from concordat_rpc.elements import check_elements
from concordat_rpc.errors import Refusal, invalid
from concordat_rpc.timestamps import micros_of
from concordat_store.clock import Clock
from concordat_store.database import Database

_log = logging.getLogger(__name__)

_MAX_SIGNATURE_BYTES = 256
_QUOTAS = frozenset({token_pb2.EVALUATION_QUOTA_ONLINE, token_pb2.EVALUATION_QUOTA_PORTFOLIO})
_SECONDS_BETWEEN_FORGETTING = 60.0


class KeyholderServicer(keyholder_pb2_grpc.KeyholderServiceServicer):
    """Serves gateways; see proto/concordat/v1/keyholder.proto."""

    def __init__(
        self,
        holdings: CurrentHoldings,
        database: Database,
        *,
        trust_domain: str,
        quota: Quota,
        updates_daily: int,
        authority: x509.Certificate | None,
        clock: Clock,
    ) -> None:
        """Make the service.

        Args:
            quota: of members that have none of their own.
            updates_daily: how many elements all gateways may have updated a day.
            authority: whose certificates admit a member at first sight; None: nobody's.
        """
        self._holdings = holdings
        self._database = database
        self._trust_domain = trust_domain
        self._quota = quota
        self._updates_daily = updates_daily
        self._authority = authority
        self._clock = clock
        self._forget_at = 0.0

    def EvaluateBlinded(
        self, request: keyholder_pb2.EvaluateBlindedRequest, _context: grpc.ServicerContext
    ) -> keyholder_pb2.EvaluateBlindedResponse:
        batch = self._signed_batch(request)
        now = self._clock()
        held, entry = self._holdings().in_use(request.epoch, now)
        secret = _answering(held.secret, held.share, entry, held, list(request.holders))
        try:
            batches.check_signed(batch, now)
            with self._database.write() as connection:
                batches.charge(connection, batch, self._quota, self._authority, now)
        except Refusal as refusal:
            _log.warning(
                "refused %d evaluations of %s: %s",
                batch.size,
                batch.member.member_id,
                refusal.reason,
            )
            raise
        self._forget_nonces(now)
        # Charged, also where an element turns out to be none: nobody works here for nothing.
        try:
            evaluated, proof = oprf.evaluate_batch(secret, request.blinded_elements)
        except oprf.ElementInvalid as error:
            raise invalid(f"blinded_elements[{error.index}]", error.reason) from None
        return keyholder_pb2.EvaluateBlindedResponse(evaluated_elements=evaluated, proof=proof)

    def UpdateBlinded(
        self, request: keyholder_pb2.UpdateBlindedRequest, _context: grpc.ServicerContext
    ) -> keyholder_pb2.UpdateBlindedResponse:
        check_elements(request.blinded_elements)
        now = self._clock()
        held, old, new = self._holdings().ratio(request.from_epoch, request.to_epoch, now)
        assert held.update is not None
        share = Share(held.holder, held.update)
        ratio = _answering(held.update, share, new, held, list(request.holders))
        self._charge_update(request, now)
        try:
            updated, proof = oprf.update_batch(ratio, old.public_key, request.blinded_elements)
        except oprf.ElementInvalid as error:
            raise invalid(f"blinded_elements[{error.index}]", error.reason) from None
        return keyholder_pb2.UpdateBlindedResponse(updated_elements=updated, proof=proof)

    def ListHeldKeys(
        self, _request: keyholder_pb2.ListHeldKeysRequest, _context: grpc.ServicerContext
    ) -> keyholder_pb2.ListHeldKeysResponse:
        holdings = self._holdings()
        return keyholder_pb2.ListHeldKeysResponse(
            keys=[
                keyholder_pb2.HeldKey(
                    epoch=held.epoch, public_key=bytes(held.public_key), holder=held.holder
                )
                for held in holdings.keys
                if holdings.log.key(held.epoch) is not None
            ]
        )

    def _charge_update(self, request: keyholder_pb2.UpdateBlindedRequest, now: int) -> None:
        """Charge an update, and tell the operator of it: no member has signed it."""
        gateway = call.current().peer
        elements = len(request.blinded_elements) // ELEMENT_BYTES
        what = (elements, request.from_epoch, request.to_epoch, gateway.spiffe_id)
        try:
            with self._database.write() as connection:
                updates.charge(connection, gateway.name, elements, self._updates_daily, now)
        except Refusal as refusal:
            _log.warning("refused %d updates from epoch %d to %d for %s: %s", *what, refusal.reason)
            raise
        _log.info("%d updates from epoch %d to %d for %s", *what)

    def _signed_batch(self, request: keyholder_pb2.EvaluateBlindedRequest) -> SignedBatch:
        check_elements(request.blinded_elements)
        if request.quota not in _QUOTAS:
            raise invalid("quota", "must be ONLINE or PORTFOLIO")
        if len(request.nonce) != NONCE_BYTES:
            raise invalid("nonce", f"{NONCE_BYTES} bytes wanted, {len(request.nonce)} given")
        if not 1 <= len(request.signature) <= _MAX_SIGNATURE_BYTES:
            raise invalid("signature", f"1 to {_MAX_SIGNATURE_BYTES} bytes wanted")
        member = self._member(request.certificate)
        try:
            statement = EvaluationStatement(
                epoch=request.epoch,
                quota=request.quota,
                nonce=request.nonce,
                signed_at=micros_of(request.signed_at),
                blinded_elements=request.blinded_elements,
                spiffe_id=member.spiffe_id,
            )
        except ValueError:
            # All else was checked.
            raise invalid("signed_at", "not a time since 1970") from None
        return SignedBatch(statement, member, request.signature)

    def _member(self, certificate: bytes) -> MemberCertificate:
        try:
            return read_der(certificate, self._trust_domain)
        except CertificateInvalid as error:
            raise invalid("certificate", str(error)) from None

    def _forget_nonces(self, now: int) -> None:
        if time.monotonic() < self._forget_at:
            return
        self._forget_at = time.monotonic() + _SECONDS_BETWEEN_FORGETTING
        try:
            with self._database.write() as connection:
                batches.forget_nonces(connection, now)
        except Refusal:
            # Another process may be doing the same; whoever comes next tries again.
            _log.warning("old nonces could not be dropped")


def _answering(
    whole: oprf.SecretKey, share: Share, entry: EpochKey, held: HeldKey, holders: list[int]
) -> oprf.SecretKey:
    """What the answer is multiplied by: the secret, or the share of it for these holders.

    Raises Refusal INVALID_ARGUMENT.
    """
    if held.is_whole:
        if holders:
            raise invalid("holders", "the key is whole here: must be empty")
        return whole
    if holders != sorted(set(holders)) or not all(1 <= n <= len(entry.holders) for n in holders):
        raise invalid("holders", f"must be numbers from 1 to {len(entry.holders)}, ascending")
    if len(holders) != held.threshold:
        raise invalid("holders", f"{held.threshold} key-holders answer together")
    if held.holder not in holders:
        raise invalid("holders", f"this is key-holder {held.holder}, which is not among them")
    return sharing.weighted(share, holders)
