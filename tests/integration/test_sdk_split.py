"""A key that is split while members go on: real key-holders, a real gateway, the SDK."""

import os
import re
import signal
import subprocess
import sys

from concordat import Client, ResidentId
from tests.fabricate import resident_id
from tests.gateways import Gateway, MakeGateway

PEOPLE = [ResidentId(resident_id(index)) for index in range(20)]
THRESHOLD, HOLDERS = 2, 3


def split(gateway: Gateway) -> None:
    """Deal the installation's key out, and let the gateway ask the holders of its shares."""
    dealt = gateway.folder / "dealt"
    command = [sys.executable, "-m", "concordat_keyholder", "split"]
    options = ["--threshold", str(THRESHOLD), "--holders", str(HOLDERS), "--out", str(dealt)]
    whole = gateway.folder / "keyholder"
    ran = subprocess.run(
        [*command, "--config", str(whole / "keyholder.toml"), *options],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    tables = ""
    for number in range(1, HOLDERS + 1):
        [folder] = dealt.glob(f"*{number}")
        for name in ("cert.pem", "key.pem", "ca.pem"):
            copy = folder / name
            copy.write_bytes((whole / name).read_bytes())
            copy.chmod(0o600)
        settings = folder / "keyholder.toml"
        text = re.sub(r'listen = ".*"', 'listen = "127.0.0.1:0"', settings.read_text())
        settings.write_text(text.replace('admission = "roster"', 'admission = "authority"'))
        tables += (
            f"[[keyholders]]\nholder = {number}\n"
            f'config = "{settings.relative_to(gateway.folder)}"\n'
            'server_name = "keyholder.concordat.test"\n\n'
        )
    config = gateway.config.read_text()
    before, _, after = config.partition("[[keyholders]]")
    gateway.config.write_text(before + tables + after[after.index("[membership]") :])


def test_members_of_before_a_split_go_on_with_the_same_tokens(make_gateway: MakeGateway) -> None:
    gateway = make_gateway()
    gateway.start()
    profile = gateway.join("alpha")
    with Client.open(profile) as client:
        before = client.tokenise(PEOPLE)
    gateway.stop()

    split(gateway)
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
