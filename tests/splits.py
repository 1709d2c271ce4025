"""An installation whose key is dealt out to several key-holders, all of them embedded."""

import re
import shutil
import subprocess
import sys

from tests.gateways import Gateway

THRESHOLD, HOLDERS = 2, 3


def keyholder(gateway: Gateway, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command on the installation's own key-holder."""
    config = str(gateway.folder / "keyholder" / "keyholder.toml")
    command = [sys.executable, "-m", "concordat_keyholder", *arguments, "--config", config]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done


def split_keys(gateway: Gateway) -> None:
    """Deal the key out to three holders, of whom two answer, and configure the gateway for them."""
    own = gateway.folder / "keyholder"
    shares = gateway.folder / "shares"
    dealing = ("--threshold", str(THRESHOLD), "--holders", str(HOLDERS), "--out", str(shares))
    keyholder(gateway, "split", *dealing)
    numbers = range(1, HOLDERS + 1)
    for number in numbers:
        for name in ("cert.pem", "key.pem"):
            shutil.copy(own / name, shares / f"holder-{number}" / name)
    text = gateway.config.read_text()
    [whole] = re.findall(r"holder = 0\n.*\n.*\n", text)
    listed = "\n[[keyholders]]\n".join(
        whole.replace("= 0", f"= {number}").replace("keyholder/", f"shares/holder-{number}/")
        for number in numbers
    )
    gateway.edit(whole, listed)
