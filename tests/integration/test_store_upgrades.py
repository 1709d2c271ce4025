"""Stores of earlier builds, with data in them, under this build."""

import pytest
import sqlalchemy as sa
from alembic import command

from concordat.v1 import consent_pb2
from concordat_gateway.rules.rotation import Means, RotationError, rotate, status
from concordat_gateway.store.migrate import CONTROL, SIGNALS, upgrade_stores
from concordat_gateway.store.subjects import subject_key
from concordat_privacy.log.checkpoint import Checkpoint, SigningKey, sign
from concordat_privacy.log.merkle import Frontier
from concordat_store.database import Database
from concordat_store.migration import History
from tests.services import CALL_SECONDS, PEPPER, serving, token
from tests.stores import ManualClock, StoreUrls, open_journal, open_signals
from tests.tokenkeys import TokenKeys, peppers

SUBJECT = subject_key(PEPPER, token(1))
CONSENT = bytes(range(16))


def migrate_to(history: History, url: str, revision: str, *statements: sa.TextClause) -> None:
    """Bring an empty store to an earlier schema and put rows into it."""
    database = Database.open(url)
    config = history.config()
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        for statement in statements:
            connection.execute(statement)
    database.close()


def first_stores(urls: StoreUrls, ledger_key: SigningKey, clock: ManualClock) -> None:
    """Stores of the first schema: one consent of one subject, one relation, an empty ledger."""
    empty = Frontier()
    head = sa.text(
        "INSERT INTO ledger_head (id, size, frontier, checkpoint, time, pool_version)"
        " VALUES (1, 0, :frontier, :checkpoint, :time, 5)"
    ).bindparams(
        frontier=empty.to_bytes(),
        checkpoint=sign(Checkpoint(ledger_key.name, 0, empty.root), ledger_key),
        time=clock.microseconds,
    )
    consent = sa.text(
        "INSERT INTO consent (consent_id, subject, recipient, purposes, categories, starts_at,"
        " expires_at, notice_version, evidence_sha256, granted_at, grant_entry, salt) VALUES"
        " (:id, :subject, 'alpha', 2, 2, 0, :expires_at, '1', :sha, 0, 0, :id)"
    ).bindparams(
        id=CONSENT,
        subject=SUBJECT,
        expires_at=clock.microseconds + 10**12,
        sha=bytes(32),
    )
    relation = sa.text(
        "INSERT INTO relation VALUES (:subject, 1, :ref, :bucket, 682, 1, 3, 200, 0, 0, 0, 0, 0, 0,"
        " :profile)"
    ).bindparams(subject=SUBJECT, ref=bytes(16), bucket=SUBJECT[0], profile=bytes(24))
    migrate_to(CONTROL, urls.control_url, "control_0001", head, consent)
    migrate_to(SIGNALS, urls.signals_url, "signals_0001", relation)


def test_subjects_of_the_first_schema_are_those_of_epoch_1_without_elements(
    empty_urls: StoreUrls, ledger_key: SigningKey, clock: ManualClock
) -> None:
    first_stores(empty_urls, ledger_key, clock)
    upgrade_stores(empty_urls.control_url, empty_urls.signals_url)

    with (
        open_journal(empty_urls, clock, ledger_key) as journal,
        open_signals(empty_urls, clock) as signals,
    ):
        assert journal.pool_version == 5
        found = status(journal, signals)
        assert (found.epoch, found.signals_epoch, found.rotation) == (1, 1, None)
        assert (found.sealed, found.unsealed) == (0, 1)
        assert signals.histories([SUBJECT], 1)[SUBJECT].relations
        with serving(journal, signals, clock) as consortium:
            listed = consortium.alpha.consents.ListConsents(
                consent_pb2.ListConsentsRequest(token=token(1)), timeout=CALL_SECONDS
            )
            assert [consent.consent_id for consent in listed.consents] == [CONSENT]
        keys = TokenKeys.of_epochs(1, 2)
        means = Means(
            journal=journal,
            signals=signals,
            key_log=keys.log(),
            pepper=peppers(1, 2).__getitem__,
            update=keys.update,
            actor="spiffe://concordat.test/gateway/main",
            report=lambda _progress: None,
            owner=bytes(16),
        )
        with pytest.raises(RotationError, match=r"^1 subjects have no sealed element"):
            rotate(means, None)
        assert rotate(means, None, leave_unsealed=True).subjects == 0
        # Left where it was, under its old name.
        assert signals.histories([SUBJECT], 2)[SUBJECT].relations
