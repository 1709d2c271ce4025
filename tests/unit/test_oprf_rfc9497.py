"""RFC 9497 Appendix A.1: the published values for ristretto255-SHA512, OPRF and VOPRF."""

import hashlib
from dataclasses import dataclass

import pytest

from concordat_privacy.oprf import (
    KeyPair,
    Mode,
    blind_batch,
    derive_key_pair,
    evaluate_batch,
    evaluate_batch_unproven,
    finalize_batch,
    finalize_batch_unproven,
    protocol,
)
from concordat_privacy.oprf.suite import DOMAINS, expand_message_xmd

SEED = bytes.fromhex("a3" * 32)
KEY_INFO = b"test key"
SECRET = {
    Mode.OPRF: "5ebcea5ee37023ccb9fc2d2019f9d7737be85591ae8652ffa9ef0f4d37063b0e",
    Mode.VOPRF: "e6f73f344b79b379f1a0dd37e07ff62e38d9f71345ce62ae3a9bc60b04ccd909",
}
PUBLIC = "c803e2cc6b05fc15064549b5920659ca4a77b2cca6f04f6b357009335476ad4e"


@dataclass(frozen=True)
class Case:
    """One test vector; packed fields are hexadecimal."""

    mode: Mode
    inputs: tuple[str, ...]
    blinds: str
    blinded: str
    evaluated: str
    outputs: tuple[str, ...]
    proof: str = ""
    proof_scalar: str = ""


CASES = {
    "A.1.1.1": Case(
        Mode.OPRF,
        inputs=("00",),
        blinds="64d37aed22a27f5191de1c1d69fadb899d8862b58eb4220029e036ec4c1f6706",
        blinded="609a0ae68c15a3cf6903766461307e5c8bb2f95e7e6550e1ffa2dc99e412803c",
        evaluated="7ec6578ae5120958eb2db1745758ff379e77cb64fe77b0b2d8cc917ea0869c7e",
        outputs=(
            (
                "527759c3d9366f277d8c6020418d96bb393ba2afb20ff90df23fb7708264e2f3"
                "ab9135e3bd69955851de4b1f9fe8a0973396719b7912ba9ee8aa7d0b5e24bcf6"
            ),
        ),
    ),
    "A.1.1.2": Case(
        Mode.OPRF,
        inputs=("5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a",),
        blinds="64d37aed22a27f5191de1c1d69fadb899d8862b58eb4220029e036ec4c1f6706",
        blinded="da27ef466870f5f15296299850aa088629945a17d1f5b7f5ff043f76b3c06418",
        evaluated="b4cbf5a4f1eeda5a63ce7b77c7d23f461db3fcab0dd28e4e17cecb5c90d02c25",
        outputs=(
            (
                "f4a74c9c592497375e796aa837e907b1a045d34306a749db9f34221f7e750cb4"
                "f2a6413a6bf6fa5e19ba6348eb673934a722a7ede2e7621306d18951e7cf2c73"
            ),
        ),
    ),
    "A.1.2.1": Case(
        Mode.VOPRF,
        inputs=("00",),
        blinds="64d37aed22a27f5191de1c1d69fadb899d8862b58eb4220029e036ec4c1f6706",
        blinded="863f330cc1a1259ed5a5998a23acfd37fb4351a793a5b3c090b642ddc439b945",
        evaluated="aa8fa048764d5623868679402ff6108d2521884fa138cd7f9c7669a9a014267e",
        outputs=(
            (
                "b58cfbe118e0cb94d79b5fd6a6dafb98764dff49c14e1770b566e42402da1a7d"
                "a4d8527693914139caee5bd03903af43a491351d23b430948dd50cde10d32b3c"
            ),
        ),
        proof=(
            "ddef93772692e535d1a53903db24367355cc2cc78de93b3be5a8ffcc6985dd06"
            "6d4346421d17bf5117a2a1ff0fcb2a759f58a539dfbe857a40bce4cf49ec600d"
        ),
        proof_scalar="222a5e897cf59db8145db8d16e597e8facb80ae7d4e26d9881aa6f61d645fc0e",
    ),
    "A.1.2.2": Case(
        Mode.VOPRF,
        inputs=("5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a",),
        blinds="64d37aed22a27f5191de1c1d69fadb899d8862b58eb4220029e036ec4c1f6706",
        blinded="cc0b2a350101881d8a4cba4c80241d74fb7dcbfde4a61fde2f91443c2bf9ef0c",
        evaluated="60a59a57208d48aca71e9e850d22674b611f752bed48b36f7a91b372bd7ad468",
        outputs=(
            (
                "8a9a2f3c7f085b65933594309041fc1898d42d0858e59f90814ae90571a6df60"
                "356f4610bf816f27afdd84f47719e480906d27ecd994985890e5f539e7ea74b6"
            ),
        ),
        proof=(
            "401a0da6264f8cf45bb2f5264bc31e109155600babb3cd4e5af7d181a2c9dc0a"
            "67154fabf031fd936051dec80b0b6ae29c9503493dde7393b722eafdf5a50b02"
        ),
        proof_scalar="222a5e897cf59db8145db8d16e597e8facb80ae7d4e26d9881aa6f61d645fc0e",
    ),
    "A.1.2.3": Case(
        Mode.VOPRF,
        inputs=(
            "00",
            "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a",
        ),
        blinds=(
            "64d37aed22a27f5191de1c1d69fadb899d8862b58eb4220029e036ec4c1f6706"
            "222a5e897cf59db8145db8d16e597e8facb80ae7d4e26d9881aa6f61d645fc0e"
        ),
        blinded=(
            "863f330cc1a1259ed5a5998a23acfd37fb4351a793a5b3c090b642ddc439b945"
            "90a0145ea9da29254c3a56be4fe185465ebb3bf2a1801f7124bbbadac751e654"
        ),
        evaluated=(
            "aa8fa048764d5623868679402ff6108d2521884fa138cd7f9c7669a9a014267e"
            "cc5ac221950a49ceaa73c8db41b82c20372a4c8d63e5dded2db920b7eee36a2a"
        ),
        outputs=(
            (
                "b58cfbe118e0cb94d79b5fd6a6dafb98764dff49c14e1770b566e42402da1a7d"
                "a4d8527693914139caee5bd03903af43a491351d23b430948dd50cde10d32b3c"
            ),
            (
                "8a9a2f3c7f085b65933594309041fc1898d42d0858e59f90814ae90571a6df60"
                "356f4610bf816f27afdd84f47719e480906d27ecd994985890e5f539e7ea74b6"
            ),
        ),
        proof=(
            "cc203910175d786927eeb44ea847328047892ddf8590e723c37205cb74600b0a"
            "5ab5337c8eb4ceae0494c2cf89529dcf94572ed267473d567aeed6ab873dee08"
        ),
        proof_scalar="419c4f4f5052c53c45f3da494d2b67b220d02118e0857cdbcf037f9ea84bbe0c",
    ),
}


@pytest.fixture(params=list(CASES.values()), ids=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    assert isinstance(request.param, Case)
    return request.param


def key_pair(mode: Mode) -> KeyPair:
    return derive_key_pair(SEED, KEY_INFO, mode)


def run(case: Case) -> tuple[bytes, bytes, bytes]:
    """Blinded elements, evaluated elements and proof (empty in mode OPRF)."""
    secret = key_pair(case.mode).secret
    inputs = [bytes.fromhex(value) for value in case.inputs]
    _, blinded = blind_batch(inputs, mode=case.mode, blinds=bytes.fromhex(case.blinds))
    if case.mode is Mode.OPRF:
        return blinded, evaluate_batch_unproven(secret, blinded), b""
    evaluated, proof = evaluate_batch(
        secret, blinded, proof_scalar=bytes.fromhex(case.proof_scalar)
    )
    return blinded, evaluated, proof


@pytest.mark.parametrize("mode", Mode)
def test_derived_key(mode: Mode) -> None:
    assert bytes(key_pair(mode).secret).hex() == SECRET[mode]


def test_public_key() -> None:
    assert bytes(key_pair(Mode.VOPRF).public).hex() == PUBLIC


def test_blind_evaluate_and_proof(case: Case) -> None:
    blinded, evaluated, proof = run(case)
    assert blinded.hex() == case.blinded
    assert evaluated.hex() == case.evaluated
    assert proof.hex() == case.proof


def test_finalize_gives_the_outputs(case: Case) -> None:
    inputs = [bytes.fromhex(value) for value in case.inputs]
    outputs = protocol.finalize(inputs, bytes.fromhex(case.blinds), bytes.fromhex(case.evaluated))
    assert [output.hex() for output in outputs] == list(case.outputs)


def test_an_output_is_the_hash_over_the_token(case: Case) -> None:
    inputs = [bytes.fromhex(value) for value in case.inputs]
    state, _ = blind_batch(inputs, mode=case.mode, blinds=bytes.fromhex(case.blinds))
    evaluated = bytes.fromhex(case.evaluated)
    if case.mode is Mode.OPRF:
        elements = finalize_batch_unproven(state, evaluated)
    else:
        public = key_pair(Mode.VOPRF).public
        elements = finalize_batch(state, evaluated, bytes.fromhex(case.proof), public)
    hashed = [
        hashlib.sha512(
            len(value).to_bytes(2, "big") + value + b"\x00\x20" + element + b"Finalize"
        ).hexdigest()
        for value, element in zip(inputs, elements, strict=True)
    ]
    assert hashed == list(case.outputs)


@pytest.mark.parametrize(
    ("mode", "group_dst"),
    [
        (
            Mode.OPRF,
            "48617368546f47726f75702d4f50524656312d002d72697374726574746f3235352d534841353132",
        ),
        (
            Mode.VOPRF,
            "48617368546f47726f75702d4f50524656312d012d72697374726574746f3235352d534841353132",
        ),
    ],
)
def test_domain_separation(mode: Mode, group_dst: str) -> None:
    assert DOMAINS[mode].group_dst.hex() == group_dst


@pytest.mark.parametrize(
    ("message", "length", "expected"),
    [
        (b"", 32, "6b9a7312411d92f921c6f68ca0b6380730a1a4d982c507211a90964c394179ba"),
        (b"abc", 32, "0da749f12fbe5483eb066a5f595055679b976e93abe9be6f0f6318bce7aca8dc"),
        (
            b"",
            128,
            "41b037d1734a5f8df225dd8c7de38f851efdb45c372887be655212d07251b921"
            "b052b62eaed99b46f72f2ef4cc96bfaf254ebbbec091e1a3b9e4fb5e5b619d2e"
            "0c5414800a1d882b62bb5cd1778f098b8eb6cb399d5d9d18f5d5842cf5d13d7e"
            "b00a7cff859b605da678b318bd0e65ebff70bec88c753b159a805d2c89c55961",
        ),
    ],
)
def test_expand_message_xmd_of_rfc_9380_appendix_k3(
    message: bytes, length: int, expected: str
) -> None:
    dst = b"QUUX-V01-CS02-with-expander-SHA512-256"
    assert expand_message_xmd(message, dst, length).hex() == expected
