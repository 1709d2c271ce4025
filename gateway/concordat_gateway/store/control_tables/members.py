"""Members, their invitations, limits, counters and alarms."""

from sqlmodel import Field

from concordat_gateway.store.control_tables._base import METADATA, Control
from concordat_store.meters import define_meters
from concordat_store.schema import big_int, small_int


class Member(Control, table=True):
    """A lender of the consortium. `state` is a number of the contract's MemberState."""

    __tablename__ = "member"

    member_id: str = Field(primary_key=True)
    member_no: int = small_int(unique=True)
    display_name: str
    state: int = small_int()
    invited_at: int = big_int()
    joined_at: int | None = big_int(default=None)
    certificate_serial: str | None = Field(default=None)
    """Serial number of the certificate the member joined with, lower-case hexadecimal."""


class Invitation(Control, table=True):
    """A one-time certificate with which an invited member sends its own CSR."""

    __tablename__ = "invitation"

    certificate_serial: str = Field(primary_key=True)
    member_id: str = Field(index=True)
    expires_at: int = big_int()
    used_at: int | None = big_int(default=None)


class LookupQuota(Control, table=True):
    """Limits of lookups that the operator set for one member; others have the configured ones."""

    __tablename__ = "lookup_quota"

    member_id: str = Field(primary_key=True)
    daily: int = big_int()
    monthly: int = big_int()


class Alarm(Control, table=True):
    """A pattern that a member's counters showed on a day. Counts only, nothing of subjects."""

    __tablename__ = "alarm"

    member_id: str = Field(primary_key=True)
    day: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    """Counted from 1970-01-01."""
    kind: int = small_int(primary_key=True, sa_column_kwargs={"autoincrement": False})
    """A number of the contract's AlarmKind."""
    description: str


define_meters(METADATA)

member = METADATA.tables["member"]
invitation = METADATA.tables["invitation"]
lookup_quota = METADATA.tables["lookup_quota"]
alarm = METADATA.tables["alarm"]
usage = METADATA.tables["usage"]
usage_rate = METADATA.tables["usage_rate"]
