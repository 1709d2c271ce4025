"""The key log: what it may say, that nothing of it can be changed, and that a fork is seen."""

import base64
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concordat_privacy.keylog import (
    EpochKey,
    Holder,
    KeyLog,
    KeyLogError,
    KeyLogForked,
    end_entry,
    key_entry,
    split_entry,
)
from concordat_privacy.log.checkpoint import Checkpoint, SigningKey, sign
from concordat_privacy.log.merkle import merkle_root
from concordat_privacy.oprf import (
    PublicKey,
    SecretKey,
    generate_key,
    key_ratio,
    sharing,
    update_batch,
)

NAME = "concordat.test/token-keys"
LOG_KEY = SigningKey(NAME, bytes(range(32)))
OTHER_KEY = SigningKey(NAME, bytes(32))
NOON = 1_795_000_000_000_000
"""2026-11-18T11:06:40Z."""
DAY = 86_400_000_000
FIRST, SECOND = generate_key(), generate_key()


def times(scalar: SecretKey, public: PublicKey) -> PublicKey:
    product, _ = update_batch(scalar, public, public.element)
    return PublicKey(product)


def dealt(
    secret: SecretKey,
    threshold: int,
    holders: int,
    ratio: SecretKey | None = None,
    before: PublicKey | None = None,
) -> list[Holder]:
    """The public side of a deal, as a dealer makes it."""
    shares = sharing.split(secret, threshold, holders)
    updates = sharing.split(ratio, threshold, holders) if ratio is not None else None
    return [
        Holder(
            share.holder,
            share.secret.public_key(),
            times(updates[at].secret, before) if updates and before else None,
        )
        for at, share in enumerate(shares)
    ]


K1 = key_entry(1, FIRST.public, NOON)
K2 = key_entry(2, SECOND.public, NOON + DAY)
SPLIT_1 = dealt(FIRST.secret, 2, 3)
RATIO = key_ratio(FIRST.secret, SECOND.secret)
SPLIT_2 = dealt(SECOND.secret, 2, 3, RATIO, FIRST.public)


def log_of(*entries: bytes) -> KeyLog:
    return KeyLog.signed(entries, LOG_KEY)


def whole() -> KeyLog:
    """One of each kind."""
    return log_of(
        K1,
        split_entry(1, 2, SPLIT_1),
        K2,
        split_entry(2, 2, SPLIT_2),
        end_entry(1, NOON + 2 * DAY),
    )


def test_a_log_says_what_went_into_it() -> None:
    log = KeyLog.open(whole().text, LOG_KEY.verifier)
    assert log.keys == (
        EpochKey(1, FIRST.public, NOON, NOON + 2 * DAY, 2, tuple(SPLIT_1)),
        EpochKey(2, SECOND.public, NOON + DAY, None, 2, tuple(SPLIT_2)),
    )
    assert log.key(2) == log.keys[1]
    assert log.key(3) is None


def test_its_form_is_lines_of_canonical_json_and_a_signed_note() -> None:
    lines, note = whole().text.split("\n\n", 1)
    entries = [json.loads(line) for line in lines.split("\n")]
    assert [entry["type"] for entry in entries] == ["key", "split", "key", "split", "end"]
    assert entries[0] == {
        "v": 1,
        "type": "key",
        "epoch": 1,
        "suite": "ristretto255-SHA512",
        "public_key": bytes(FIRST.public).hex(),
        "valid_from": "2026-11-18T11:06:40.000000Z",
    }
    origin, size, root = note.split("\n")[:3]
    assert (origin, size) == (NAME, "5")
    leaves = [line.encode() for line in lines.split("\n")]
    assert base64.b64decode(root) == merkle_root(leaves)


@pytest.mark.parametrize(
    ("now", "epochs"),
    [
        (NOON - 1, []),
        (NOON, [1]),
        (NOON + DAY - 1, [1]),
        (NOON + DAY, [1, 2]),
        (NOON + 2 * DAY - 1, [1, 2]),
        (NOON + 2 * DAY, [2]),
    ],
)
def test_epochs_overlap_as_the_log_says(now: int, epochs: list[int]) -> None:
    assert [key.epoch for key in whole().in_use(now)] == epochs


# Forks.


def test_a_longer_log_extends_a_shorter_one() -> None:
    full = whole()
    for size in range(1, len(full.entries) + 1):
        full.check_extends(log_of(*full.entries[:size]))


def test_a_shorter_or_another_log_is_a_fork() -> None:
    full = whole()
    other = key_entry(2, generate_key().public, NOON + DAY)
    for fork in (
        log_of(K1),
        log_of(K1, K2),
        log_of(K1, other, *[end_entry(1, NOON + 2 * DAY)] * 1),
        log_of(key_entry(1, generate_key().public, NOON)),
        log_of(*full.entries[:-1], end_entry(1, NOON + 3 * DAY)),
    ):
        with pytest.raises(KeyLogForked):
            fork.check_extends(full)


# Tampering.


def resigned(entries: Sequence[bytes], key: SigningKey = LOG_KEY) -> str:
    """Entries of any kind, with a true signature: what the holder of the key can say."""
    note = sign(Checkpoint(key.name, len(entries), merkle_root(entries)), key)
    return "\n".join(entry.decode() for entry in entries) + "\n\n" + note


def test_another_key_s_signature_is_none() -> None:
    with pytest.raises(KeyLogError, match="not signed by its log"):
        KeyLog.open(resigned([K1], OTHER_KEY), LOG_KEY.verifier)
    elsewhere = SigningKey("other.test/token-keys", bytes(range(32)))
    with pytest.raises(KeyLogError, match="not signed by its log"):
        KeyLog.open(resigned([K1], elsewhere), LOG_KEY.verifier)


def test_any_changed_character_is_seen() -> None:
    text = whole().text
    chooser = random.Random(7)
    for at in chooser.sample(range(len(text)), 300):
        replacement = "0" if text[at] != "0" else "1"
        with pytest.raises(KeyLogError):
            KeyLog.open(text[:at] + replacement + text[at + 1 :], LOG_KEY.verifier)


@given(data=st.data())
@settings(max_examples=50, deadline=None)
def test_entries_cannot_be_left_out_added_or_change_places(data: st.DataObject) -> None:
    full = whole()
    body, note = full.text.split("\n\n", 1)
    lines = body.split("\n")
    changed = data.draw(st.lists(st.sampled_from(lines), min_size=1, max_size=7))
    text = "\n".join(changed) + "\n\n" + note
    if changed == lines:
        assert KeyLog.open(text, LOG_KEY.verifier) == full
    else:
        with pytest.raises(KeyLogError):
            KeyLog.open(text, LOG_KEY.verifier)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "{}",
        "{}\n\n",
        "\n\nnote",
        whole().text.replace("\n\n", "\n", 1),
        "x" * 4_000_001,
    ],
    ids=["empty", "lines", "no note", "empty note", "no entries", "no empty line", "too long"],
)
def test_what_is_no_log_is_refused(text: str) -> None:
    with pytest.raises(KeyLogError):
        KeyLog.open(text, LOG_KEY.verifier)


# What even the holder of the signing key cannot say.


def changed(entry: bytes, **fields: Any) -> bytes:
    """An entry with other fields, in canonical JSON."""
    content = json.loads(entry) | fields
    content = {name: value for name, value in content.items() if value is not None}
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


END = end_entry(1, NOON + DAY)
SPLIT = split_entry(1, 2, SPLIT_1)


def listed(change: Callable[[list[dict[str, Any]]], object]) -> bytes:
    """The split with another list of holders."""
    holders = json.loads(SPLIT)["holders"]
    change(holders)
    return changed(SPLIT, holders=holders)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([changed(K1, v=2)], "entry 0: version 2 is not known"),
        ([changed(K1, type="keys")], "type 'keys' is not known"),
        ([changed(K1, type=None)], "type None is not known"),
        ([changed(K1, more=1)], "its fields are not"),
        ([changed(K1, suite=None)], "its fields are not"),
        ([changed(K1, suite="P256-SHA256")], "suite is not ristretto255-SHA512"),
        ([changed(K1, epoch=0)], "epoch is not 1 to"),
        ([changed(K1, epoch=True)], "epoch is not 1 to"),
        ([changed(K1, epoch="1")], "epoch is not 1 to"),
        ([changed(K1, epoch=2**32)], "epoch is not 1 to"),
        ([changed(K1, public_key="00" * 32)], "not a canonical ristretto255 element"),
        ([changed(K1, public_key=bytes(FIRST.public).hex().upper())], "lower-case hexadecimal"),
        ([changed(K1, public_key=bytes(FIRST.public).hex()[2:])], "64 lower-case hexadecimal"),
        ([changed(K1, valid_from="2026-11-18T11:06:40Z")], "valid_from is not a time"),
        ([changed(K1, valid_from="2026-13-18T11:06:40.000000Z")], "entry 0"),
        ([changed(K1, valid_from=5)], "valid_from is not a time"),
        # Arabic-Indic digits, which int() would take.
        ([changed(K1, valid_from="٢٠26-11-18T11:06:40.000000Z")], "valid_from is not a time"),
        ([K1, K1], "entry 1: epoch 1 after epoch 1"),
        ([K1, changed(K2, epoch=3)], "epoch 3 after epoch 1"),
        ([K2, K1], "epoch 1 after epoch 2"),
        ([K1, key_entry(2, SECOND.public, NOON - 1)], "epoch 2 begins before epoch 1"),
        ([K1, key_entry(2, FIRST.public, NOON)], "the key of epoch 2 is that of epoch 1"),
        ([K1, K2, key_entry(3, FIRST.public, NOON + DAY)], "the key of epoch 3 is that of epoch 1"),
        ([END, K1], "entry 0: no key of epoch 1 before"),
        ([K1, END, END], "epoch 1 has its end already"),
        ([K1, end_entry(1, NOON)], "epoch 1 ends before it begins"),
        ([K1, end_entry(2, NOON + DAY)], "no key of epoch 2 before"),
        ([SPLIT, K1], "entry 0: no key of epoch 1 before"),
        ([K1, SPLIT, SPLIT], "epoch 1 is split already"),
        ([K1, changed(SPLIT, threshold=1)], "threshold 1 of 3 holders"),
        ([K1, changed(SPLIT, threshold=4)], "threshold 4 of 3 holders"),
        ([K1, changed(SPLIT, threshold=3)], "fewer than 3 shares make the key"),
        ([K1, changed(SPLIT, holders={})], "holders is no list"),
        ([K1, changed(SPLIT, holders=[])], "threshold 2 of 0 holders"),
        ([K1, changed(SPLIT, holders=[1, 2, 3])], "a holder has"),
        ([K1, listed(lambda holders: holders.reverse())], "not numbered from 1 on"),
        ([K1, listed(lambda holders: holders.pop(0))], "not numbered from 1 on"),
        ([K1, listed(lambda holders: holders[1].update(holder=3))], "not numbered from 1 on"),
        ([K1, listed(lambda holders: holders[1].update(holder=17))], "holder is not 1 to 16"),
        ([K1, listed(lambda holders: holders[1].pop("update_key"))], "a holder has"),
        ([K1, split_entry(2, 2, SPLIT_1)], "no key of epoch 2 before"),
        ([b"not json"], "entry 0"),
        ([b'{"v": 1}'], "entry 0"),
        ([b"[]"], "entry 0"),
    ],
)
def test_entries_that_cannot_stand_are_named(entries: list[bytes], message: str) -> None:
    with pytest.raises(KeyLogError) as opened:
        KeyLog.open(resigned(entries), LOG_KEY.verifier)
    with pytest.raises(KeyLogError) as made:
        KeyLog.signed(entries, LOG_KEY)
    assert message in str(opened.value)
    assert message in str(made.value)


@pytest.mark.parametrize("holder", [1, 2, 3])
def test_a_share_that_is_not_the_key_s_is_refused(holder: int) -> None:
    """The log itself shows that any holders together are the key, whoever dealt."""
    wrong = [
        Holder(one.holder, generate_key().public, None) if one.holder == holder else one
        for one in SPLIT_1
    ]
    with pytest.raises(KeyLogError, match="does not fit the key"):
        log_of(K1, split_entry(1, 2, wrong))


@pytest.mark.parametrize("holder", [1, 2, 3])
def test_a_share_of_the_ratio_that_is_not_the_ratio_s_is_refused(holder: int) -> None:
    for update_key in (generate_key().public, None):
        wrong = [
            Holder(one.holder, one.public_key, update_key) if one.holder == holder else one
            for one in SPLIT_2
        ]
        with pytest.raises(KeyLogError, match="the ratio's share"):
            log_of(K1, K2, split_entry(2, 2, wrong))


def test_a_ratio_of_a_lower_threshold_is_refused() -> None:
    shares = sharing.split(SECOND.secret, 3, 3)
    updates = sharing.split(RATIO, 2, 3)
    wrong = [
        Holder(share.holder, share.secret.public_key(), times(update.secret, FIRST.public))
        for share, update in zip(shares, updates, strict=True)
    ]
    with pytest.raises(KeyLogError, match="fewer than 3 shares make the ratio"):
        log_of(K1, K2, split_entry(2, 3, wrong))


def test_the_first_epoch_has_no_ratio() -> None:
    wrong = [Holder(one.holder, one.public_key, one.public_key) for one in SPLIT_1]
    with pytest.raises(KeyLogError, match="a ratio to an epoch that is not there"):
        log_of(K1, split_entry(1, 2, wrong))


def test_a_key_whose_ratio_is_gone_can_be_split() -> None:
    without = [Holder(one.holder, one.public_key, None) for one in SPLIT_2]
    key = log_of(K1, K2, split_entry(2, 2, without)).key(2)
    assert key is not None
    assert [one.update_key for one in key.holders] == [None, None, None]


@given(moment=st.integers(0, 253_402_300_799_999_999))
def test_moments_go_through_unchanged(moment: int) -> None:
    [key] = log_of(key_entry(1, FIRST.public, moment)).keys
    assert key.valid_from == moment


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_every_deal_is_accepted(data: st.DataObject) -> None:
    holders = data.draw(st.integers(2, 8))
    threshold = data.draw(st.integers(2, holders))
    log = log_of(
        K1,
        K2,
        split_entry(2, threshold, dealt(SECOND.secret, threshold, holders, RATIO, FIRST.public)),
    )
    assert KeyLog.open(log.text, LOG_KEY.verifier).keys == log.keys
