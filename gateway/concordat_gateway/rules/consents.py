"""Reading consents. A member sees the consents it received and no others: another's and none at all
cannot be told apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Journal
from concordat_gateway.ledger.tree import read_tokens_epoch
from concordat_gateway.rules.consent_records import (
    COLUMNS,
    Consent,
    check_consent_id,
    consent_of,
    find,
)
from concordat_gateway.rules.pages import Listing, page_size
from concordat_gateway.rules.subjects import Subjects
from concordat_gateway.store.control_tables import consent as consent_table
from concordat_gateway.store.subjects import require_epoch
from concordat_privacy.oprf import TOKEN_BYTES
from concordat_rpc.errors import invalid
from concordat_rpc.peer import Peer

MAX_PAGE = 1_000
DEFAULT_PAGE = 100


@dataclass(frozen=True, slots=True)
class Page:
    """Some consents, oldest first."""

    consents: Sequence[Consent]
    next_page_token: str


def get(journal: Journal, recipient: Peer, consent_id: bytes) -> Consent:
    """One consent of the recipient.

    Raises Refusal INVALID_ARGUMENT, NOT_FOUND (CONSENT_NOT_FOUND).
    """
    check_consent_id(consent_id)
    with journal.read() as connection:
        return find(connection, recipient, consent_id)


def list_page(
    journal: Journal,
    recipient: Peer,
    token: bytes,
    wanted: int,
    page_token: str,
    epoch: int,
    subjects: Subjects,
    timeout_seconds: float,
) -> Page:
    """A page of the recipient's consents; only one subject's unless `token` is empty.

    Raises Refusal INVALID_ARGUMENT, and for a token FAILED_PRECONDITION (EPOCH_NOT_ACTIVE,
    EPOCH_REQUIRED), UNAVAILABLE.
    """
    size = page_size(wanted, DEFAULT_PAGE, MAX_PAGE)
    if token and len(token) != TOKEN_BYTES:
        raise invalid("token", f"{TOKEN_BYTES} bytes or none wanted, {len(token)} given")
    listing = Listing.of(b"consents", recipient.spiffe_id.encode(), token)
    # One more than fits tells whether there is a next page.
    parameters = {
        "recipient": recipient.name,
        "after": listing.position(page_token),
        "size": size + 1,
    }

    def of_subject(store_epoch: int) -> list[Consent]:
        named = subjects.named(recipient.name, [token], epoch, store_epoch, timeout_seconds)
        [subject] = named.keys
        with journal.read() as connection:
            require_epoch(read_tokens_epoch(connection), named.epoch)
            found = connection.execute(
                _OF_RECIPIENT_AND_SUBJECT, {**parameters, "subject": subject}
            )
            return [consent_of(row) for row in found]

    if token:
        consents = subjects.settled(of_subject)
    else:
        with journal.read() as connection:
            consents = [consent_of(row) for row in connection.execute(_OF_RECIPIENT, parameters)]
    if len(consents) <= size:
        return Page(consents, "")
    return Page(consents[:size], listing.token(consents[size - 1].grant_entry))


_OF_RECIPIENT = (
    sa.select(*COLUMNS)
    .where(
        consent_table.c.recipient == sa.bindparam("recipient"),
        consent_table.c.grant_entry > sa.bindparam("after"),
    )
    .order_by(consent_table.c.grant_entry)
    .limit(sa.bindparam("size"))
)
_OF_RECIPIENT_AND_SUBJECT = _OF_RECIPIENT.where(consent_table.c.subject == sa.bindparam("subject"))
