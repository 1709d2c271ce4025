"""The member's signature under each batch that it has evaluated."""

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from concordat._convert import timestamp_of
from concordat.errors import ProfileError
from concordat.profile import Profile
from concordat.v1 import token_pb2
from concordat_privacy.moments import micros_of
from concordat_privacy.signing import EvaluationStatement


@dataclass(frozen=True, slots=True, repr=False)
class Signer:
    """A profile's certificate and its private key, parsed once."""

    _spiffe_id: str
    _certificate: bytes
    """The leaf, DER."""
    _key: ec.EllipticCurvePrivateKey | None

    @classmethod
    def of(cls, profile: Profile) -> "Signer":
        """The signer of a profile that was loaded, whose files are therefore well formed."""
        leaf = x509.load_pem_x509_certificate(profile.certificate_pem)
        key = serialization.load_pem_private_key(profile.private_key_pem, password=None)
        return cls(
            profile.spiffe_id,
            leaf.public_bytes(serialization.Encoding.DER),
            key if isinstance(key, ec.EllipticCurvePrivateKey) else None,
        )

    def request(
        self,
        epoch: int,
        quota: token_pb2.EvaluationQuota.ValueType,
        blinded_elements: bytes,
        nonce: bytes,
        signed_at: datetime,
    ) -> token_pb2.EvaluateRequest:
        """A signed request. Raises ProfileError where the profile's key cannot sign."""
        if self._key is None:
            raise ProfileError(
                "the profile's private key is no elliptic-curve key, so it cannot sign what is to "
                "be evaluated",
                reason="KEY_CANNOT_SIGN",
            )
        statement = EvaluationStatement(
            epoch=epoch,
            quota=quota,
            nonce=nonce,
            signed_at=micros_of(signed_at),
            blinded_elements=blinded_elements,
            spiffe_id=self._spiffe_id,
        )
        return token_pb2.EvaluateRequest(
            epoch=epoch,
            blinded_elements=blinded_elements,
            nonce=nonce,
            signed_at=timestamp_of(signed_at),
            quota=quota,
            certificate=self._certificate,
            signature=statement.sign(self._key),
        )
