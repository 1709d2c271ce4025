"""The key-holders behind the peer: whole and split keys, a key log, and checks of what is signed.

They hold what the contract says of Evaluate: the member's signature is verified from the message
alone, a nonce is charged once, an epoch out of its time is refused. What else goes wrong a test
says, by `corrupt`, `quota_left` or by changing `pairs` behind the log's back.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from concordat.v1 import token_pb2
from concordat_privacy.keylog import Holder, KeyLog, end_entry, key_entry, split_entry
from concordat_privacy.log.checkpoint import SigningKey
from concordat_privacy.oprf import (
    ELEMENT_BYTES,
    KeyPair,
    SecretKey,
    Share,
    derive_key_pair,
    evaluate_batch,
)
from concordat_privacy.oprf.sharing import split, weighted
from concordat_rpc.errors import Kind, Refusal

LOG_NAME = "concordat.test/token-keys"
EPOCH = 3
_ZERO = datetime(1970, 1, 1, tzinfo=UTC)
_FRESH = timedelta(minutes=5)


def pair_of(name: str) -> KeyPair:
    """A token key of its own for each name."""
    return derive_key_pair(name.encode().ljust(32, b"."), b"peer")


def microseconds(moment: datetime) -> int:
    """As the key log counts."""
    return (moment - _ZERO) // timedelta(microseconds=1)


@dataclass
class Keyholders:
    """All key-holders of the peer, and the log of their keys."""

    started: datetime
    """The first epoch began a day before."""
    pairs: dict[int, KeyPair] = field(default_factory=dict)
    """Each epoch's whole key."""
    shares: dict[int, list[Share]] = field(default_factory=dict)
    thresholds: dict[int, int] = field(default_factory=dict)
    ends: dict[int, datetime] = field(default_factory=dict)
    begins: dict[int, datetime] = field(default_factory=dict)
    corrupt: set[int] = field(default_factory=set)
    """Holders whose answers are of another key."""
    stubborn: bool = False
    """Whether the gateway asks the first holders whatever is to be avoided."""
    charged: dict[bytes, int] = field(default_factory=dict)
    """Elements charged, by nonce."""
    quotas: list[int] = field(default_factory=list)
    """Quota of each request that was answered."""

    def __post_init__(self) -> None:
        self.log_key = SigningKey.generate(LOG_NAME)
        self.entries: list[bytes] = []
        self.add_epoch(EPOCH, self.started - timedelta(days=1))

    def add_epoch(self, epoch: int, begins: datetime) -> None:
        """A new whole key, in the log too."""
        self.pairs[epoch] = pair_of(f"epoch {epoch}")
        self.begins[epoch] = begins
        self.entries.append(key_entry(epoch, self.pairs[epoch].public, microseconds(begins)))

    def end_epoch(self, epoch: int, at: datetime) -> None:
        """An epoch's end, in the log too."""
        self.ends[epoch] = at
        self.entries.append(end_entry(epoch, microseconds(at)))

    def split_epoch(self, epoch: int, threshold: int, holders: int) -> None:
        """The epoch's key in shares, in the log too. Only for the log's first epoch."""
        self.shares[epoch] = split(self.pairs[epoch].secret, threshold, holders)
        self.thresholds[epoch] = threshold
        public = [
            Holder(share.holder, share.secret.public_key(), None) for share in self.shares[epoch]
        ]
        self.entries.append(split_entry(epoch, threshold, public))

    def fork(self) -> None:
        """Another log by the same signer: its last entry tells of another key."""
        self.pairs[EPOCH] = pair_of("another key")
        self.entries = [
            key_entry(EPOCH, self.pairs[EPOCH].public, microseconds(self.begins[EPOCH]))
        ]

    @property
    def log(self) -> str:
        """The signed log."""
        return KeyLog.signed(self.entries, self.log_key).text

    @property
    def listing(self) -> token_pb2.ListTokenKeysResponse:
        """The reply to ListTokenKeys."""
        keys = KeyLog.signed(self.entries, self.log_key).keys
        return token_pb2.ListTokenKeysResponse(
            keys=[
                token_pb2.TokenKey(epoch=key.epoch, public_key=bytes(key.public_key))
                for key in keys
            ],
            key_log=self.log,
        )

    def evaluate(
        self, request: token_pb2.EvaluateRequest, now: datetime
    ) -> token_pb2.EvaluateResponse | Refusal:
        """The reply to Evaluate."""
        refusal = self._refusal(request, now)
        if refusal is not None:
            return refusal
        self.charged[request.nonce] = len(request.blinded_elements) // ELEMENT_BYTES
        self.quotas.append(request.quota)
        if request.epoch in self.shares:
            return self._evaluate_shares(request)
        secret = self.pairs[request.epoch].secret
        elements, proof = evaluate_batch(secret, request.blinded_elements)
        return token_pb2.EvaluateResponse(evaluated_elements=elements, proof=proof)

    def _refusal(self, request: token_pb2.EvaluateRequest, now: datetime) -> Refusal | None:
        if not _is_signed(request):
            return Refusal(Kind.PERMISSION_DENIED, "SIGNATURE_INVALID", "not signed like that")
        if abs(now - request.signed_at.ToDatetime(UTC)) > _FRESH:
            return Refusal(Kind.PERMISSION_DENIED, "REQUEST_STALE", "signed long ago")
        begins = self.begins.get(request.epoch)
        ends = self.ends.get(request.epoch)
        if begins is None or now < begins or (ends is not None and ends <= now):
            return Refusal(
                Kind.FAILED_PRECONDITION, "EPOCH_NOT_ACTIVE", f"epoch {request.epoch} is not active"
            )
        return None

    def _evaluate_shares(self, request: token_pb2.EvaluateRequest) -> token_pb2.EvaluateResponse:
        shares = self.shares[request.epoch]
        avoided = () if self.stubborn else request.avoid_holders
        # Those to be avoided only where there are not enough others.
        ranked = sorted(shares, key=lambda share: share.holder in avoided)
        chosen = sorted(ranked[: self.thresholds[request.epoch]], key=lambda share: share.holder)
        holders = [share.holder for share in chosen]
        return token_pb2.EvaluateResponse(
            shares=[self._answer(share, holders, request.blinded_elements) for share in chosen]
        )

    def _answer(
        self, share: Share, holders: Sequence[int], blinded: bytes
    ) -> token_pb2.ShareEvaluation:
        secret: SecretKey = weighted(share, holders)
        if share.holder in self.corrupt:
            secret = pair_of("corrupt").secret
        elements, proof = evaluate_batch(secret, blinded)
        return token_pb2.ShareEvaluation(
            holder=share.holder, evaluated_elements=elements, proof=proof
        )


def _is_signed(request: token_pb2.EvaluateRequest) -> bool:
    """Whether the signature holds, by the contract's words alone."""
    certificate = x509.load_der_x509_certificate(request.certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    [spiffe_id] = names.value.get_values_for_type(x509.UniformResourceIdentifier)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(request.blinded_elements)
    message = (
        b"concordat/evaluate/v1"
        + request.epoch.to_bytes(4, "big")
        + request.quota.to_bytes(1, "big")
        + request.nonce
        + microseconds(request.signed_at.ToDatetime(UTC)).to_bytes(8, "big")
        + digest.finalize()
        + spiffe_id.encode()
    )
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    algorithm = hashes.SHA384() if key.curve.name == "secp384r1" else hashes.SHA256()
    try:
        key.verify(request.signature, message, ec.ECDSA(algorithm))
    except Exception:  # noqa: BLE001  whatever is wrong with it, it is not signed
        return False
    return len(request.nonce) == 16
