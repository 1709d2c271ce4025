"""Tables of the control store: members, consents, subjects, batches, ledger, budgets, usage.

Small and strictly serialised: every change goes through the journal. All times are integer
microseconds since the epoch, UTC. A subject column holds a `SubjectKey`, never a token.

A file a subject: its models, and in lower case the same tables for SQLAlchemy Core, which rules and
hot paths use and which this package gives. Importing it makes `METADATA` whole.
"""

from concordat_gateway.store.control_tables._base import METADATA
from concordat_gateway.store.control_tables.aggregates import answer, budget
from concordat_gateway.store.control_tables.consents import consent, consent_manager, notice
from concordat_gateway.store.control_tables.contributions import (
    batch,
    replaced_row,
    retention_run,
    upload,
)
from concordat_gateway.store.control_tables.disputes import dispute, dispute_task
from concordat_gateway.store.control_tables.erasures import erased_consent, erased_name, erasure
from concordat_gateway.store.control_tables.ledger import (
    cosignature,
    ledger_entry,
    ledger_head,
    ledger_item,
    ledger_timestamp,
)
from concordat_gateway.store.control_tables.members import (
    alarm,
    invitation,
    lookup_quota,
    member,
    usage,
    usage_rate,
)
from concordat_gateway.store.control_tables.requests import request
from concordat_gateway.store.control_tables.subjects import (
    rotation,
    rotation_pair,
    subject_alias,
    subject_asking,
    subject_element,
    subject_record,
)

__all__ = [
    "METADATA",
    "alarm",
    "answer",
    "batch",
    "budget",
    "consent",
    "consent_manager",
    "cosignature",
    "dispute",
    "dispute_task",
    "erased_consent",
    "erased_name",
    "erasure",
    "invitation",
    "ledger_entry",
    "ledger_head",
    "ledger_item",
    "ledger_timestamp",
    "lookup_quota",
    "member",
    "notice",
    "replaced_row",
    "request",
    "retention_run",
    "rotation",
    "rotation_pair",
    "subject_alias",
    "subject_asking",
    "subject_element",
    "subject_record",
    "upload",
    "usage",
    "usage_rate",
]
