"""Prebuilt questions about one thing, past most of SQLAlchemy.

To bind the parameters of a statement with a list in it takes SQLAlchemy longer than SQLite takes to
answer. Where each list has one value, the statement's text does not change from call to call.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.compiler import SQLCompiler


def rows_of(
    connection: sa.Connection,
    statement: sa.Select[Any] | sa.CompoundSelect[Any],
    parameters: Mapping[str, Any],
) -> Sequence[sa.Row[*tuple[Any, ...]]]:
    """All rows of a prebuilt statement, whose columns the driver must give as they are wanted.

    Bytes, text and integers are. The statement must be one that lives as long as the program.
    """
    lists = frozenset(name for name, value in parameters.items() if isinstance(value, list))
    if any(len(parameters[name]) != 1 for name in lists):
        return connection.execute(statement, parameters).all()
    text, order, constants = _of_one(statement, connection.dialect, frozenset(parameters), lists)
    values = dict(constants) | {
        f"{name}_1" if name in lists else name: value[0] if name in lists else value
        for name, value in parameters.items()
    }
    given = values if order is None else tuple(values[name] for name in order)
    return connection.exec_driver_sql(text, given).all()


@lru_cache(maxsize=256)
def _of_one(
    statement: sa.Select[Any] | sa.CompoundSelect[Any],
    dialect: sa.Dialect,
    names: frozenset[str],
    lists: frozenset[str],
) -> tuple[str, Sequence[str] | None, Mapping[str, Any]]:
    """The driver's SQL, the order of its parameters if they have no names, and the fixed ones."""
    compiled = statement.compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler)
    # What the values are does not matter, but there must be one for each.
    some = {name: [None] if name in lists else None for name in names}
    state = compiled.construct_expanded_state(some)
    return state.statement, state.positiontup, state.parameters
