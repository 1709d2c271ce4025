"""Accepts a batch of one open account on a gateway's stores and dies before it is published.

So does a worker that is killed at that moment. The gateway may be serving.

Usage: python -m tests.programs.accept GATEWAY_TOML MEMBER_ID REQUEST_ID_HEX TOKEN_HEX
"""

import os
import signal
import sys
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

from concordat_gateway.config import load_config
from concordat_gateway.keyfiles import load_ledger_key
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.contributions import contribute
from concordat_gateway.rules.intake import AccountNumbers, Header, Intake, RawRow
from concordat_gateway.server import peppers
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.subjects import subject_key
from concordat_privacy.catalogue.bands import AccountStatus, ProductClass
from concordat_privacy.catalogue.calendar import day_number, month_number, quarter_number
from concordat_privacy.catalogue.signals import CATALOGUE_VERSION
from concordat_rpc.peer import Peer, Role, spiffe_id
from concordat_store.clock import system_clock
from concordat_store.database import Database

CALL_SECONDS = 30


class KilledBeforePublishing(SignalStore):
    """A signals store whose process does not live to publish."""

    def publish(
        self, batch_id: bytes, member_no: int, refused_rows: Collection[int], entry: int = 0
    ) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def main(config_file: str, member_id: str, request_id: str, token: str) -> None:
    config = load_config(Path(config_file))
    journal = Journal(
        Database.open(config.stores.control), load_ledger_key(config.ledger_key), system_clock
    )
    signals = KilledBeforePublishing(Database.open(config.stores.signals), system_clock)
    epoch = journal.tokens_epoch
    pepper = peppers(config).pepper(epoch)
    today = datetime.now(UTC).date()
    intake = Intake(
        Header(bytes.fromhex(request_id), epoch, CATALOGUE_VERSION),
        day_number(today),
        epoch,
        lambda tokens: [subject_key(pepper, one) for one in tokens],
    )
    account = AccountNumbers(
        account_ref=bytes(16),
        as_of_month=month_number(today),
        status=AccountStatus.OPEN,
        product=ProductClass.CASH_INSTALMENT,
        opened_quarter=quarter_number(today) - 4,
        limit=0,
        balance=0,
        past_due=0,
        days_past_due=0,
        utilisation=0,
        spend_volatility=0,
        payment_profile=b"",
    )
    intake.add([RawRow(bytes.fromhex(token), account)])
    furnisher = Peer(Role.MEMBER, member_id, spiffe_id(config.trust_domain, Role.MEMBER, member_id))
    contribute(journal, signals, furnisher, intake, lambda accepted: b"", CALL_SECONDS)


if __name__ == "__main__":
    main(*sys.argv[1:5])
