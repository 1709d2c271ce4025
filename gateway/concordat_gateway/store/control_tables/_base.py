"""What all tables of the control store share."""

import sqlalchemy as sa
from sqlmodel import SQLModel

from concordat_store.schema import NAMING

METADATA = sa.MetaData(naming_convention=NAMING)


class Control(SQLModel):
    """A model of the control store."""

    metadata = METADATA
