"""`concordat erasure` and `concordat audit open` on a real gateway; and a restored one refuses."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from concordat import Client, ConsentDraft, Purpose, ResidentId
from tests.contributing import agreed
from tests.fabricate import resident_id
from tests.gateways import MakeGateway, concordat
from tests.integration.test_audit_commands import row

PERMISSION = hashlib.sha256(b"signed by the person").hexdigest()


def ran(*arguments: object, stdin: str = "") -> str:
    ended = concordat(*map(str, arguments), stdin=stdin)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def a_draft(client: Client, person: int, purpose: Purpose) -> ConsentDraft:
    [token] = client.tokenise([ResidentId(resident_id(person))])
    return agreed(token, purpose)


def test_a_person_is_opened_audited_and_erased_from_the_command_line(
    make_gateway: MakeGateway, tmp_path: Path
) -> None:
    gateway = make_gateway(workers=1)
    gateway.start()
    lender, furnisher = gateway.join("lender"), gateway.join("furnisher")
    with Client.open(furnisher) as client:
        given = a_draft(client, 1, Purpose.CONTRIBUTION)
        client.grant_consents([given])
        assert client.contribute([row(given.token, 1)]).rows_accepted == 1
    with Client.open(lender) as client:
        draft = a_draft(client, 1, Purpose.UNDERWRITING)
        consent = client.grant_consents([draft]).granted[0].consent_id
        client.lookup(draft.token, Purpose.UNDERWRITING)
    keys = tmp_path / "subject-key.json"
    case = ("--case", "case 7", "--permission-sha256", PERMISSION, "--profile", gateway.auditor)
    printed = ran("audit", "open", "--consent", consent.hex(), "--out", keys, *case)
    assert "2 consents, 1 asking keys" in printed
    assert keys.stat().st_mode & 0o077 == 0
    by_token = tmp_path / "by-token.json"
    token = ("--token", draft.token.value.hex(), "--epoch", draft.token.epoch)
    letter = tmp_path / "permission.pdf"
    letter.write_bytes(b"the court permits it")
    permitted = ("--case", "case 7", "--permission", letter, "--profile", gateway.auditor)
    ran("audit", "open", *token, "--out", by_token, *permitted)
    assert by_token.read_text() == keys.read_text()

    assert ran("erasure", "list", "--profile", lender) == "No requests for erasure.\n"
    both = concordat(
        "audit",
        "open",
        "--consent",
        consent.hex(),
        "--out",
        tmp_path / "x",
        *case[:2],
        "--profile",
        gateway.auditor,
    )
    assert both.returncode == 2
    assert "exactly one of --permission and --permission-sha256" in " ".join(both.stderr.split())
    form = tmp_path / "request.pdf"
    form.write_bytes(b"please forget me")
    asked = ran(
        *("erasure", "request", "--resident-id", "-", "--ground", "consent withdrawn"),
        *("--evidence", form, "--profile", lender),
        stdin=resident_id(1),
    )
    [erasure] = re.findall(r"Erasure ([0-9a-f]{32}): requested", asked)
    decision = ("erasure", "execute", erasure, "--basis", "PIPL 47", "--profile", gateway.operator)
    assert concordat(*decision).returncode == 2  # without --yes
    assert "erased" in ran(*decision, "--yes")
    [listed] = json.loads(ran("erasure", "list", "--json", "--profile", gateway.operator))
    assert (listed["state"], listed["rows"], listed["consents"]) == ("erased", 1, 2)
    assert f"{erasure}  lender  erased" in ran("erasure", "list", "--profile", lender)

    export = tmp_path / "export"
    ran("ledger", "export", export, "--profile", gateway.auditor)
    person = ("audit", "person", export, "--key", gateway.ledger_vkey, "--format", "json")
    answer = json.loads(concordat(*map(str, person), "--subject", str(keys)).stdout)
    bundles = (one for one in (export / "tile" / "entries").rglob("*") if one.is_file())
    recorded = b"".join(one.read_bytes() for one in bundles)
    for digest in (PERMISSION, hashlib.sha256(b"the court permits it").hexdigest()):
        assert digest.encode() in recorded
    assert ran("consent", "list", "--profile", lender) == "No consents.\n"
    whats = [one["what"] for one in answer["tables"]["history"]]
    assert whats.count("consent.granted") == 2
    assert whats.count("lookup: permit") == 1
    assert whats.count("contribution.batch") == 1
    assert whats.count("staff.viewed") == 2
    assert whats.count("consent erased") == 2
    kinds = {one["kind"] for one in answer["tables"]["findings"]}
    assert not any(kind.startswith("person_") for kind in kinds)


@pytest.mark.slow
def test_a_gateway_does_not_serve_a_control_store_that_is_behind(
    make_gateway: MakeGateway,
) -> None:
    gateway = make_gateway(workers=1)
    gateway.start()
    with Client.open(gateway.join("lender")) as client:
        draft = a_draft(client, 1, Purpose.UNDERWRITING)
        client.grant_consents([draft])
    gateway.stop()
    data = gateway.folder / "data"
    copies = {one: one.read_bytes() for one in data.glob("control.db*")}
    gateway.start()
    with Client.open(gateway.join("lender")) as client:
        asked = client.request_erasure(draft.token, "no longer needed", bytes(32))
        assert asked.receipt is not None
    with Client.open(gateway.operator) as operator:
        done = operator.execute_erasure(asked.erasure.erasure_id, "PIPL 47")
        assert done.erasure.state.name == "ERASED"
        assert [one.erasure_id for one in operator.list_erasures(case="x")] == [
            asked.erasure.erasure_id
        ]
    gateway.stop()
    for one in data.glob("control.db*"):
        one.unlink()
    for file, content in copies.items():
        file.write_bytes(content)
    gateway.launch()
    assert gateway.wait() != 0
    assert "the control store is behind" in gateway.log


def test_a_configuration_of_before_keys_says_what_is_missing(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(workers=1)
    text = gateway.config.read_text()
    gateway.config.write_text(
        "\n".join(line for line in text.splitlines() if not line.startswith("live_key = "))
    )
    ended = concordat("serve", "--config", gateway.config)
    assert ended.returncode == 1
    assert "live_key" in ended.stderr
    assert "docs/erasure.md" in ended.stderr
