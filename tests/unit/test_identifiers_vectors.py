"""The published golden vectors hold: one divergence between clients is a silent non-match.

``python -m tests.unit.test_identifiers_vectors`` writes the file anew after a kind was added; a
changed line of an existing kind is a break and needs a new version of that kind instead.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from concordat_privacy.identifiers import DEFAULT_REGISTRY, IdentifierInvalid, oprf_input
from concordat_privacy.oprf import (
    blind_batch,
    derive_key_pair,
    evaluate_batch,
    finalize_batch,
)
from concordat_privacy.oprf.ristretto import scalar_multiply_each
from concordat_privacy.oprf.suite import DOMAINS, Mode, hash_to_group

FILE = Path(__file__).parents[2] / "docs" / "vectors" / "identifiers.json"
DOCUMENT: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))

VECTORS: list[dict[str, Any]] = DOCUMENT["vectors"]


def computed(vector: dict[str, Any], key: dict[str, Any]) -> dict[str, Any]:
    """The vector again, from its kind and input."""
    identifier = DEFAULT_REGISTRY.parse(vector["kind"], vector["input"])
    message = oprf_input(identifier)
    pair = derive_key_pair(bytes.fromhex(key["seed"]), key["info"].encode())
    state, blinded = blind_batch([message])
    (token,) = finalize_batch(state, *evaluate_batch(pair.secret, blinded), pair.public)
    return {
        "kind": vector["kind"],
        "input": vector["input"],
        "normalised": identifier.value,
        "oprf_input": message.hex(),
        "element": hash_to_group(message, DOMAINS[Mode.VOPRF].group_dst).hex(),
        "token": token.hex(),
    }


def refused(case: dict[str, Any]) -> dict[str, Any]:
    """The refusal again, from its kind and input."""
    with pytest.raises(IdentifierInvalid) as caught:
        DEFAULT_REGISTRY.parse(case["kind"], case["input"])
    return {
        "kind": case["kind"],
        "input": case["input"],
        "reason": caught.value.reason.name,
    }


@pytest.mark.parametrize("vector", DOCUMENT["vectors"], ids=lambda vector: str(vector["input"]))
def test_vector(vector: dict[str, Any]) -> None:
    assert computed(vector, DOCUMENT["key"]) == vector


@pytest.mark.parametrize("vector", DOCUMENT["vectors"], ids=lambda vector: str(vector["input"]))
def test_a_token_is_the_inputs_element_times_the_key(vector: dict[str, Any]) -> None:
    """What blinding and its proof come to: who implements a client can check each half alone."""
    secret = bytes.fromhex(DOCUMENT["key"]["secret"])
    element = bytes.fromhex(vector["element"])
    assert scalar_multiply_each(secret, element).hex() == vector["token"]


def test_texts_of_one_normal_form_have_one_token() -> None:
    for same in ("oprf_input", "element", "token"):
        of_form = {(vector["kind"], vector["normalised"]): vector[same] for vector in VECTORS}
        assert all(
            of_form[vector["kind"], vector["normalised"]] == vector[same] for vector in VECTORS
        )
        assert len(set(of_form.values())) == len(of_form)


@pytest.mark.parametrize("case", DOCUMENT["refused"], ids=lambda case: str(case["input"]))
def test_refusal(case: dict[str, Any]) -> None:
    assert refused(case) == case


def test_the_published_key() -> None:
    key = DOCUMENT["key"]
    pair = derive_key_pair(bytes.fromhex(key["seed"]), key["info"].encode())
    assert bytes(pair.secret).hex() == key["secret"]
    assert bytes(pair.public).hex() == key["public"]


def test_the_guide_to_a_new_kind_runs(capsys: pytest.CaptureFixture[str]) -> None:
    guide = FILE.with_name("README.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    names: dict[str, Any] = {"__name__": "guide"}
    exec(example, names)  # the repository's own text
    kind, number = b"cn-passport/1", b"E12345678"
    expected = b"\x00\x0d" + kind + b"\x00\x09" + number
    assert capsys.readouterr().out.split() == [number.decode(), expected.hex()]
    for wrong in ("E1234567", "12345678E", "EE1234567"):
        with pytest.raises(IdentifierInvalid):
            names["Passport"](wrong)


def test_every_kind_has_vectors() -> None:
    assert {vector["kind"] for vector in DOCUMENT["vectors"]} == {
        kind.kind for kind in DEFAULT_REGISTRY.kinds
    }


if __name__ == "__main__":
    DOCUMENT["vectors"] = [computed(vector, DOCUMENT["key"]) for vector in DOCUMENT["vectors"]]
    DOCUMENT["refused"] = [refused(case) for case in DOCUMENT["refused"]]
    FILE.write_text(json.dumps(DOCUMENT, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
