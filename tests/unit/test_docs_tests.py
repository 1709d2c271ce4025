"""Documents name the tests that show what they claim: each of them exists."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
_NAMED = re.compile(r"`(test_[a-z0-9_]+)`")
_DEFINED = re.compile(r"^(?:async )?def (test_[a-z0-9_]+)\(", re.MULTILINE)


def test_every_test_that_a_document_names_exists() -> None:
    documents = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
    named = {name for document in documents for name in _NAMED.findall(document.read_text())}
    tests = (REPOSITORY / "tests").rglob("test_*.py")
    defined = {name for test in tests for name in _DEFINED.findall(test.read_text())}

    assert named
    assert named - defined == set()
