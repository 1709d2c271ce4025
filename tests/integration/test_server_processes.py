"""The gateway's processes: drained, killed, replaced; nothing is left behind."""

import os
import re
import signal
from collections import Counter
from pathlib import Path

import grpc
import pytest

import concordat
from concordat.v1 import ledger_pb2, signal_pb2
from tests.callers import CHECKPOINT, Credentials, call, connected
from tests.gateways import Gateway, MakeGateway, eventually, is_running
from tests.stores import StoreUrls

BATCH_LOOKUP = "/concordat.v1.SignalService/BatchLookup"
EXPORT = "/concordat.v1.LedgerService/ExportEntries"
WORKER, KEYHOLDER = "gateway.worker", "keyholder"


def serves(gateway: Gateway) -> bool:
    """Whether a new connection is served."""
    with connected(gateway.address, Credentials.of_profile(gateway.operator)) as channel:
        try:
            call(channel, CHECKPOINT, timeout=5)
        except grpc.RpcError:
            return False
        return True


def tokenises(profile: Path) -> bool:
    """Whether an identifier can be turned into a token."""
    with concordat.Client.open(profile) as client:
        try:
            [token] = client.tokenise([concordat.PhoneNumber("+8613800138000")])
        except concordat.Unavailable:
            return False
        return len(token.value) == 32


def fill_ledger(gateway: Gateway, megabytes: int) -> None:
    """Lookups that are all refused; each entry of 1,000 has well over 100 kB of items."""
    member = Credentials.of_profile(gateway.join("filler"))
    request = signal_pb2.BatchLookupRequest(tokens=os.urandom(32 * 1000), purpose=1)
    with connected(gateway.address, member) as channel:
        for _ in range(8 * megabytes):
            call(channel, BATCH_LOOKUP, request.SerializeToString())


def test_on_sigterm_a_call_in_flight_is_finished(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(workers=1)
    gateway.start()
    # More than the connection buffers, so that the server is still sending when it is stopped.
    fill_ledger(gateway, megabytes=4)
    with connected(gateway.address, Credentials.of_profile(gateway.auditor)) as channel:
        messages = channel.unary_stream(EXPORT, None, ledger_pb2.ExportEntriesResponse.FromString)(
            b"", timeout=60
        )
        entries = len(next(messages).entries)
        gateway.signal(signal.SIGTERM)
        eventually(lambda: '"stopping"' in gateway.log, "the supervisor stops")
        eventually(lambda: not serves(gateway), "new connections are refused")
        entries += sum(len(message.entries) for message in messages)

    assert entries == 2 + 8 * 4
    assert gateway.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_clean_stop_leaves_no_process_and_no_error(
    fresh_gateway: Gateway, number: signal.Signals
) -> None:
    children = fresh_gateway.children()
    fresh_gateway.signal(number)

    assert fresh_gateway.wait() == 0
    assert not any(map(is_running, children))
    assert '"level": "error"' not in fresh_gateway.log
    assert "Traceback" not in fresh_gateway.log


def test_a_killed_supervisor_takes_its_children_down(fresh_gateway: Gateway) -> None:
    assert len(fresh_gateway.children(WORKER)) == 2
    assert len(fresh_gateway.children(KEYHOLDER)) == 1
    fresh_gateway.kill()

    # Its port is free and its stores are whole: it can be started again at once.
    fresh_gateway.start()
    assert serves(fresh_gateway)


def test_it_serves_on_either_kind_of_store(
    make_gateway: MakeGateway, store_urls: StoreUrls
) -> None:
    gateway = make_gateway(
        control_url=store_urls.control_url, signals_url=store_urls.signals_url, workers=2
    )
    gateway.start()
    profile = gateway.join("alpha")
    assert tokenises(profile)
    # What was acknowledged survives the end of every process.
    gateway.kill()
    gateway.start()
    with concordat.Client.open(gateway.auditor) as auditor:
        assert [member.member_id for member in auditor.list_members()] == ["alpha"]
    assert tokenises(profile)


def test_a_killed_worker_is_replaced(fresh_gateway: Gateway) -> None:
    before = fresh_gateway.children(WORKER)
    os.kill(before[0], signal.SIGKILL)

    def replaced() -> bool:
        now = fresh_gateway.children(WORKER)
        return len(now) == 2 and before[0] not in now

    eventually(replaced, "a successor was started")
    eventually(
        lambda: connections_of_workers(fresh_gateway).keys() == worker_set(fresh_gateway),
        "both workers serve",
    )
    assert before[1] in fresh_gateway.children(WORKER)


def test_a_killed_key_holder_is_replaced_where_it_was(fresh_gateway: Gateway) -> None:
    profile = fresh_gateway.join("alpha")
    assert tokenises(profile)
    [before] = fresh_gateway.children(KEYHOLDER)
    os.kill(before, signal.SIGKILL)

    eventually(lambda: before not in fresh_gateway.children(KEYHOLDER), "it ended")
    eventually(lambda: tokenises(profile), "tokens are made again")


def test_workers_that_cannot_start_are_tried_until_they_can(fresh_gateway: Gateway) -> None:
    pepper = fresh_gateway.folder / "gateway" / "pepper.key"
    pepper.rename(pepper.with_suffix(".away"))
    for worker in fresh_gateway.children(WORKER):
        os.kill(worker, signal.SIGKILL)
    eventually(lambda: "pepper.key: No such file" in fresh_gateway.log, "a successor said why")
    assert not serves(fresh_gateway)
    pepper.with_suffix(".away").rename(pepper)

    eventually(lambda: serves(fresh_gateway), "the gateway serves again")


def test_the_workers_share_one_port_and_all_serve(gateway: Gateway) -> None:
    eventually(
        lambda: connections_of_workers(gateway).keys() == worker_set(gateway), "both workers serve"
    )


def worker_set(gateway: Gateway) -> set[int]:
    return set(gateway.children(WORKER))


def connections_of_workers(gateway: Gateway) -> Counter[int]:
    """How many of a dozen connections each worker holds, by process id."""
    if not Path("/proc/net/tcp").exists():
        pytest.skip("needs /proc to tell which process holds a connection")
    credentials = Credentials.of_profile(gateway.operator)
    opened = [connected(gateway.address, credentials) for _ in range(12)]
    channels = [one.__enter__() for one in opened]
    try:
        for channel in channels:
            call(channel, CHECKPOINT)
        inodes = connection_inodes(gateway.port)
        held: Counter[int] = Counter()
        for worker in gateway.children(WORKER):
            for link in Path(f"/proc/{worker}/fd").iterdir():
                match = re.fullmatch(r"socket:\[(\d+)\]", str(link.readlink()))
                held[worker] += match is not None and match[1] in inodes
        return +held
    finally:
        for one in opened:
            one.__exit__(None, None, None)


def connection_inodes(port: int) -> set[str]:
    """Sockets of established connections that were made to a local port."""
    established = "01"
    # gRPC listens on sockets of IPv6 that take connections of IPv4 too.
    tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
    lines = [line for table in tables if table.exists() for line in table.read_text().splitlines()]
    rows = [line.split() for line in lines]
    return {row[9] for row in rows if row[3] == established and row[1].endswith(f":{port:04X}")}
