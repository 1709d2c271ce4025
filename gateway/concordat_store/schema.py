"""What both schemas share: constraint names, column types and the way from model to table."""

from typing import Any

import sqlalchemy as sa
from sqlmodel import Field

# Named constraints can be altered later; unnamed ones cannot on SQLite.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "pk": "pk_%(table_name)s",
}

# SQLite makes a BIGINT key a second index beside the rowid; an INTEGER key is the rowid itself.
BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# SQLite stores such a table in its primary key's tree: no second index, half the bytes.
CLUSTERED = {"sqlite_with_rowid": False}


def exactly(column: str, length: int) -> sa.CheckConstraint:
    """CHECK that a bytes column holds `length` bytes, where it holds any.

    `max_length` of a model makes no DDL for bytes.
    """
    return sa.CheckConstraint(f"length({column}) = {length}", name=f"{column}_length")


def big_int(**options: Any) -> Any:
    """A 64-bit integer field; times are microseconds since the epoch, UTC."""
    return Field(sa_type=BigInt, **options)


def small_int(**options: Any) -> Any:
    """A 16-bit integer field."""
    return Field(sa_type=sa.SmallInteger, **options)
