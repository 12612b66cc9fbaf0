"""Who belongs to which segment, said by a file, a database or an upstream task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_journey.segments.errors import AudienceError

MODES = ("changes", "upsert", "mirror")


@dataclass(frozen=True)
class FileAudience:
    """An audience in files: CSV, JSON lines or Parquet, told by their names' endings.

    Text is UTF-8 and is read as text: ``00123`` stays as it is. The endings are ``.csv``, ``.tsv``,
    ``.jsonl``, ``.ndjson``, ``.json`` and ``.parquet``; text may be compressed (``.gz``, ``.zst``).

    :param path: a path or URL that Airflow's object storage knows; may be a glob.
    :param conn_id: the connection of the store, if it has one.
    """

    path: str
    conn_id: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, fit for a template field."""
        return {"kind": "file", "path": str(self.path), "conn_id": self.conn_id}


@dataclass(frozen=True)
class SqlAudience:
    """An audience that a query returns, through Airflow's hook for the connection.

    PostgreSQL is read with a server-side cursor, others batch by batch (``fetchmany``).

    :param conn_id: a connection whose hook is a ``DbApiHook``.
    :param sql: a query whose columns are called as an audience's are.
    """

    conn_id: str
    sql: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, fit for a template field."""
        return {"kind": "sql", "conn_id": self.conn_id, "sql": self.sql}


@dataclass(frozen=True)
class RowsAudience:
    """An audience handed over by an upstream task: for thousands of rows, not for millions.

    Such rows have passed through Airflow's database. For people known by e-mail or phone take a file or a
    query.

    :param rows: mappings with an audience's columns.
    """

    rows: Sequence[Mapping[str, Any]] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, fit for a template field."""
        return {"kind": "rows", "rows": self.rows}


Audience = FileAudience | SqlAudience | RowsAudience
_KINDS: dict[str, type[FileAudience] | type[SqlAudience] | type[RowsAudience]] = {
    "file": FileAudience,
    "sql": SqlAudience,
    "rows": RowsAudience,
}


def audience_from(value: Any) -> Audience:
    """Return the audience that ``value`` stands for.

    :param value: an audience, what its ``to_dict`` gave, or the rows of one.
    :raises AudienceError: it is none of those.
    """
    if isinstance(value, FileAudience | SqlAudience):
        return value
    if isinstance(value, RowsAudience):
        value = value.rows
    if isinstance(value, Mapping):
        fields = {key: item for key, item in value.items() if key != "kind"}
        kind = value.get("kind")
        if kind in _KINDS:
            try:
                return _KINDS[kind](**fields)
            except TypeError as error:
                raise AudienceError(f"audience: {error}") from None
        raise AudienceError(f"audience: its kind is one of {', '.join(_KINDS)}, not {kind!r}")
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return RowsAudience(value)
    raise AudienceError(
        f"audience: FileAudience, SqlAudience or a list of rows is wanted, not {type(value).__name__}. Rows "
        "of an upstream task are given as its output: a template makes text of them."
    )
