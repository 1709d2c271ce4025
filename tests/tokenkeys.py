"""Token keys in memory: whole and split, several epochs, and the key-holders that hold them.

What stands here for the key-holders' processes computes with the real keys; what it is spared is
the wire. `TokenKeys.update` is what `KeyholderClient.update` is to the rules.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from concordat_gateway.keyholder import update_key
from concordat_privacy.keylog import (
    EpochKey,
    Holder,
    KeyLog,
    end_entry,
    key_entry,
    split_entry,
)
from concordat_privacy.log.checkpoint import SigningKey
from concordat_privacy.oprf import (
    PublicKey,
    SecretKey,
    Share,
    ShareReply,
    derive_key_pair,
    key_ratio,
    update_batch,
)
from concordat_privacy.oprf.protocol import blind_evaluate
from concordat_privacy.oprf.sharing import split, weighted
from concordat_privacy.oprf.suite import DOMAINS, Mode, hash_to_group
from concordat_rpc.errors import Refusal

LOG_KEY = SigningKey.generate("concordat.test/token-keys", lambda count: bytes(range(count)))
LONG_AGO = 1_700_000_000_000_000
"""2023-11-14: before every test's clock."""


@dataclass
class TokenKeys:
    """The keys of some epochs, each in use from LONG_AGO on."""

    secrets: dict[int, SecretKey] = field(default_factory=dict)
    shares: dict[int, list[Share]] = field(default_factory=dict)
    """Of the ratio to the epoch before, where that epoch's key is split."""
    entries: list[bytes] = field(default_factory=list)
    liars: set[int] = field(default_factory=set)
    """Numbers of key-holders that multiply by something else; 0 is the one of a whole key."""
    refusal: Refusal | None = None
    """What the key-holders say to every update."""
    asked: int = 0
    """Elements that were updated so far."""

    @classmethod
    def of_epochs(cls, *epochs: int) -> "TokenKeys":
        keys = cls()
        for epoch in epochs:
            keys.add(epoch)
        return keys

    def add(self, epoch: int, threshold: int = 0, holders: int = 0, since: int = LONG_AGO) -> None:
        """A new epoch; split if `holders` are given."""
        secret = derive_key_pair(epoch.to_bytes(32, "big"), b"tests").secret
        self.secrets[epoch] = secret
        self.entries.append(key_entry(epoch, secret.public_key(), since))
        if not holders:
            return
        before = self.secrets[epoch - 1]
        self.shares[epoch] = split(key_ratio(before, secret), threshold, holders)
        shares = split(secret, threshold, holders)
        self.entries.append(
            split_entry(
                epoch,
                threshold,
                [
                    Holder(
                        share.holder,
                        share.secret.public_key(),
                        PublicKey(blind_evaluate(ratio.secret.scalar, before.public_key().element)),
                    )
                    for share, ratio in zip(shares, self.shares[epoch], strict=True)
                ],
            )
        )

    def end(self, epoch: int, valid_to: int) -> None:
        """End an epoch."""
        self.entries.append(end_entry(epoch, valid_to))

    def log(self) -> KeyLog:
        """The signed key log of now."""
        return KeyLog.signed(self.entries, LOG_KEY)

    def token(self, number: int, epoch: int) -> bytes:
        """The token that stands for person `number` in an epoch."""
        element = hash_to_group(number.to_bytes(8, "big"), DOMAINS[Mode.VOPRF].group_dst)
        return blind_evaluate(self.secrets[epoch].scalar, element)

    def update(
        self, key: EpochKey, packed: bytes, avoid: Collection[int], _timeout_seconds: float
    ) -> Sequence[ShareReply]:
        """As `KeyholderClient.update`."""
        if self.refusal is not None:
            raise self.refusal
        self.asked += len(packed) // 32
        old = self.secrets[key.epoch - 1].public_key()
        if not key.holders:
            ratio = key_ratio(self.secrets[key.epoch - 1], self.secrets[key.epoch])
            return [self._reply(0, ratio, old, key.public_key, packed)]
        numbers = sorted(share.holder for share in self.shares[key.epoch])
        chosen = sorted(sorted(numbers, key=lambda one: one in avoid)[: key.threshold])
        by_number = {share.holder: share for share in self.shares[key.epoch]}
        return [
            self._reply(
                number,
                weighted(by_number[number], chosen),
                old,
                update_key(key, number, chosen),
                packed,
            )
            for number in chosen
        ]

    def _reply(
        self, holder: int, ratio: SecretKey, old: PublicKey, result: PublicKey, packed: bytes
    ) -> ShareReply:
        if holder in self.liars:
            ratio = derive_key_pair(bytes(32), b"another ratio").secret
        elements, proof = update_batch(ratio, old, packed)
        return ShareReply(holder, result, elements, proof)


def peppers(*epochs: int) -> Mapping[int, bytes]:
    """A pepper for each epoch; epoch 1 has the one that tests know as PEPPER."""
    return {epoch: bytes([6 + epoch]) * 32 for epoch in epochs}
