"""Column types that behave alike on SQLite and PostgreSQL, and the root of all tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar

from sqlalchemy import JSON, DateTime, Dialect, MetaData, Text
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

E = TypeVar("E", bound=StrEnum)

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Table(DeclarativeBase):
    """Root of the typed models; names of constraints are the same on both databases."""

    metadata = MetaData(naming_convention=NAMING)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time; a naive one is refused, because nobody knows what it means."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn any aware time into UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a time zone cannot be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """SQLite keeps no zone: what was written there is UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class PlainText(TypeDecorator[str]):
    """Text as it came, without the characters that a database cannot keep (`storable`)."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Take out what cannot be kept; of literals, since parameters have their own function."""
        return _plain(value)

    def bind_processor(self, dialect: Dialect) -> Callable[[str | None], str | None]:
        """Return what does so to a parameter: one function, run ten times for each instance."""
        return _plain


class EnumText(TypeDecorator[E], Generic[E]):
    """A string enum by its value: a new member needs no migration."""

    impl = Text
    cache_ok = True

    def __init__(self, enum: type[E]) -> None:
        super().__init__()
        self.enum = enum

    def process_bind_param(self, value: E | None, dialect: Dialect) -> str | None:
        """Write the member's value."""
        return None if value is None else self.enum(value).value

    def process_result_value(self, value: Any, dialect: Dialect) -> E | None:
        """Read the member."""
        return None if value is None else self.enum(value)


def _plain(value: str | None) -> str | None:
    if value is None or (value.isascii() and "\x00" not in value):
        return value
    return storable(value)


def storable(text: str) -> str:
    """`text` without NUL and lone surrogates: PostgreSQL refuses the first, UTF-8 the second.

    Neither is allowed in any DICOM text (PS3.5 6.1), yet both turn up: NUL as wrong padding,
    surrogates from a wrong character set. An instance must not be lost for that.
    """
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")


def storable_map(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` for a JSON column, every text in it as by `storable`."""
    return {
        name: storable_map(value)
        if isinstance(value, Mapping)
        else storable(value)
        if isinstance(value, str)
        else value
        for name, value in values.items()
    }


JsonMap = JSON(none_as_null=True)
"""Small maps and lists that nobody searches in."""
