"""Questions to the whole pool: budgets and answers."""

from sqlmodel import Field

from concordat_gateway.store.control_tables._base import METADATA, Control
from concordat_store.schema import big_int, exactly


class Budget(Control, table=True):
    """Privacy budget of a scope ("pool", "member:<member_id>") in billionths of zCDP rho."""

    __tablename__ = "budget"

    scope: str = Field(primary_key=True)
    cap_nano_rho: int = big_int()
    spent_nano_rho: int = big_int()


class Answer(Control, table=True):
    """A question to one snapshot of the pool; `reply` is null from the charge to the answer."""

    __tablename__ = "answer"
    __table_args__ = (exactly("question", 32),)

    question: bytes = Field(primary_key=True)
    snapshot: int = big_int(primary_key=True, sa_column_kwargs={"autoincrement": False})
    reply: bytes | None = Field(default=None)
    charged_nano_rho: int = big_int()
    entry: int = big_int()
    asked_by: str


budget = METADATA.tables["budget"]
answer = METADATA.tables["answer"]
