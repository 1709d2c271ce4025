"""The contract names every reason that the code can give for a refusal."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = [
    *sorted((REPOSITORY / "gateway").rglob("*.py")),
    *sorted((REPOSITORY / "privacy" / "concordat_privacy" / "catalogue").glob("*.py")),
    *sorted((REPOSITORY / "privacy" / "concordat_privacy" / "dp").glob("*.py")),
]
CONTRACT = sorted((REPOSITORY / "proto" / "concordat" / "v1").glob("*.proto"))
_WORD = re.compile(r"[A-Z]+(_[A-Z]+)*")


def _parameters(node: ast.AST) -> Iterator[tuple[str, list[str]]]:
    """Name and parameters of what can be called: a function, or a class by its constructor."""
    match node:
        case ast.FunctionDef():
            yield node.name, [argument.arg for argument in node.args.args]
        case ast.ClassDef():
            fields = [
                statement.target.id
                for statement in node.body
                if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
            ]
            yield node.name, fields
            for statement in node.body:
                if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
                    yield node.name, [argument.arg for argument in statement.args.args[1:]]


def _callee(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def reasons_given() -> dict[str, set[str]]:
    """Every reason that stands in a call of something with a parameter `reason`, and in what file.

    So it finds the helpers of concordat_rpc.errors, Refusal, FieldProblem and ItemRefusal, and
    also the functions that pass a reason on to them.
    """
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}
    positions: dict[str, set[int]] = defaultdict(set)
    for tree in trees.values():
        for node in ast.walk(tree):
            for name, parameters in _parameters(node):
                if "reason" in parameters:
                    positions[name].add(parameters.index("reason"))
    found: dict[str, set[str]] = defaultdict(set)
    for path, tree in trees.items():
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            wanted = positions.get(_callee(call), set())
            given = [value for at, value in enumerate(call.args) if at in wanted]
            given += [keyword.value for keyword in call.keywords if keyword.arg == "reason"]
            for value in given:
                match value:
                    case ast.Constant(value=str(word)) if _WORD.fullmatch(word):
                        found[word].add(path.name)
    return found


def test_every_reason_stands_in_the_contract() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in CONTRACT)
    named = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)*\b", text))
    missing = {word: files for word, files in reasons_given().items() if word not in named}
    assert not missing


def test_reasons_are_found_in_every_form_of_call() -> None:
    # A helper of several lines, Refusal itself, a FieldProblem, one passed on, an ItemRefusal.
    found = reasons_given().keys()
    assert {
        "BUDGET_EXHAUSTED",
        "INVALID_FIELD",
        "DUPLICATE",
        "INCONSISTENT",
        "NO_CONSENT",
    } <= found
