"""`concordat jobs`: what the gateway does by itself, done now and by hand."""

import sqlite3
from contextlib import closing

import pytest

from concordat import Client, PhoneNumber, Purpose
from tests.contributing import agreed
from tests.gateways import MakeGateway, concordat

pytestmark = pytest.mark.slow


def test_jobs_are_listed_with_how_often_they_run(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(workers=1)
    gateway.start()
    listed = concordat("jobs", "list", "--config", gateway.config)
    assert listed.returncode == 0, listed.stderr
    rows = dict(line.split(maxsplit=1) for line in listed.stdout.splitlines()[1:])
    assert rows["notices"] == rows["retention"] == "600 s"


def test_a_job_run_by_hand_beside_a_serving_gateway_does_its_work_once(
    make_gateway: MakeGateway,
) -> None:
    gateway = make_gateway(workers=1)
    gateway.start()
    with Client.open(gateway.join("lender")) as lender:
        [token] = lender.tokenise([PhoneNumber("+8613900000001")])
        made = agreed(token, Purpose.UNDERWRITING)
        lender.withdraw_consent(lender.grant_consents([made]).granted[0].consent_id)
    # Its deadline to acknowledge passes; that to delete does not.
    with closing(sqlite3.connect(gateway.folder / "data" / "control.db")) as control, control:
        assert control.execute("UPDATE notice SET acknowledge_by = 1").rowcount == 1

    first = concordat("jobs", "run", "notices", "--config", gateway.config)
    assert (first.returncode, first.stdout) == (0, "notices: 1 done.\n"), first.stderr
    second = concordat("jobs", "run", "notices", "--config", gateway.config)
    assert (second.returncode, second.stdout) == (0, "notices: 0 done.\n"), second.stderr


def test_an_unknown_job_is_refused_with_the_names_that_there_are(
    make_gateway: MakeGateway,
) -> None:
    gateway = make_gateway(workers=1)
    gateway.start()
    gateway.stop()
    answer = concordat("jobs", "run", "backups", "--config", gateway.config)
    assert answer.returncode != 0
    assert "notices" in answer.stderr
    assert "retention" in answer.stderr
