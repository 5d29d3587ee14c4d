"""Statements compiled once: what a receiver runs for every instance and association.

At the driver's speed: the mapper spends more time on such a statement than the database does.
Values are converted by the columns' own types, so that a row looks the same whichever way it came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, bindparam
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import StatementError
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.elements import KeyedColumnElement

from storage.database import DriverTransaction

Row = Mapping[str, Any]
_REFUSALS = (ValueError, TypeError, AttributeError, OverflowError)


class _Compiled(NamedTuple):
    text: str
    convert: Callable[[Row], Any]


class Prepared:
    """One statement; `build` makes it for a dialect."""

    def __init__(self, build: Callable[[Dialect], ClauseElement]) -> None:
        self._build = build
        self._compiled: dict[str, _Compiled] = {}

    def run(self, driver: DriverTransaction, rows: Sequence[Row]) -> int:
        """Run it once for each of the rows of values and return how many rows it touched in all."""
        compiled = self._for(driver.dialect)
        values = [_converted(compiled, row) for row in rows]
        cursor = driver.cursor
        if len(values) == 1:
            cursor.execute(compiled.text, values[0])
        else:
            cursor.executemany(compiled.text, values)
        return int(cursor.rowcount)

    def rows(self, driver: DriverTransaction, row: Row) -> list[tuple[Any, ...]]:
        """Run it once and return what it returns, as the driver gives it."""
        compiled = self._for(driver.dialect)
        driver.cursor.execute(compiled.text, _converted(compiled, row))
        return list(driver.cursor.fetchall())

    def _for(self, dialect: Dialect) -> _Compiled:
        if dialect.name not in self._compiled:
            self._compiled[dialect.name] = _compiled(self._build(dialect), dialect)
        return self._compiled[dialect.name]


def bound(columns: Iterable[KeyedColumnElement[Any]]) -> dict[str, BindParameter[Any]]:
    """A parameter for each of these columns of a table, of its name and type."""
    return {
        column.key: bindparam(column.key, type_=column.type) for column in columns if column.key
    }


def _converted(compiled: _Compiled, row: Row) -> Any:
    """The values for the driver; one that a column refuses is told as the mapper tells it."""
    try:
        return compiled.convert(row)
    except _REFUSALS as error:
        raise StatementError("a column refuses a value", None, None, error) from None


def _compiled(statement: ClauseElement, dialect: Dialect) -> _Compiled:
    compiled: Any = statement.compile(dialect=dialect)
    processors = {
        name: bind.type.dialect_impl(dialect).bind_processor(dialect)
        for name, bind in compiled.binds.items()
    }
    fixed = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}

    def converted(name: str, process: Callable[[Any], Any] | None) -> Callable[[Row], Any]:
        if name in fixed:
            value = process(fixed[name]) if process else fixed[name]
            return lambda _row: value
        if process is None:
            return itemgetter(name)
        return lambda row: process(row[name])

    values = {name: converted(name, process) for name, process in processors.items()}
    in_order = tuple(values[name] for name in compiled.positiontup or ())

    def by_name(row: Row) -> dict[str, Any]:
        return {name: value(row) for name, value in values.items()}

    def by_position(row: Row) -> tuple[Any, ...]:
        return tuple([value(row) for value in in_order])

    return _Compiled(str(compiled), by_position if compiled.positional else by_name)
