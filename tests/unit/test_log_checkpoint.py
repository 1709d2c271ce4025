"""Keys, signed notes and checkpoints."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concordat_privacy.log.checkpoint import (
    Checkpoint,
    SigningKey,
    VerifierKey,
    open_note,
    parse_checkpoint,
    sign,
)
from concordat_privacy.log.errors import CheckpointError
from concordat_privacy.log.signed_note import parse_note

ORIGIN = "concordat.example/ledger"
KEY = SigningKey(ORIGIN, bytes(range(32)))
CHECKPOINT = Checkpoint(ORIGIN, 20_852_163, bytes(range(32)))
NOTE = sign(CHECKPOINT, KEY)
BODY, SIGNATURE = NOTE.split("\n\n")

# The published example of the signed-note format, by the authors of the Go checksum database.
EXAMPLE_SKEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
EXAMPLE_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
EXAMPLE_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
EXAMPLE_SIGNATURE = (
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
)


def test_the_published_example() -> None:
    signer, verifier = SigningKey.decode(EXAMPLE_SKEY), VerifierKey.decode(EXAMPLE_VKEY)
    assert signer.verifier == verifier
    assert (signer.encode(), verifier.encode()) == (EXAMPLE_SKEY, EXAMPLE_VKEY)
    note = parse_note(f"{EXAMPLE_TEXT}\n— PeterNeumann {EXAMPLE_SIGNATURE}\n")
    (line,) = note.signatures
    assert note.text == EXAMPLE_TEXT
    assert line.key_id == verifier.key_id
    assert verifier.verify(note.text.encode(), line.signature)
    assert signer.sign(note.text.encode()) == line.signature


def test_a_signed_checkpoint_opens() -> None:
    assert f"{ORIGIN}\n20852163\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=" == BODY
    assert open_note(NOTE, [KEY.verifier]) == CHECKPOINT


def test_extension_lines_are_signed_and_kept() -> None:
    extended = Checkpoint(ORIGIN, 1, bytes(32), ("time 2026", "more"))
    assert open_note(sign(extended, KEY), [KEY.verifier]) == extended


@given(st.data())
def test_every_changed_character_is_noticed(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(NOTE) - 1))
    character = data.draw(st.characters())
    changed = NOTE[:at] + character + NOTE[at + 1 :]
    if changed == NOTE:
        return
    with pytest.raises(CheckpointError):
        open_note(changed, [KEY.verifier])


def test_signatures_of_unknown_keys_are_ignored_wherever_they_stand() -> None:
    witness = SigningKey("witness.example", bytes(32))
    line = base64.b64encode(witness.verifier.key_id + witness.sign(b"another text")).decode()
    foreign = f"— witness.example {line}\n"
    for text in (NOTE + foreign, f"{BODY}\n\n{foreign}{SIGNATURE}"):
        assert open_note(text, [KEY.verifier]) == CHECKPOINT


def test_a_wrong_signature_of_a_known_key_is_never_ignored() -> None:
    witness = SigningKey("witness.example", bytes(32))
    line = base64.b64encode(witness.verifier.key_id + witness.sign(b"another text")).decode()
    with pytest.raises(CheckpointError, match=r"'witness\.example' does not verify"):
        open_note(f"{NOTE}— witness.example {line}\n", [KEY.verifier, witness.verifier])


def test_a_witness_alone_does_not_make_a_checkpoint() -> None:
    witness = SigningKey("witness.example", bytes(32))
    body = CHECKPOINT.body()
    line = base64.b64encode(witness.verifier.key_id + witness.sign(body.encode())).decode()
    with pytest.raises(CheckpointError, match="not signed by its log"):
        open_note(f"{body}\n— witness.example {line}\n", [KEY.verifier, witness.verifier])


def test_another_key_of_the_same_name_is_unknown() -> None:
    other = SigningKey(ORIGIN, bytes(32)).verifier
    with pytest.raises(CheckpointError, match="not signed by its log") as refused:
        open_note(NOTE, [other])
    # The names are the same, so it is the key ids that tell.
    assert f"known keys: {ORIGIN}+{other.key_id.hex()}" in str(refused.value)
    assert f"signed by: {ORIGIN}+{KEY.verifier.key_id.hex()}" in str(refused.value)
    with pytest.raises(CheckpointError, match="known keys: none"):
        open_note(NOTE, [])


def test_a_log_signs_only_its_own_checkpoints() -> None:
    with pytest.raises(CheckpointError):
        sign(Checkpoint("another.example", 0, bytes(32)), KEY)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no empty line"),
        (BODY + "\n", "no empty line"),
        (BODY + "\n\n", "no signature"),
        (NOTE[:-1], "no newline"),
        (NOTE + "\n", "no signature"),
        (NOTE + "junk\n", "not a signature line"),
        (NOTE.replace("— ", "- "), "not a signature line"),
        (NOTE.replace("\n", "\r\n"), "control character"),
        (NOTE.replace("2", "\t", 1), "control character"),
        (f"{BODY}\n\n— {ORIGIN}\n", "has no signature"),
        (f"{BODY}\n\n— {ORIGIN} AAAA\n", "too short"),
        (f"{BODY}\n\n— {ORIGIN} !!!!\n", "not base64"),
        (f"{BODY}\n\n— {ORIGIN} AAAAAAB=\n", "not canonical base64"),
        (f"{BODY}\n\n—  AAAAAAA=\n", "is not a name"),
        (NOTE + SIGNATURE * 100, "more than 100 signatures"),
        (NOTE + "\ud800\n", "surrogate"),
    ],
)
def test_a_malformed_note_is_refused(text: str, reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason):
        open_note(text, [KEY.verifier])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (f"{ORIGIN}\n15\n", "a line each"),
        (f"\n15\n{'A' * 43}=\n", "origin is empty"),
        (f"{ORIGIN}\n015\n{'A' * 43}=\n", "not a size"),
        (f"{ORIGIN}\n+15\n{'A' * 43}=\n", "not a size"),
        (f"{ORIGIN}\n-1\n{'A' * 43}=\n", "not a size"),
        (f"{ORIGIN}\n１5\n{'A' * 43}=\n", "not a size"),
        (f"{ORIGIN}\n9999999999999999999\n{'A' * 43}=\n", "out of range"),
        (f"{ORIGIN}\n15\n{'A' * 43}\n", "not base64"),
        (f"{ORIGIN}\n15\n{'A' * 42}B=\n", "not canonical base64"),
        (f"{ORIGIN}\n15\nAAAA\n", "3 bytes, wants 32"),
        (f"{ORIGIN}\n15\n{'A' * 43}=\n\n", "not one line"),
        (f"{ORIGIN}\n15\n{'A' * 43}=", "no newline"),
    ],
)
def test_a_malformed_checkpoint_is_refused(body: str, reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason):
        parse_checkpoint(body)


def test_a_key_has_a_fingerprint_for_people() -> None:
    # Made with: printf %s VKEY | sha256sum | cut -c 1-32
    key = VerifierKey.decode(EXAMPLE_VKEY)
    assert key.fingerprint == "a82f 24c4 8c9e e106 dd11 952a 8026 e14f"


@pytest.mark.parametrize(
    ("vkey", "reason"),
    [
        ("", "joined by"),
        ("name+c74f20a3", "joined by"),
        (EXAMPLE_VKEY.replace("c74f20a3", "c74f20a4"), "key id is c74f20a3"),
        (EXAMPLE_VKEY.replace("c74f20a3", "C74F20A3"), "lower-case"),
        (EXAMPLE_VKEY.replace("PeterNeumann", "Peter Neumann"), "not a name"),
        (EXAMPLE_VKEY.replace("+ARpc", "+ABpc"), "algorithm 1 is wanted, not of 0"),
        (EXAMPLE_VKEY[:-4], "32 bytes, not 29"),
        (EXAMPLE_VKEY + "!", "not base64"),
    ],
)
def test_a_malformed_key_is_refused(vkey: str, reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason):
        VerifierKey.decode(vkey)


def test_the_private_key_shows_in_no_text() -> None:
    seed = KEY.seed
    texts = [repr(KEY), str(KEY)]
    for broken in (
        KEY.encode()[:-4],
        KEY.encode().replace("PRIVATE", "PUBLIC"),
        KEY.encode() + "=",
    ):
        with pytest.raises(CheckpointError) as caught:
            SigningKey.decode(broken)
        texts.append(str(caught.value))
    for text in texts:
        assert repr(seed)[2:-1] not in text
        assert seed.hex() not in text
        assert base64.b64encode(b"\x01" + seed).decode()[:16] not in text


def test_generate_takes_its_randomness_from_the_caller() -> None:
    assert SigningKey.generate(ORIGIN, lambda count: bytes(range(count))) == KEY
    assert SigningKey.generate(ORIGIN) != SigningKey.generate(ORIGIN)
