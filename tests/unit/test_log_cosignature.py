"""Hostile cosignatures and notes: what counts, and for whom (C2SP tlog-cosignature)."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concordat_privacy.log.checkpoint import (
    Checkpoint,
    CheckpointError,
    SigningKey,
    VerifierKey,
    open_note,
    sign,
)
from concordat_privacy.log.cosignature import (
    Quorum,
    WitnessKey,
    WitnessSigningKey,
    cosignatures,
    parse_line,
    with_cosignatures,
)

LOG = SigningKey("example.com/behind-the-sofa", bytes(range(32)))
CHECKPOINT = Checkpoint(LOG.name, 20_852_163, bytes(range(32)))
NOTE = sign(CHECKPOINT, LOG)
BODY = CHECKPOINT.body()
ONE, TWO, THREE = (WitnessSigningKey(f"witness.example/w{n}", bytes([n] * 32)) for n in (1, 2, 3))
WITNESSES = (ONE.verifier, TWO.verifier, THREE.verifier)
TIME = 1_679_315_147


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
