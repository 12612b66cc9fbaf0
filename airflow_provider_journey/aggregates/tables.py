"""A database table for the rows of extracts: names, types, and the statements that make and widen it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_journey.aggregates.errors import QueryError
from airflow_provider_journey.aggregates.names import did_you_mean
from airflow_provider_journey.aggregates.rows import RowShape
from airflow_provider_journey.storage.database import quoted

EXTRACT = "extract"
MAX_EXTRACT = 512
# What a map becomes, for which SQL has no type: JSON text.
_MAP, _TEXT = "MAP(VARCHAR, VARCHAR)", "VARCHAR"
KINDS = ("TIMESTAMPTZ", _TEXT, "BIGINT", "DOUBLE")
_NAME = re.compile(r"[A-Za-z_][\w$]*(\.[A-Za-z_][\w$]*){0,2}")


def check_table(name: Any) -> None:
    """Refuse what is not the name of a table, with schema and database before it if need be.

    :raises QueryError: it is not.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise QueryError("table", f"is a name such as 'journey_aggregates' or 'lake.journey', not {name!r}.")


def check_column_types(given: Any, columns: Iterable[str]) -> None:
    """Refuse types for what there is not.

    :param given: SQL types by kind (:data:`KINDS`) or by the name of a column.
    :param columns: the columns' names.
    :raises QueryError: naming the key.
    """
    if not isinstance(given, Mapping):
        raise QueryError("column_types", f"is a dict of SQL types, not {given!r}.")
    known = (*KINDS, EXTRACT, *columns)
    for key, value in given.items():
        if key not in known:
            hint = did_you_mean(str(key), known)
            raise QueryError(
                f"column_types.{key}", f"is neither a column nor one of {', '.join(KINDS)}.{hint}"
            )
        if not isinstance(value, str) or not value.strip():
            raise QueryError(f"column_types.{key}", f"is an SQL type, not {value!r}.")


@dataclass(frozen=True)
class SqlTable:
    """A table and how its database writes names and types.

    :param name: the table's name, with its schema before it if need be.
    :param shape: the rows.
    :param dialect: SQLAlchemy's dialect of the database; ``None`` where there is none.
    :param column_types: SQL types by kind or by column, in the place of the dialect's.
    """

    name: str
    shape: RowShape
    dialect: Any = None
    column_types: Mapping[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in the order of the rows."""
        return (EXTRACT, *(name for name, _ in self.shape.columns))

    @property
    def is_postgres(self) -> bool:
        """Whether the database is PostgreSQL."""
        return getattr(self.dialect, "name", None) == "postgresql"

    @property
    def keeps_time_as_text(self) -> bool:
        """Whether the database has no type for an instant of its own."""
        return getattr(self.dialect, "name", None) == "sqlite"

    @property
    def target(self) -> str:
        """The table's name as it is written in a statement."""
        return ".".join(self.quote(part) for part in self.name.split("."))

    def quote(self, name: str) -> str:
        """Return a name as it is written in a statement, quoted where the database needs it."""
        if self.dialect is None:
            return quoted(name)
        return str(self.dialect.identifier_preparer.quote(name))

    def names(self) -> str:
        """Return the columns' names as a list in a statement."""
        return ", ".join(self.quote(name) for name in self.columns)

    def create(self) -> str:
        """Return the statement that makes the table where there is none.

        :raises QueryError: the dialect has no type for a column, nor has ``column_types``.
        """
        columns = ", ".join(self._column(name) for name in self.columns)
        return f"CREATE TABLE IF NOT EXISTS {self.target} ({columns})"

    def look(self) -> str:
        """Return the statement whose result has the table's columns, and no row."""
        return f"SELECT * FROM {self.target} WHERE 1 = 0"  # noqa: S608 - a checked name, quoted

    def widen(self, existing: Iterable[str]) -> list[str]:
        """Return the statements that add the columns which a table has not got.

        :param existing: the names of the columns that it has; their case does not matter.
        """
        there = {name.lower() for name in existing}
        return [
            f"ALTER TABLE {self.target} ADD COLUMN {self._column(name)}"
            for name in self.columns
            if name.lower() not in there
        ]

    def delete(self, placeholder: str) -> str:
        """Return the statement that deletes the rows of an extract whose buckets lie in a window.

        Its parameters are the extract's name, the window's start, and its end.
        """
        extract, start = self.quote(EXTRACT), self.quote("interval_start")
        own = f"{extract} = {placeholder} AND {start} >= {placeholder} AND {start} < {placeholder}"
        return f"DELETE FROM {self.target} WHERE {own}"  # noqa: S608 - checked names, quoted

    def insert(self, placeholder: str) -> str:
        """Return the statement that adds a row, its columns in order."""
        marks = ", ".join([placeholder] * len(self.columns))
        return f"INSERT INTO {self.target} ({self.names()}) VALUES ({marks})"  # noqa: S608 - checked names, quoted

    def copy(self) -> str:
        """Return PostgreSQL's statement that takes the rows as CSV."""
        return f"COPY {self.target} ({self.names()}) FROM STDIN WITH (FORMAT csv)"

    def _column(self, name: str) -> str:
        kind = dict(self.shape.columns).get(name, EXTRACT)
        kind = _TEXT if kind == _MAP else kind
        given = self.column_types.get(name) or self.column_types.get(_TEXT if kind == EXTRACT else kind)
        return f"{self.quote(name)} {given or self._type(kind)}"

    def _type(self, kind: str) -> str:
        import sqlalchemy
        from sqlalchemy.exc import SQLAlchemyError

        types: dict[str, Any] = {
            "TIMESTAMPTZ": sqlalchemy.DateTime(timezone=True),
            _TEXT: sqlalchemy.Text(),
            "BIGINT": sqlalchemy.BigInteger(),
            # SQL's name for a double of 64 bits, which dialects write in their own words.
            "DOUBLE": sqlalchemy.Float(53),
            # Compared, which not every database can do with text of any length.
            EXTRACT: sqlalchemy.String(MAX_EXTRACT),
        }
        shown = _TEXT if kind == EXTRACT else kind
        if self.dialect is None:
            raise _no_type(shown, "SQLAlchemy has no dialect for the database")
        try:
            return str(types[kind].compile(dialect=self.dialect))
        except SQLAlchemyError as error:
            raise _no_type(shown, f"SQLAlchemy's dialect {self.dialect.name} has no such type") from error


def _no_type(kind: str, cause: str) -> QueryError:
    return QueryError(
        "column_types", f"is missing: {cause}; say what {kind} is, as in column_types={{{kind!r}: ...}}."
    )
