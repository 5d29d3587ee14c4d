"""Insert, or meet the row that is there already: the one statement that both databases share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from storage.table_types import Table

T = TypeVar("T", bound=Table)


def insert_or_lock(session: Session, table: type[T], values: Mapping[str, Any]) -> T:
    """The row with the primary key in `values`, new or old, locked until the transaction ends.

    An old row keeps its values. One statement, so that a row deleted at the same moment by
    somebody else is simply inserted anew.
    """
    key = [column.name for column in table.__table__.primary_key]
    # Setting the key to itself changes nothing, but PostgreSQL locks and returns the row.
    statement = _insert(session, table, values).on_conflict_do_update(
        index_elements=key, set_={name: values[name] for name in key}
    )
    returning = statement.returning(table)
    return session.scalars(returning, execution_options={"populate_existing": True}).one()


def insert_new(session: Session, table: type[T], values: Mapping[str, Any]) -> T | None:
    """The new row, or None where any unique key of `values` is taken."""
    statement = _insert(session, table, values).on_conflict_do_nothing().returning(table)
    return session.scalars(statement).one_or_none()


def _insert(
    session: Session, table: type[T], values: Mapping[str, Any]
) -> postgresql.Insert | sqlite.Insert:
    if session.get_bind().dialect.name == "postgresql":
        return postgresql.insert(table).values(**values)
    return sqlite.insert(table).values(**values)
