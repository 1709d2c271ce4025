"""A key that is split while members go on: real key-holders, a real gateway, the SDK."""

import os
import signal

import pytest

from concordat import Client, ResidentId
from tests.fabricate import resident_id
from tests.gateways import MakeGateway
from tests.splits import HOLDERS, THRESHOLD, split_keys

PEOPLE = [ResidentId(resident_id(index)) for index in range(20)]


@pytest.mark.slow
def test_members_of_before_a_split_go_on_with_the_same_tokens(make_gateway: MakeGateway) -> None:
    gateway = make_gateway()
    gateway.start()
    profile = gateway.join("alpha")
    with Client.open(profile) as client:
        before = client.tokenise(PEOPLE)
    gateway.stop()

    split_keys(gateway)
    gateway.start()
    with Client.open(profile) as client:
        assert client.tokenise(PEOPLE) == before
        [key] = client.list_token_keys()
        assert (key.threshold, key.holders) == (THRESHOLD, HOLDERS)

    [first, *_] = gateway.children("keyholder")
    os.kill(first, signal.SIGSTOP)  # hangs: nobody starts another in its place
    try:
        with Client.open(profile) as client:
            assert client.tokenise(PEOPLE, timeout=60) == before
    finally:
        os.kill(first, signal.SIGCONT)
