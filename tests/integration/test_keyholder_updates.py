"""Updates to the next epoch end with the old one, and are counted, limited and told of.

To a thief of the old key each is a token of the new epoch for one of its guesses.
"""

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest

from concordat.v1 import keyholder_pb2
from concordat_privacy import oprf
from concordat_privacy.moments import rfc3339 as time_text
from concordat_rpc.errors import Kind, Refusal
from concordat_rpc.refusals import refusal_of
from tests.callers import certified
from tests.keyholders import TRUST_DOMAIN, Host, held_keys, new_authority, stopped_at_end, update
from tests.postgresql import Cluster
from tests.stores import ManualClock, database_of

_, ONE = oprf.blind_batch([b"somebody"])
NOON = datetime(2031, 5, 16, 12, tzinfo=UTC)
SECOND = 1_000_000


def updated(channel: grpc.Channel, elements: bytes) -> Refusal | None:
    """Ask for an update from epoch 1 to 2; how it was refused, if it was."""
    request = keyholder_pb2.UpdateBlindedRequest(
        from_epoch=1, to_epoch=2, blinded_elements=elements
    )
    try:
        reply = update(channel, request)
    except grpc.RpcError as error:
        refusal = refusal_of(error)
        assert refusal is not None
        return refusal
    assert len(reply.updated_elements) == len(elements)
    return None


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    """A key-holder of two epochs that makes 8,192 updates a day; not serving."""
    with ExitStack() as stack:
        url = "sqlite:///keyholder.db"
        if request.param == "postgresql":
            cluster: Cluster = request.getfixturevalue("postgresql_cluster")
            url = stack.enter_context(database_of(cluster)).control_url
        made = Host.made(tmp_path / "host", new_authority(), "--store-url", url)
        made.does("new-epoch")
        made.edit("updates_daily = 1000000", "updates_daily = 8192")
        yield made


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(round(NOON.timestamp() * SECOND))


def test_they_end_with_the_old_epoch(host: Host, clock: ManualClock) -> None:
    ends = clock() + 3600 * SECOND
    said = host.does("end-epoch", "--epoch", "1", "--valid-to", time_text(ends))
    assert "By then the stores must be rotated" in said
    with host.serving(clock), host.channel() as channel:
        clock.microseconds = ends - 1
        assert updated(channel, ONE) is None
        clock.microseconds = ends
        refusal = updated(channel, ONE)
        # The ratio is still there, until the old key is forgotten.
        assert [epoch for epoch, _, _ in held_keys(channel)] == [1, 2]
    assert refusal is not None
    assert (refusal.kind, refusal.reason) == (Kind.FAILED_PRECONDITION, "EPOCH_NOT_ACTIVE")
    assert "epoch 1 has ended" in refusal.message


def test_a_day_has_so_many_and_a_refused_batch_is_not_charged(
    host: Host, clock: ManualClock
) -> None:
    with host.serving(clock), host.channel() as channel:
        assert updated(channel, ONE * 4096) is None
        assert updated(channel, ONE * 4000) is None
        refusal = updated(channel, ONE * 97)
        assert refusal is not None
        assert (refusal.kind, refusal.reason) == (Kind.RESOURCE_EXHAUSTED, "UPDATES_EXHAUSTED")
        assert (refusal.quota_subject, refusal.retry_after_seconds) == ("updates/day", 12 * 3600)
        assert "8192 a day" in refusal.message
        assert updated(channel, ONE * 96) is None
        assert updated(channel, ONE) is not None
        clock.advance(12 * 3600)
        assert updated(channel, ONE * 4096) is None


def test_another_gateway_s_name_brings_no_more(host: Host, clock: ManualClock) -> None:
    """Whoever has the consortium's authority can make as many gateways as it likes."""
    other = certified(host.authority, f"spiffe://{TRUST_DOMAIN}/gateway/other")
    with (
        host.serving(clock),
        host.channel() as channel,
        host.channel_with(other) as others_channel,
    ):
        for _ in range(2):
            assert updated(channel, ONE * 4096) is None
        refusal = updated(others_channel, ONE)
    assert refusal is not None
    assert refusal.reason == "UPDATES_EXHAUSTED"


def test_what_is_no_element_is_charged_too(host: Host, clock: ManualClock) -> None:
    with host.serving(clock), host.channel() as channel:
        assert updated(channel, ONE * 4096) is None
        refusal = updated(channel, ONE * 4095 + bytes(32))
        assert refusal is not None
        assert refusal.reason == "INVALID_FIELD"
        refusal = updated(channel, ONE)
        assert refusal is not None
        assert refusal.reason == "UPDATES_EXHAUSTED"


def test_each_is_told_to_the_operator(
    host: Host, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.INFO, "concordat_keyholder"),
        host.serving(clock),
        host.channel() as channel,
    ):
        updated(channel, ONE * 4096)
        updated(channel, ONE * 4096)
        updated(channel, ONE)
    gateway = f"spiffe://{TRUST_DOMAIN}/gateway/main"
    assert caplog.messages.count(f"4096 updates from epoch 1 to 2 for {gateway}") == 2
    assert (
        f"refused 1 updates from epoch 1 to 2 for {gateway}: UPDATES_EXHAUSTED" in caplog.messages
    )


def test_they_are_in_the_usage_after_a_kill(host: Host) -> None:
    assert "GATEWAY" not in host.does("usage")
    with stopped_at_end([host]):
        host.start()
        with host.channel() as channel:
            assert updated(channel, ONE * 25) is None
        host.kill()
    rows = [line.split() for line in host.does("usage").splitlines()]
    assert ["all", "25", "8192", "25"] in rows
    assert ["main", "25", "25"] in rows
