"""Builds what the pool keeps of an account, by the catalogue's names."""

from dataclasses import fields, replace
from typing import Any

from concordat_privacy.catalogue.bands import AccountStatus, ProductClass
from concordat_privacy.catalogue.definitions import BANDS
from concordat_privacy.catalogue.relations import Relation

_FIELDS = frozenset(field.name for field in fields(Relation))

BLANK = Relation(
    account_ref=bytes(16),
    as_of_month=600,
    status=AccountStatus.OPEN,
    product=ProductClass.REVOLVING,
    opened_quarter=100,
    first_delinquency_month=0,
    bands=bytes(len(BANDS)),
    profile=bytes(24),
)


def changed(relation: Relation, **values: Any) -> Relation:
    """The relation with other fields or bands."""
    bands = {name: value for name, value in values.items() if name not in _FIELDS}
    others = {name: value for name, value in values.items() if name in _FIELDS}
    return replace(relation, **others).with_bands(**bands)


def relation(**values: Any) -> Relation:
    """A relation with some fields and bands, all else unknown."""
    return changed(BLANK, **values)
