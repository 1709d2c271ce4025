"""The shape of the public surface: two clients alike, light imports, the contract's numbers."""

import inspect
import os
import subprocess
import sys
import types
import typing
from collections import abc
from enum import IntEnum
from pathlib import Path

import pytest
from google.protobuf.descriptor import EnumDescriptor

import concordat
from concordat import _methods, enums
from concordat._steps import Flow, Method
from concordat.v1 import (
    aggregate_pb2,
    audit_pb2,
    common_pb2,
    consent_pb2,
    contribution_pb2,
    dispute_pb2,
    erasure_pb2,
    ledger_pb2,
    member_pb2,
    notice_pb2,
    signal_pb2,
    token_pb2,
    usage_pb2,
)

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = [
    aggregate_pb2,
    audit_pb2,
    common_pb2,
    consent_pb2,
    contribution_pb2,
    dispute_pb2,
    erasure_pb2,
    ledger_pb2,
    member_pb2,
    notice_pb2,
    signal_pb2,
    token_pb2,
    usage_pb2,
]


def public_members(kind: type) -> dict[str, object]:
    """The public members, inherited ones too."""
    return {name: inspect.getattr_static(kind, name) for name in dir(kind) if name[0] != "_"}


def blocking_form(annotation: object) -> object:
    """A return type of the awaiting client as the blocking one has it."""
    if typing.get_origin(annotation) is abc.AsyncIterator:
        return types.GenericAlias(abc.Iterator, typing.get_args(annotation))
    return annotation


def test_the_two_clients_offer_the_same() -> None:
    blocking, awaiting = public_members(concordat.Client), public_members(concordat.AsyncClient)
    assert blocking.keys() == awaiting.keys()
    for name, method in blocking.items():
        other = awaiting[name]
        assert type(method) is type(other), name
        if not isinstance(method, types.FunctionType):
            continue
        assert isinstance(other, types.FunctionType)
        ours, theirs = inspect.signature(method), inspect.signature(other)
        assert list(ours.parameters.values()) == list(theirs.parameters.values()), name
        assert blocking_form(theirs.return_annotation) == ours.return_annotation, name
        iterates = typing.get_origin(theirs.return_annotation) is abc.AsyncIterator
        assert inspect.iscoroutinefunction(other) is not iterates, name


def test_every_public_method_says_what_it_does() -> None:
    for name, value in public_members(concordat.Client).items():
        assert inspect.getdoc(value), name
    for name in concordat.__all__:
        value = getattr(concordat, name)
        if isinstance(value, type):
            assert inspect.getdoc(value), name


def test_all_lists_exactly_what_is_imported() -> None:
    names = {
        name
        for name, value in vars(concordat).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert names == set(concordat.__all__)


def test_importing_the_sdk_loads_nothing_heavy() -> None:
    program = (
        "import sys, concordat\n"
        "heavy = {'sqlalchemy', 'sqlmodel', 'numpy', 'pandas', 'torch', 'opendp', 'matplotlib',\n"
        "         'psycopg', 'jwt', 'concordat_gateway', 'concordat_rpc', 'concordat_keyholder'}\n"
        "print(sorted(heavy & sys.modules.keys()))\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.stdout.strip() == "[]", ran.stderr


def test_every_method_is_the_contracts() -> None:
    contract = {
        f"/{service.full_name}/{method.name}": (
            method.input_type.full_name,
            method.output_type.full_name,
            method.client_streaming,
            method.server_streaming,
        )
        for file in FILES
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    used = {
        method.path: (
            method.request.DESCRIPTOR.full_name,
            method.reply.DESCRIPTOR.full_name,
            method.flow in (Flow.UPLOAD, Flow.CONVERSATION),
            method.flow in (Flow.DOWNLOAD, Flow.CONVERSATION),
        )
        for method in vars(_methods).values()
        if isinstance(method, Method)
    }
    assert used == contract


def enum_of(name: str) -> EnumDescriptor:
    found: list[EnumDescriptor] = [
        file.DESCRIPTOR.enum_types_by_name[name]
        for file in FILES
        if name in file.DESCRIPTOR.enum_types_by_name
    ]
    [only] = found
    return only


@pytest.mark.parametrize("name", enums.__all__)
def test_enumerations_have_the_contracts_names_and_numbers(name: str) -> None:
    ours: type[IntEnum] = getattr(enums, name)
    descriptor = enum_of(name)
    prefix = "".join(f"_{c}" if c.isupper() else c.upper() for c in name).lstrip("_") + "_"
    theirs = {
        value.name.removeprefix(prefix): value.number for value in descriptor.values if value.number
    }
    assert {member.name: member.value for member in ours if member.value} == theirs


WRONG_USES = {
    "client.lookup('token', Purpose.UNDERWRITING)": "arg-type",
    "client.lookup(b'0' * 32, Purpose.UNDERWRITING)": "arg-type",
    "client.lookup(token, 1)": "arg-type",
    "client.lookup(token)": "call-arg",
    "client.tokenise(['110100190001010010'])": "list-item",
    "Row(token, {'as_of_month': 682})": "arg-type",
    "ConsentDraft(token, {Purpose.UNDERWRITING}, {Purpose.DISPUTE}, now, '1', b'')": "arg-type",
    "client.count({'utilisation': {5}})": "dict-item",
    "client.lookup(token, Purpose.UNDERWRITING).signals = ()": "misc",
    "client.lookup(token, Purpose.UNDERWRITING)['x'].band + 'y'": "operator",
    "client.withdraw_consent('id')": "arg-type",
    "asynchronous.lookup(token, Purpose.UNDERWRITING).status": "attr-defined",
    "[r for r in asynchronous.list_consents()]": "attr-defined",
}

PREAMBLE = """\
from datetime import datetime
from concordat import AsyncClient, Client, ConsentDraft, Purpose, Row, Token
def use(client: Client, asynchronous: AsyncClient, token: Token, now: datetime) -> None:
    client.lookup(token, Purpose.UNDERWRITING)
"""


def test_a_type_checker_finds_wrong_uses(tmp_path: Path) -> None:
    snippet = tmp_path / "snippet.py"
    snippet.write_text(PREAMBLE + "".join(f"    {use}\n" for use in WRONG_USES))
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(snippet)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=os.environ | {"MYPY_CACHE_DIR": str(tmp_path / "cache")},
    )
    found: dict[int, set[str]] = {}
    for line in ran.stdout.splitlines():
        place, _, message = line.partition(": error: ")
        if message:
            number = int(place.rpartition(":")[2])
            found.setdefault(number, set()).add(message.rpartition("[")[2].rstrip("]"))
    first = PREAMBLE.count("\n") + 1
    expected = {first + at: code for at, code in enumerate(WRONG_USES.values())}
    assert found.keys() == expected.keys(), ran.stdout + ran.stderr
    for number, code in expected.items():
        assert code in found[number], ran.stdout
