"""Statements compiled once: what a receiver runs for every instance and association.

At the driver's speed: the mapper spends more time on such a statement than the database does.
Values are converted by the columns' own types, so that a row looks the same whichever way it came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import repeat
from operator import is_, itemgetter
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, bindparam
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import StatementError
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.elements import KeyedColumnElement

from storage.database import DriverTransaction

Row = Mapping[str, Any]
_REFUSALS = (ValueError, TypeError, AttributeError, OverflowError)


_Process = Callable[[Any], Any]


class _Parameter(NamedTuple):
    """How a statement's parameter is called, and what the driver makes of its value; None: it."""

    name: str
    process: _Process | None
    is_fixed: bool
    fixed: Any

    def values(self, rows: Sequence[Row]) -> list[Any]:
        """Return its value in each of the rows, for the driver."""
        if self.is_fixed:
            return [self.fixed] * len(rows)
        values = list(map(itemgetter(self.name), rows))
        return values if self.process is None else _processed(self.process, values)


class _Compiled(NamedTuple):
    text: str
    parameters: tuple[_Parameter, ...]
    is_positional: bool

    def values(self, rows: Sequence[Row]) -> list[Any]:
        """Return the values of each row; column by column, for most rows of one call are alike."""
        columns = [parameter.values(rows) for parameter in self.parameters]
        if not columns:
            return [()] * len(rows)
        if self.is_positional:
            return list(zip(*columns, strict=True))
        names = [parameter.name for parameter in self.parameters]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


class Prepared:
    """One statement; `build` makes it for a dialect."""

    def __init__(self, build: Callable[[Dialect], ClauseElement]) -> None:
        self._build = build
        self._compiled: dict[str, _Compiled] = {}

    def run(self, driver: DriverTransaction, rows: Sequence[Row]) -> int:
        """Run it once for each of the rows of values and return how many rows it touched in all."""
        if not rows:
            return 0
        compiled = self._for(driver.dialect)
        values = _converted(compiled, rows)
        cursor = driver.cursor
        if len(values) == 1:
            cursor.execute(compiled.text, values[0])
        else:
            cursor.executemany(compiled.text, values)
        return int(cursor.rowcount)

    def rows(self, driver: DriverTransaction, row: Row) -> list[tuple[Any, ...]]:
        """Run it once and return what it returns, as the driver gives it."""
        compiled = self._for(driver.dialect)
        driver.cursor.execute(compiled.text, _converted(compiled, [row])[0])
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


def _converted(compiled: _Compiled, rows: Sequence[Row]) -> list[Any]:
    """The values for the driver; one that a column refuses is told as the mapper tells it."""
    try:
        return compiled.values(rows)
    except _REFUSALS as error:
        raise StatementError("a column refuses a value", None, None, error) from None


def _processed(process: _Process, values: list[Any]) -> list[Any]:
    # The very same object: what is only equal may be of another type.
    if values and all(map(is_, values, repeat(values[0]))):
        return [process(values[0])] * len(values)
    return list(map(process, values))


def _compiled(statement: ClauseElement, dialect: Dialect) -> _Compiled:
    compiled: Any = statement.compile(dialect=dialect)
    known = {name: _parameter(name, bind, dialect) for name, bind in compiled.binds.items()}
    names = compiled.positiontup if compiled.positional else known
    return _Compiled(str(compiled), tuple(known[name] for name in names), compiled.positional)


def _parameter(name: str, bind: BindParameter[Any], dialect: Dialect) -> _Parameter:
    process = bind.type.dialect_impl(dialect).bind_processor(dialect)
    if bind.required:
        return _Parameter(name, process, is_fixed=False, fixed=None)
    fixed = process(bind.value) if process else bind.value
    return _Parameter(name, process, is_fixed=True, fixed=fixed)
