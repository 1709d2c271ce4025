"""The gateway's processes: drained, killed, replaced; nothing is left behind."""

import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import grpc
import pytest
from pysqlite3 import dbapi2

import concordat
from concordat.v1 import ledger_pb2, signal_pb2
from tests.callers import CHECKPOINT, Credentials, call, connected
from tests.contributing import agreed
from tests.gateways import Gateway, MakeGateway, closing_all, eventually, is_running
from tests.stores import StoreUrls

# Processes are started and stopped for nearly every test.
pytestmark = pytest.mark.slow

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
    request = signal_pb2.BatchLookupRequest(
        tokens=os.urandom(32 * 1000), purpose=1, request_id=os.urandom(16)
    )
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

    # Beside what fills it: the served key, and a member invited and joined.
    assert entries == 3 + 8 * 4
    assert gateway.wait() == 0


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway whose processes may be killed; each test leaves it serving again.

    It does not resume on its own while tests run.
    """
    with closing_all(tmp_path_factory.mktemp("family")) as make:
        gateway = make(workers=2)
        gateway.edit("workers = 2", "workers = 2\nresume_seconds = 86400")
        gateway.start()
        yield gateway


def test_it_is_killed_restarted_and_stopped_on_either_kind_of_store(
    make_gateway: MakeGateway, store_urls: StoreUrls
) -> None:
    gateway = make_gateway(
        control_url=store_urls.control_url, signals_url=store_urls.signals_url, workers=2
    )
    gateway.start()
    assert len(gateway.children(WORKER)) == 2
    assert len(gateway.children(KEYHOLDER)) == 1
    profile = gateway.join("alpha")
    assert tokenises(profile)
    with concordat.Client.open(profile) as member:
        member.count({}, epsilon=0.1)
    assert "budgets." not in gateway.log

    # Its children go with it, and its port is free: it can be started again at once.
    gateway.kill()
    gateway.edit("pool_epsilon = 10.0", "pool_epsilon = 12.5")
    gateway.start()
    # What was acknowledged survives the end of every process, and so does the budget's cap.
    with concordat.Client.open(gateway.auditor) as auditor:
        assert [member.member_id for member in auditor.list_members()] == ["alpha"]
        [pool] = auditor.budget()
    assert tokenises(profile)
    assert "budgets.pool_epsilon is 12.5, but was fixed at 10 by the first charge" in gateway.log
    assert "member_epsilon" not in gateway.log
    assert pool.cap_rho < 2

    children = gateway.children()
    gateway.signal(signal.SIGINT)
    assert gateway.wait() == 0
    assert not any(map(is_running, children))
    assert '"level": "error"' not in gateway.log
    assert "Traceback" not in gateway.log


def test_a_killed_worker_is_replaced_and_what_it_accepted_is_published(family: Gateway) -> None:
    profile = family.join("furnisher")
    with concordat.Client.open(profile) as client:
        [token] = client.tokenise([concordat.PhoneNumber("+8613800138001")])
        client.grant_consents([consent(token)])
        request_id = family.accept_unpublished("furnisher", token.value)
        assert client.get_batch(request_id).state is concordat.BatchState.ACCEPTED
    before = family.children(WORKER)
    os.kill(before[0], signal.SIGKILL)

    def replaced() -> bool:
        now = family.children(WORKER)
        return len(now) == 2 and before[0] not in now

    eventually(replaced, "a successor was started")
    eventually(
        lambda: connections_of_workers(family).keys() == worker_set(family), "both workers serve"
    )
    assert before[1] in family.children(WORKER)
    with concordat.Client.open(profile) as client:
        eventually(
            lambda: client.get_batch(request_id).state is concordat.BatchState.PUBLISHED,
            "the batch is published",
        )
        found = client.lookup(token, concordat.Purpose.UNDERWRITING, signals=["open_accounts"])
    assert found["open_accounts"].band_label == "1"


def consent(token: concordat.Token) -> concordat.ConsentDraft:
    return agreed(token, concordat.Purpose.CONTRIBUTION, concordat.Purpose.UNDERWRITING)


def test_a_killed_key_holder_is_replaced_where_it_was(family: Gateway) -> None:
    profile = family.join("alpha")
    assert tokenises(profile)
    [before] = family.children(KEYHOLDER)
    os.kill(before, signal.SIGKILL)

    eventually(lambda: before not in family.children(KEYHOLDER), "it ended")
    eventually(lambda: tokenises(profile), "tokens are made again")


def test_workers_that_cannot_start_are_tried_until_they_can(family: Gateway) -> None:
    pepper = family.folder / "gateway" / "pepper-1.key"
    pepper.rename(pepper.with_suffix(".away"))
    kill_workers(family)
    eventually(lambda: "pepper-1.key: No such file" in family.log, "a successor said why")
    assert not serves(family)
    pepper.with_suffix(".away").rename(pepper)

    wait_until_both_serve(family)


def test_a_worker_serves_from_its_own_builds_schema_only(family: Gateway) -> None:
    store = family.folder / "data" / "control.db"
    with closing(dbapi2.connect(str(store), timeout=30)) as connection:
        [revision] = connection.execute(
            "SELECT version_num FROM alembic_version_control"
        ).fetchone()
        change = "UPDATE alembic_version_control SET version_num = ?"
        connection.execute(change, ["control_9999"])
        connection.commit()
        # Whoever changed it since the start. No successor is older than the change.
        kill_workers(family)
        eventually(lambda: "a newer build made it" in family.log, "a successor said why")
        assert not serves(family)
        connection.execute(change, [revision])
        connection.commit()

    wait_until_both_serve(family)


def kill_workers(family: Gateway) -> None:
    """Kills both at once, so that every worker from now on started after this."""
    for worker in family.children(WORKER):
        os.kill(worker, signal.SIGKILL)


def wait_until_both_serve(family: Gateway) -> None:
    eventually(lambda: serves(family), "the gateway serves again")
    eventually(
        lambda: connections_of_workers(family).keys() == worker_set(family), "both workers serve"
    )


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
                # It may be closed while it is read.
                with suppress(FileNotFoundError):
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
