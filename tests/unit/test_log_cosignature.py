"""Cosignatures, honest and hostile: what counts, and for whom (C2SP tlog-cosignature)."""

import base64
import hashlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from concordat_privacy.log.checkpoint import Checkpoint, SigningKey, VerifierKey, open_note, sign
from concordat_privacy.log.cosignature import (
    Quorum,
    WitnessKey,
    WitnessSigningKey,
    cosignatures,
    parse_line,
    with_cosignatures,
)
from concordat_privacy.log.errors import CheckpointError

LOG = SigningKey("example.com/behind-the-sofa", bytes(range(32)))
CHECKPOINT = Checkpoint(LOG.name, 20_852_163, bytes(range(32)))
NOTE = sign(CHECKPOINT, LOG)
BODY = CHECKPOINT.body()
ONE, TWO, THREE = (WitnessSigningKey(f"witness.example/w{n}", bytes([n] * 32)) for n in (1, 2, 3))
WITNESSES = (ONE.verifier, TWO.verifier, THREE.verifier)
TIME = 1_679_315_147


def test_a_cosignature_is_what_the_specification_writes() -> None:
    """Key id, message and bytes, put together by hand."""
    line = ONE.cosign(BODY, 1_679_315_147)
    private = Ed25519PrivateKey.from_private_bytes(ONE.seed)
    public = private.public_key().public_bytes_raw()
    key_id = hashlib.sha256(b"witness.example/w1\n\x04" + public).digest()[:4]
    message = b"cosignature/v1\ntime 1679315147\n" + BODY.encode()
    raw = key_id + (1_679_315_147).to_bytes(8, "big") + private.sign(message)
    assert line == f"— witness.example/w1 {base64.b64encode(raw).decode()}\n"
    vkey = base64.b64encode(b"\x04" + public).decode()
    assert ONE.verifier.encode() == f"witness.example/w1+{key_id.hex()}+{vkey}"


def test_keys_survive_their_texts() -> None:
    assert WitnessKey.decode(ONE.verifier.encode()) == ONE.verifier
    assert WitnessSigningKey.decode(ONE.encode()) == ONE
    assert ONE.seed.hex() not in repr(ONE)


def test_cosigned_notes_are_still_the_log_s() -> None:
    lines = [key.cosign(BODY, 1000 + at) for at, key in enumerate((ONE, TWO))]
    cosigned = with_cosignatures(NOTE, lines)
    assert cosigned.startswith(NOTE)
    assert cosignatures(cosigned, [ONE.verifier, TWO.verifier]) == {
        "witness.example/w1": 1000,
        "witness.example/w2": 1001,
    }
    assert with_cosignatures(cosigned, lines) == cosigned


def test_a_wrong_cosignature_of_a_known_witness_is_never_ignored() -> None:
    other = ONE.cosign(Checkpoint(LOG.name, 5, bytes(32)).body(), 1000)
    with pytest.raises(CheckpointError, match=r"'witness\.example/w1' does not verify"):
        cosignatures(NOTE + other, [ONE.verifier])


def test_strangers_do_not_count() -> None:
    stranger = replace(THREE, name="witness.example/w1")
    with pytest.raises(CheckpointError, match="found 0"):
        Quorum((ONE.verifier,), 1).check(NOTE + stranger.cosign(BODY, 5))


@pytest.mark.parametrize(
    ("witnesses", "needed"),
    [
        ((ONE.verifier,), 2),
        ((ONE.verifier, ONE.verifier), 1),
        ((ONE.verifier, WitnessKey("witness.example/w3", ONE.verifier.public)), 1),
    ],
)
def test_a_quorum_that_cannot_mean_what_it_says_is_refused(
    witnesses: tuple[WitnessKey, ...], needed: int
) -> None:
    with pytest.raises(CheckpointError, match="quorum"):
        Quorum(witnesses, needed)


def test_keys_of_both_kinds_are_told_apart_by_their_type() -> None:
    same = VerifierKey(ONE.name, ONE.verifier.public)
    assert same.key_id != ONE.verifier.key_id
    with pytest.raises(CheckpointError):
        WitnessKey.decode(same.encode())
    with pytest.raises(CheckpointError):
        VerifierKey.decode(ONE.verifier.encode())
    with pytest.raises(CheckpointError):
        WitnessSigningKey.decode(LOG.encode())
    assert repr(ONE.seed) not in repr(ONE)


def test_a_witness_cannot_stand_in_for_the_log() -> None:
    impostor = WitnessSigningKey(LOG.name, LOG.seed)
    alone = f"{BODY}\n{impostor.cosign(BODY, TIME)}"
    assert cosignatures(alone, [impostor.verifier]) == {LOG.name: TIME}
    with pytest.raises(CheckpointError, match="not signed by its log"):
        open_note(alone, [LOG.verifier])


def test_one_witness_counts_once_however_often_it_signs() -> None:
    twice = with_cosignatures(NOTE, [ONE.cosign(BODY, TIME), ONE.cosign(BODY, TIME + 60)])
    assert cosignatures(twice, WITNESSES) == {ONE.name: TIME + 60}
    with pytest.raises(CheckpointError, match="2 cosignatures are needed"):
        Quorum(WITNESSES, 2).check(twice)


def test_one_key_under_two_names_is_no_second_witness() -> None:
    alias = WitnessSigningKey("witness.example/other", ONE.seed)
    with pytest.raises(CheckpointError, match="one key"):
        Quorum((ONE.verifier, alias.verifier), 2)


@given(st.integers(0, 75), st.integers(0, 7))
def test_a_cosignature_with_any_bit_changed_counts_for_nothing(at: int, bit: int) -> None:
    raw = bytearray(base64.b64decode(ONE.cosign(BODY, TIME).split(" ")[2]))
    raw[at] ^= 1 << bit
    note = NOTE + f"— {ONE.name} {base64.b64encode(raw).decode()}\n"
    if at < 4:
        assert cosignatures(note, WITNESSES) == {}
    else:
        with pytest.raises(CheckpointError):
            cosignatures(note, WITNESSES)


def test_times_beyond_what_the_format_has_are_refused() -> None:
    for wrong in (-1, 2**63):
        with pytest.raises(CheckpointError, match="no possible time"):
            ONE.cosign(BODY, wrong)
    last = NOTE + ONE.cosign(BODY, 2**63 - 1)
    assert cosignatures(last, WITNESSES) == {ONE.name: 2**63 - 1}
    raw = ONE.verifier.key_id + bytes([255] * 8) + bytes(64)
    beyond = NOTE + f"— {ONE.name} {base64.b64encode(raw).decode()}\n"
    with pytest.raises(CheckpointError, match="no possible time"):
        cosignatures(beyond, WITNESSES)


def test_extension_lines_are_cosigned() -> None:
    extended = Checkpoint(LOG.name, 1, bytes(32), ("more",))
    note = sign(extended, LOG)
    assert cosignatures(note + ONE.cosign(extended.body(), TIME), WITNESSES) == {ONE.name: TIME}
    without = Checkpoint(LOG.name, 1, bytes(32)).body()
    with pytest.raises(CheckpointError, match="does not verify"):
        cosignatures(note + ONE.cosign(without, TIME), WITNESSES)


@pytest.mark.parametrize(
    "text",
    [
        ONE.cosign(BODY, TIME) + TWO.cosign(BODY, TIME),
        ONE.cosign(BODY, TIME)[:-1],
        "junk\n\n" + ONE.cosign(BODY, TIME),
        "\n" + ONE.cosign(BODY, TIME),
        ONE.cosign(BODY, TIME) + "\n",
        "",
        "\n",
        "— witness.example/w1\n",
    ],
)
def test_what_is_not_one_signature_line_is_refused(text: str) -> None:
    """A note to which it were added would be another note."""
    with pytest.raises(CheckpointError):
        parse_line(text)
