"""Witnesses' keys and cosignatures (C2SP tlog-cosignature)."""

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from concordat_privacy.log.checkpoint import (
    Checkpoint,
    CheckpointError,
    SigningKey,
    VerifierKey,
    open_note,
    parse_note,
    sign,
)
from concordat_privacy.log.cosignature import (
    MAX_TIMESTAMP,
    WitnessKey,
    WitnessSigningKey,
    add_lines,
    check_witnesses,
    decode_key,
    open_cosigned,
    parse_line,
)

LOG = SigningKey("example.com/behind-the-sofa", bytes(range(32)))
CHECKPOINT = Checkpoint(LOG.name, 20_852_163, bytes(range(32)))
NOTE = sign(CHECKPOINT, LOG)
BODY = CHECKPOINT.body()
ONE, TWO, THREE = (WitnessSigningKey(f"witness.example/w{n}", bytes([n] * 32)) for n in (1, 2, 3))
WITNESSES = [key.verifier for key in (ONE, TWO, THREE)]
TIME = 1_679_315_147


def test_a_cosignature_is_what_the_specification_says_byte_by_byte() -> None:
    private = Ed25519PrivateKey.from_private_bytes(bytes([1] * 32))
    public = private.public_key().public_bytes_raw()
    key_id = hashlib.sha256(b"witness.example/w1\n\x04" + public).digest()[:4]
    message = b"cosignature/v1\ntime 1679315147\n" + BODY.encode()
    raw = key_id + TIME.to_bytes(8, "big")
    raw += private.sign(message)
    assert len(raw) == 76
    assert ONE.cosign(BODY, TIME) == f"— witness.example/w1 {base64.b64encode(raw).decode()}\n"
    assert ONE.verifier.encode() == (
        f"witness.example/w1+{key_id.hex()}+{base64.b64encode(bytes([4]) + public).decode()}"
    )


def test_keys_of_both_kinds_are_told_apart_by_their_type() -> None:
    same = VerifierKey(ONE.name, ONE.verifier.public)
    assert same.key_id != ONE.verifier.key_id
    assert decode_key(same.encode()) == same
    assert decode_key(ONE.verifier.encode()) == ONE.verifier
    assert WitnessSigningKey.decode(ONE.encode()) == ONE
    with pytest.raises(CheckpointError, match="algorithm 4"):
        WitnessKey.decode(same.encode())
    with pytest.raises(CheckpointError, match="algorithm 1"):
        VerifierKey.decode(ONE.verifier.encode())
    with pytest.raises(CheckpointError, match="algorithm 4"):
        WitnessSigningKey.decode(LOG.encode())
    assert ONE.encode() not in repr(ONE)
    assert repr(ONE.seed) not in repr(ONE)


def test_a_cosigned_checkpoint_is_still_the_logs_note() -> None:
    cosigned = add_lines(NOTE, [ONE.cosign(BODY, TIME), TWO.cosign(BODY, TIME + 1)])
    assert open_note(cosigned, [LOG.verifier]) == CHECKPOINT
    opened = open_cosigned(cosigned, LOG.verifier, WITNESSES, quorum=2)
    assert opened.checkpoint == CHECKPOINT
    assert opened.timestamps == {ONE.verifier: TIME, TWO.verifier: TIME + 1}


def test_too_few_witnesses_are_told_by_name() -> None:
    cosigned = add_lines(NOTE, [ONE.cosign(BODY, TIME)])
    with pytest.raises(
        CheckpointError, match=r"2 known witnesses wanted.*by 1: witness.example/w1"
    ):
        open_cosigned(cosigned, LOG.verifier, WITNESSES, quorum=2)
    with pytest.raises(CheckpointError, match="1 known witnesses wanted, cosigned by 0: none"):
        open_cosigned(cosigned, LOG.verifier, [THREE.verifier], quorum=1)


def test_one_witness_counts_once_however_often_it_signs() -> None:
    twice = add_lines(NOTE, [ONE.cosign(BODY, TIME), ONE.cosign(BODY, TIME + 60)])
    assert open_cosigned(twice, LOG.verifier, WITNESSES).timestamps == {ONE.verifier: TIME + 60}
    with pytest.raises(CheckpointError, match="wanted"):
        open_cosigned(twice, LOG.verifier, WITNESSES, quorum=2)


def test_one_key_under_two_names_does_not_count_twice() -> None:
    alias = WitnessSigningKey("witness.example/other", ONE.seed)
    with pytest.raises(CheckpointError, match="same key"):
        check_witnesses([ONE.verifier, alias.verifier])
    both = add_lines(NOTE, [ONE.cosign(BODY, TIME), alias.cosign(BODY, TIME)])
    with pytest.raises(CheckpointError, match="same key"):
        open_cosigned(both, LOG.verifier, [ONE.verifier, alias.verifier], quorum=2)


def test_a_witness_cannot_stand_in_for_the_log() -> None:
    impostor = WitnessSigningKey(LOG.name, LOG.seed)
    alone = f"{BODY}\n{impostor.cosign(BODY, TIME)}"
    with pytest.raises(CheckpointError, match="not signed by its log"):
        open_cosigned(alone, LOG.verifier, [impostor.verifier])


def test_a_wrong_cosignature_of_a_known_witness_is_never_ignored() -> None:
    other = Checkpoint(LOG.name, CHECKPOINT.size, bytes(32)).body()
    forged = add_lines(NOTE, [ONE.cosign(other, TIME)])
    with pytest.raises(CheckpointError, match=r"w1.*does not verify"):
        open_cosigned(forged, LOG.verifier, WITNESSES)
    assert open_cosigned(forged, LOG.verifier, [TWO.verifier]).timestamps == {}


@given(st.integers(0, 75), st.integers(0, 7))
def test_a_cosignature_with_any_bit_changed_counts_for_nothing(at: int, bit: int) -> None:
    raw = bytearray(base64.b64decode(ONE.cosign(BODY, TIME).split(" ")[2]))
    raw[at] ^= 1 << bit
    line = parse_line(f"— {ONE.name} {base64.b64encode(raw).decode()}\n")
    with pytest.raises(CheckpointError):
        ONE.verifier.timestamp(BODY, line)


def test_times_beyond_what_the_format_has_are_refused() -> None:
    for wrong in (-1, MAX_TIMESTAMP + 1):
        with pytest.raises(CheckpointError, match="out of range"):
            ONE.cosign(BODY, wrong)
    line = parse_line(ONE.cosign(BODY, MAX_TIMESTAMP))
    assert ONE.verifier.timestamp(BODY, line) == MAX_TIMESTAMP
    raw = ONE.verifier.key_id + bytes([255] * 8) + bytes(64)
    beyond = parse_line(f"— {ONE.name} {base64.b64encode(raw).decode()}")
    with pytest.raises(CheckpointError, match="out of range"):
        ONE.verifier.timestamp(BODY, beyond)


def test_extension_lines_are_cosigned() -> None:
    extended = Checkpoint(LOG.name, 1, bytes(32), ("more",))
    note = add_lines(sign(extended, LOG), [ONE.cosign(extended.body(), TIME)])
    assert open_cosigned(note, LOG.verifier, WITNESSES, 1).checkpoint == extended
    plain = add_lines(
        sign(extended, LOG), [ONE.cosign(Checkpoint(LOG.name, 1, bytes(32)).body(), 1)]
    )
    with pytest.raises(CheckpointError, match="does not verify"):
        open_cosigned(plain, LOG.verifier, WITNESSES)


def test_two_lines_are_not_one_cosignature() -> None:
    with pytest.raises(CheckpointError, match="one line"):
        parse_line(ONE.cosign(BODY, TIME) + TWO.cosign(BODY, TIME))
    assert parse_note(add_lines(NOTE, [ONE.cosign(BODY, TIME)])).text == BODY
