"""Stores of earlier builds, with data in them, under this build."""

import hashlib
import json

import pytest
import sqlalchemy as sa
from alembic import command

from concordat.v1 import common_pb2, consent_pb2, contribution_pb2, erasure_pb2, signal_pb2
from concordat_gateway.config import DEFAULT_AGES
from concordat_gateway.rules.calendar import day_of
from concordat_gateway.rules.retention import enforce
from concordat_gateway.rules.rotation import RotationError, rotate, status
from concordat_gateway.rules.upload_ages import UploadState, expire
from concordat_gateway.rules.uploads import get_upload
from concordat_gateway.rules.witnesses import add, adopt, newest, unwitnessed_seconds
from concordat_gateway.store.migrate import CONTROL, SIGNALS, upgrade_stores
from concordat_gateway.store.subjects import subject_key
from concordat_privacy.catalogue.signals import CATALOGUE_VERSION
from concordat_privacy.jurisdictions import policies
from concordat_privacy.log.checkpoint import Checkpoint, SigningKey, sign
from concordat_privacy.log.leaf import encode
from concordat_privacy.log.merkle import Frontier, leaf_hash
from concordat_privacy.log.signed_note import parse_note
from concordat_privacy.moments import rfc3339
from concordat_store.database import Database
from concordat_store.migration import History
from tests.rotations import means_of
from tests.services import (
    CALL_SECONDS,
    EPOCH,
    PEPPER,
    account,
    contribute,
    draft,
    grant,
    months_since_1970,
    peer,
    serving,
    timestamp,
    token,
)
from tests.stores import ManualClock, StoreUrls, open_journal, open_signals
from tests.tokenkeys import TokenKeys
from tests.witnesses import ONE, SECONDS, quorum_of, witnessed_journal

SUBJECT = subject_key(PEPPER, token(1))
CONSENT = bytes(range(16))
GATEWAY = "spiffe://concordat.test/gateway/gateway"


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
    upgrade_stores(*empty_urls.all)

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
        means = means_of(journal, signals, keys)
        with pytest.raises(RotationError, match=r"^1 subjects have no sealed element"):
            rotate(means, None)
        assert rotate(means, None, leave_unsealed=True).subjects == 0
        # Left where it was, under its old name.
        assert signals.histories([SUBJECT], 2)[SUBJECT].relations


def third_store(urls: StoreUrls, ledger_key: SigningKey, clock: ManualClock) -> None:
    """A control store of the third schema: a live consent, a withdrawn one, an empty ledger."""
    empty = Frontier()
    head = sa.text(
        "INSERT INTO ledger_head (id, size, frontier, checkpoint, time, pool_version)"
        " VALUES (1, 0, :frontier, :checkpoint, :time, 5)"
    ).bindparams(
        frontier=empty.to_bytes(),
        checkpoint=sign(Checkpoint(ledger_key.name, 0, empty.root), ledger_key),
        time=clock.microseconds,
    )
    member = sa.text(
        "INSERT INTO member (member_id, member_no, display_name, state, invited_at)"
        " VALUES ('old', 9, 'Old', 2, 0)"
    )
    consents = [
        sa.text(
            "INSERT INTO consent (consent_id, subject, recipient, purposes, categories, starts_at,"
            " expires_at, notice_version, evidence_sha256, granted_at, withdrawn_at, grant_entry,"
            " withdraw_entry, salt) VALUES (:id, :subject, 'alpha', 2, 2, 10, :expires_at, '1',"
            " :sha, 5, :withdrawn_at, :entry, :withdraw_entry, :id)"
        ).bindparams(
            id=bytes([number]) * 16,
            subject=SUBJECT,
            expires_at=clock.microseconds + 10**12,
            sha=b"\xee" * 32,
            withdrawn_at=withdrawn_at,
            entry=number,
            withdraw_entry=None if withdrawn_at is None else 3,
        )
        for number, withdrawn_at in ((1, None), (2, 20))
    ]
    migrate_to(CONTROL, urls.control_url, "control_0003", head, member, *consents)


def test_consents_of_the_third_schema_stay_given_and_permit_what_they_did(
    empty_urls: StoreUrls, ledger_key: SigningKey, clock: ManualClock
) -> None:
    third_store(empty_urls, ledger_key, clock)
    upgrade_stores(*empty_urls.all)

    with (
        open_journal(empty_urls, clock, ledger_key) as journal,
        open_signals(empty_urls, clock) as signals,
        serving(journal, signals, clock) as consortium,
    ):
        listed = consortium.alpha.consents.ListConsents(
            consent_pb2.ListConsentsRequest(), timeout=CALL_SECONDS
        )
        live, withdrawn = listed.consents
        assert live.state == consent_pb2.CONSENT_STATE_ACTIVE
        assert live.evidence_sha256 == b"\xee" * 32
        assert live.activated_at == live.granted_at == timestamp(5)
        assert (live.jurisdiction, live.policies) == ("", 0)
        assert withdrawn.state == consent_pb2.CONSENT_STATE_WITHDRAWN
        question = signal_pb2.LookupRequest(
            token=token(1), purpose=common_pb2.PURPOSE_UNDERWRITING, request_id=bytes(16)
        )
        response = consortium.alpha.signals.Lookup(question, timeout=CALL_SECONDS)
        assert response.result.status == signal_pb2.SUBJECT_STATUS_OK
        # Its life goes on as any other's.
        pause = consent_pb2.PauseConsentRequest(consent_id=live.consent_id, reason="x")
        paused = consortium.alpha.consents.PauseConsent(pause, timeout=CALL_SECONDS)
        assert paused.consent.state == consent_pb2.CONSENT_STATE_PAUSED


def test_the_checks_of_consents_survive_their_migration(
    empty_urls: StoreUrls, ledger_key: SigningKey, clock: ManualClock
) -> None:
    third_store(empty_urls, ledger_key, clock)
    upgrade_stores(*empty_urls.all)
    database = Database.open(empty_urls.control_url)
    spoiled = [
        "UPDATE consent SET salt = :short",
        "UPDATE consent SET subject = :short",
        "UPDATE consent SET evidence_sha256 = :short",
        "UPDATE consent SET notice_sha256 = :short",
        "UPDATE consent SET evidence_terms_sha256 = :short",
        "UPDATE consent SET evidence_terms_sha256 = :long",
    ]
    try:
        for statement in spoiled:
            with pytest.raises(sa.exc.IntegrityError), database.write() as connection:
                connection.execute(
                    sa.text(statement),
                    {"short": b"\1" * 3, "long": b"\1" * 32}
                    if ":long" in statement
                    else {"short": b"\1" * 3},
                )
    finally:
        database.close()


def test_a_ledger_of_before_witnesses_waits_for_them_from_its_newest_change_on(
    empty_urls: StoreUrls, ledger_key: SigningKey, clock: ManualClock
) -> None:
    """What lies before could be cosigned by nobody: it is not overdue at the first start."""
    leaf = encode(
        {"v": 1, "type": "test", "time": rfc3339(5), "actor": "spiffe://concordat.test/x"}
    )
    frontier, _ = Frontier().extend([leaf_hash(leaf)])
    head = sa.text(
        "INSERT INTO ledger_head (id, size, frontier, checkpoint, time, pool_version)"
        " VALUES (1, 1, :frontier, :checkpoint, :time, 0)"
    ).bindparams(
        frontier=frontier.to_bytes(),
        checkpoint=sign(Checkpoint(ledger_key.name, 1, frontier.root), ledger_key),
        time=clock.microseconds,
    )
    entry = sa.text(
        "INSERT INTO ledger_entry (entry_index, hashes, leaf) VALUES (0, :hashes, :leaf)"
    )
    entry = entry.bindparams(hashes=leaf_hash(leaf), leaf=leaf)
    migrate_to(CONTROL, empty_urls.control_url, "control_0005", head, entry)
    upgrade_stores(*empty_urls.all)

    clock.advance(30)
    with witnessed_journal(empty_urls, clock) as journal:
        adopt(journal, quorum_of(1))
        assert unwitnessed_seconds(journal, clock()) == 30
        note = journal.checkpoint()
        line = ONE.cosign(parse_note(note).text, SECONDS)
        assert add(journal, quorum_of(1), 1, line, CALL_SECONDS) == 1
        assert unwitnessed_seconds(journal, clock()) == 0
        assert quorum_of(1).check(newest(journal, quorum_of(1))) == {ONE.name: SECONDS}


@pytest.mark.parametrize(("code", "stays"), [("CN", True), ("US", False)])
def test_a_run_of_retention_of_before_clocks_is_finished_by_its_own(
    empty_urls: StoreUrls, ledger_key: SigningKey, clock: ManualClock, code: str, stays: bool
) -> None:
    """It counted from the newest report; on the same day a policy with another clock runs anew."""
    third_store(empty_urls, ledger_key, clock)
    policy = policies()[code]
    run = sa.text(
        "INSERT INTO retention_run (id, day, adverse_years, finished) VALUES (1, :day, :years, :no)"
    ).bindparams(day=day_of(clock()), years=policy.adverse_retention_years, no=False)
    migrate_to(CONTROL, empty_urls.control_url, "control_0012", run)
    month = months_since_1970(clock)
    accounts = [
        sa.text(
            "INSERT INTO relation (subject, member_no, account_ref, bucket, as_of_month, status,"
            " product, opened_quarter, first_delinquency_month, bands, profile, source_entry,"
            " source_item) VALUES (:subject, 2, :ref, :bucket, :month, 4, 3, 150, :first, :bands,"
            " :profile, 0, 0)"
        ).bindparams(
            subject=SUBJECT,
            ref=as_of.to_bytes(16, "big"),
            bucket=SUBJECT[0],
            month=as_of,
            first=month - 91,
            bands=b"",
            profile=bytes(24),
        )
        for as_of in (month, month - 12 * policy.adverse_retention_years - 1)
    ]
    migrate_to(SIGNALS, empty_urls.signals_url, "signals_0005", *accounts)
    upgrade_stores(*empty_urls.all)

    with (
        open_journal(empty_urls, clock, ledger_key) as journal,
        open_signals(empty_urls, clock) as signals,
    ):
        deleted = enforce(journal, signals, policy, GATEWAY, clock())
        left = signals.histories([SUBJECT], 1)[SUBJECT].relations
        assert [account.as_of_month for _, account in left] == ([month] if stays else [])
        # What the run of before had recorded is not counted again.
        assert deleted == (0 if stays else 1)


@pytest.mark.parametrize(("ended", "days"), [(True, 180), (False, 210)])
def test_uploads_of_before_they_expired_do_so_by_their_last_part(
    empty_urls: StoreUrls, ledger_key: SigningKey, clock: ManualClock, ended: bool, days: int
) -> None:
    third_store(empty_urls, ledger_key, clock)
    upload = sa.text(
        "INSERT INTO upload (member_id, upload_id, header_sha256, acknowledged, rows_accepted,"
        " rows_refused, first_entry, last_entry, last_accepted_at, end_entry) VALUES"
        " ('beta', :id, :sha, 1, 3, 0, 7, 7, :now, :end)"
    ).bindparams(id=CONSENT, sha=bytes(32), now=clock(), end=8 if ended else None)
    part = sa.text(
        "INSERT INTO batch (batch_id, member_id, rows_accepted, rows_refused, refused_rows, root,"
        " entry, accepted_at, upload_id, sequence, content_sha256, refusals) VALUES"
        " (:id, 'beta', 3, 0, :none, :sha, 7, :now, :id, 1, :sha, :none)"
    ).bindparams(id=CONSENT, sha=bytes(32), none=b"", now=clock())
    migrate_to(CONTROL, empty_urls.control_url, "control_0014", upload, part)
    upgrade_stores(*empty_urls.all)

    china = policies()["CN"]
    with open_journal(empty_urls, clock, ledger_key) as journal:
        clock.advance(days * 86_400 - 1)
        assert expire(journal, DEFAULT_AGES, china, clock()) == 0
        clock.advance(1)
        assert expire(journal, DEFAULT_AGES, china, clock()) == 1
        found = get_upload(journal, peer("beta"), CONSENT, DEFAULT_AGES, clock())
    assert (found.state, found.acknowledged_sequence) == (UploadState.EXPIRED, 1)
    assert found.end_entry == (8 if ended else None)


def test_consents_of_before_keys_keep_the_commitment_of_their_grant_and_can_be_erased(
    empty_urls: StoreUrls, ledger_key: SigningKey, clock: ManualClock
) -> None:
    third_store(empty_urls, ledger_key, clock)
    # The first one's grant is in the ledger, of before a rotation gave the subject another name.
    leaf = json.dumps({"subject": "ab" * 32}).encode()
    entry = sa.text(
        "INSERT INTO ledger_entry (entry_index, hashes, leaf) VALUES (1, :hashes, :leaf)"
    ).bindparams(hashes=bytes(32), leaf=leaf)
    item = sa.text(
        "INSERT INTO ledger_item (entry_index, item, content, subject, salt)"
        " VALUES (1, 0, :content, :subject, :salt)"
    ).bindparams(content=b"{}", subject=SUBJECT, salt=bytes(16))
    migrate_to(CONTROL, empty_urls.control_url, "control_0005", entry, item)
    upgrade_stores(*empty_urls.all)
    database = Database.open(empty_urls.control_url)
    with database.write() as connection:
        rows = connection.execute(
            sa.text("SELECT commitment, salt FROM consent ORDER BY consent_id")
        ).all()
        items = connection.execute(sa.text("SELECT * FROM ledger_item")).all()
        for table in ("ledger_entry", "ledger_item"):
            connection.execute(sa.text(f"DELETE FROM {table}"))
    database.close()
    salt = bytes([2]) * 16
    opened = hashlib.sha256(b"concordat/subject/v1" + salt + SUBJECT).digest()
    assert [(bytes(one.commitment), bytes(one.salt)) for one in rows] == [
        (b"\xab" * 32, bytes([1]) * 16),
        (opened, salt),
    ]
    assert [tuple(map(bytes, one[2:])) for one in items] == [(b"{}",)]

    with (
        open_journal(empty_urls, clock, ledger_key) as journal,
        open_signals(empty_urls, clock) as signals,
        serving(journal, signals, clock) as consortium,
    ):
        asked = erasure_pb2.RequestErasureRequest(
            request_id=bytes(16), token=token(1), ground="x", evidence_sha256=bytes(32)
        )
        erasure = consortium.alpha.erasures.RequestErasure(asked, timeout=CALL_SECONDS).erasure
        execute = erasure_pb2.ExecuteErasureRequest(erasure_id=erasure.erasure_id, basis="y")
        done = consortium.operator.erasures.ExecuteErasure(execute, timeout=CALL_SECONDS)
        assert done.erasure.state == erasure_pb2.ERASURE_STATE_ERASED
        assert done.erasure.consents == 2
        listed = consortium.alpha.consents.ListConsents(
            consent_pb2.ListConsentsRequest(), timeout=CALL_SECONDS
        )
        assert not listed.consents


def test_batches_of_before_uploads_stay_and_their_members_can_begin_one(
    empty_urls: StoreUrls, ledger_key: SigningKey, clock: ManualClock
) -> None:
    third_store(empty_urls, ledger_key, clock)
    request, root = bytes([7]) * 16, bytes([9]) * 32
    batch = sa.text(
        "INSERT INTO batch (batch_id, member_id, request_id, rows_accepted, rows_refused,"
        " refused_rows, root, entry, accepted_at)"
        " VALUES (:id, 'beta', :request, 5, 1, :refused, :root, 3, 5000000)"
    ).bindparams(id=bytes([8]) * 16, request=request, refused=bytes(4), root=root)
    migrate_to(CONTROL, empty_urls.control_url, "control_0010", batch)
    upgrade_stores(*empty_urls.all)

    with (
        open_journal(empty_urls, clock, ledger_key) as journal,
        open_signals(empty_urls, clock) as signals,
        serving(journal, signals, clock) as consortium,
    ):
        known = consortium.beta.contributions.GetBatch(
            contribution_pb2.GetBatchRequest(request_id=request), timeout=CALL_SECONDS
        )
        assert (known.rows_accepted, known.rows_refused, known.entry_index) == (5, 1, 3)
        assert known.accepted_at == timestamp(5_000_000)
        grant(consortium.beta, [draft(consortium, 1, [common_pb2.PURPOSE_CONTRIBUTION])])
        messages = [
            contribution_pb2.ContributeStreamRequest(
                header=contribution_pb2.UploadHeader(
                    upload_id=request, epoch=EPOCH, catalogue_version=CATALOGUE_VERSION
                )
            ),
            contribution_pb2.ContributeStreamRequest(
                part=contribution_pb2.UploadPart(sequence=1, rows=[account(consortium, 1)])
            ),
        ]
        [_, answer] = consortium.beta.contributions.ContributeStream(
            iter(messages), timeout=CALL_SECONDS
        )
        assert answer.acknowledged.rows_accepted == 1
    spoiled = [
        "UPDATE batch SET root = :short",
        "UPDATE batch SET request_id = :short",
        "UPDATE batch SET upload_id = :short",
        "UPDATE batch SET content_sha256 = :short",
        "UPDATE upload SET header_sha256 = :short",
        "INSERT INTO batch SELECT :short || substr(batch_id, 4), member_id, request_id,"
        " rows_accepted, rows_refused, refused_rows, root, entry, accepted_at, upload_id,"
        " sequence, content_sha256, refusals FROM batch",
    ]
    database = Database.open(empty_urls.control_url)
    try:
        for statement in spoiled:
            with pytest.raises(sa.exc.IntegrityError), database.write() as connection:
                connection.execute(sa.text(statement), {"short": b"\1" * 3})
    finally:
        database.close()


def test_accounts_of_the_third_schema_keep_their_bands_in_one_column(
    empty_urls: StoreUrls, clock: ManualClock
) -> None:
    old = {"limit_band": 9, "balance_band": 4, "past_due_band": 1, "days_past_due": 7}
    values = {**old, "utilisation": 8, "spend_volatility": 0}
    relation = sa.text(
        "INSERT INTO relation (subject, member_no, account_ref, bucket, as_of_month, status,"
        " product, opened_quarter, limit_band, balance_band, past_due_band, days_past_due,"
        " utilisation, spend_volatility, profile) VALUES (:subject, 1, :ref, :bucket, 682, 1, 3,"
        " 200, :limit_band, :balance_band, :past_due_band, :days_past_due, :utilisation,"
        " :spend_volatility, :profile)"
    ).bindparams(
        subject=SUBJECT, ref=bytes(16), bucket=SUBJECT[0], profile=b"\7" + bytes(23), **values
    )
    inquiry = sa.text(
        "INSERT INTO inquiry (subject, member_no, application_ref, bucket, day, product)"
        " VALUES (:subject, 1, :ref, :bucket, 20700, 2)"
    ).bindparams(subject=SUBJECT, ref=bytes(16), bucket=SUBJECT[0])
    migrate_to(SIGNALS, empty_urls.signals_url, "signals_0003", relation, inquiry)
    upgrade_stores(*empty_urls.all)

    with open_signals(empty_urls, clock) as signals:
        history = signals.histories([SUBJECT], 1)[SUBJECT]
    [(_, account)], [(_, application)] = history.relations, history.inquiries
    assert (account.limit, account.balance, account.past_due) == (9, 4, 1)
    assert (account.days_past_due, account.utilisation, account.spend_volatility) == (7, 8, 0)
    assert (account.five_class, account.first_delinquency_month) == (0, 0)
    assert (application.day, application.product, application.outcome) == (20_700, 2, 0)


def test_rows_of_before_sources_can_be_corrected_by_account_and_month(
    empty_urls: StoreUrls, ledger_key: SigningKey, clock: ManualClock
) -> None:
    third_store(empty_urls, ledger_key, clock)
    batch = sa.text(
        "INSERT INTO batch (batch_id, member_id, request_id, rows_accepted, rows_refused,"
        " refused_rows, root, entry, accepted_at)"
        " VALUES (:id, :member, :id, 1, 1, :refused, :root, :entry, 5000000)"
    )
    batches = [
        batch.bindparams(
            id=bytes([entry]) * 16, member=member, refused=bytes(4), root=bytes(32), entry=entry
        )
        for entry, member in ((3, "beta"), (4, "gamma"))
    ]
    migrate_to(CONTROL, empty_urls.control_url, "control_0011", *batches)
    month = months_since_1970(clock)
    relation = sa.text(
        "INSERT INTO relation (subject, member_no, account_ref, bucket, as_of_month, status,"
        " product, opened_quarter, first_delinquency_month, bands, profile)"
        " VALUES (:subject, 2, :ref, :bucket, :month, 1, 3, :opened, 0, :bands, :profile)"
    ).bindparams(
        subject=SUBJECT,
        ref=(1).to_bytes(16, "big"),
        bucket=SUBJECT[0],
        month=month,
        opened=month // 3 - 8,
        bands=bytes([5, 3, 1, 7]),
        profile=b"\7" + bytes(23),
    )
    inquiry = sa.text(
        "INSERT INTO inquiry (subject, member_no, application_ref, bucket, day, product, outcome)"
        " VALUES (:subject, 2, :ref, :bucket, 20700, 2, 0)"
    ).bindparams(subject=SUBJECT, ref=bytes(16), bucket=SUBJECT[0])
    migrate_to(SIGNALS, empty_urls.signals_url, "signals_0004", relation, inquiry)
    upgrade_stores(*empty_urls.all)

    with (
        open_journal(empty_urls, clock, ledger_key) as journal,
        open_signals(empty_urls, clock) as signals,
        serving(journal, signals, clock) as consortium,
    ):
        history = signals.histories([SUBJECT], 1)[SUBJECT]
        [(_, before)], [(_, application)] = history.relations, history.inquiries
        assert (before.balance, before.days_past_due, application.day) == (3, 7, 20_700)
        grant(consortium.beta, [draft(consortium, 1, [common_pb2.PURPOSE_CONTRIBUTION])])
        row = account(consortium, 1, balance=6)
        # Row 0 was refused, entry 4 is gamma's.
        for entry, item, reasons in ((3, 0, ["NO_SUCH_ROW"]), (4, 1, ["NO_SUCH_ROW"]), (3, 1, [])):
            row.replaces.entry_index, row.replaces.item = entry, item
            response = contribute(consortium.beta, [row])
            assert [refusal.reason for refusal in response.refused] == reasons
        [(_, after)] = signals.histories([SUBJECT], 1)[SUBJECT].relations
        assert (after.balance, after.days_past_due) == (6, 1)
