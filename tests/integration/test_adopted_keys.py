"""Token keys in the ledger: each is recorded once, and before it is served."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from concordat_gateway.keylog import KeyLogFile
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.adopting import adopt_keys
from concordat_privacy.keylog import KeyLog
from tests.rotations import ACTOR
from tests.stores import ManualClock, StoreUrls, open_journal
from tests.tokenkeys import LOG_KEY, TokenKeys


def adopted(journal: Journal) -> list[tuple[int, str, str]]:
    entries = [json.loads(leaf) for _, leaf, _ in journal.entries(0, journal.size)]
    return [
        (entry["epoch"], entry["key"], entry["actor"])
        for entry in entries
        if entry["type"] == "key.adopted"
    ]


def keys_of(log: KeyLog) -> list[tuple[int, str, str]]:
    return [(key.epoch, bytes(key.public_key).hex(), ACTOR) for key in log.keys]


def test_every_key_is_recorded_once_however_many_processes_serve_it(
    journal: Journal, store_urls: StoreUrls, clock: ManualClock
) -> None:
    keys = TokenKeys.of_epochs(1)
    adopt_keys(journal, keys.log(), ACTOR)
    assert adopted(journal) == keys_of(keys.log())
    keys.add(2)
    keys.add(3)
    with open_journal(store_urls, clock) as other, ThreadPoolExecutor(8) as pool:
        for one in [journal, other] * 4:
            pool.submit(adopt_keys, one, keys.log(), ACTOR)
    assert adopted(journal) == keys_of(keys.log())
    assert len(adopted(journal)) == 3


def test_a_known_log_writes_nothing(journal: Journal) -> None:
    keys = TokenKeys.of_epochs(1, 2)
    adopt_keys(journal, keys.log(), ACTOR)
    size, checkpoint = journal.size, journal.checkpoint()
    # Another end of an epoch is the key log's to say: the key is the same.
    keys.end(1, 2_000_000_000_000_000)
    adopt_keys(journal, keys.log(), ACTOR)
    assert (journal.size, journal.checkpoint()) == (size, checkpoint)


def test_a_key_is_not_served_before_it_is_recorded(
    journal: Journal, tmp_path: Path, store_urls: StoreUrls, clock: ManualClock
) -> None:
    keys = TokenKeys.of_epochs(1)
    file = tmp_path / "keys.log"
    file.write_text(keys.log().text)
    with open_journal(store_urls, clock) as closed:
        closed.close()
        writer = closed
        served = KeyLogFile(file, LOG_KEY.verifier, lambda log: adopt_keys(writer, log, ACTOR))
        keys.add(2)
        file.write_text(keys.log().text)
        assert [key.epoch for key in served.current().keys] == [1]
        assert adopted(journal) == []
        writer = journal
        assert [key.epoch for key in served.current().keys] == [1, 2]
        assert adopted(journal) == keys_of(keys.log())
