"""From an audience, wherever it is, to a view of its rows as they are."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_journey.segments.audience import Audience, FileAudience, SqlAudience
from airflow_provider_journey.segments.columns import COLUMNS, IDENTIFIERS, places
from airflow_provider_journey.segments.errors import AudienceError
from airflow_provider_journey.segments.files import cause, view_of_files
from airflow_provider_journey.storage.database import literal, quoted

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_BATCH = 20_000
# An e-mail address or a phone number somewhere in a line.
_PERSONAL = r"@|\+[0-9][0-9 ()./-]{5,}"


def view_of_audience(
    database: DuckDBPyConnection, audience: Audience, required: Sequence[str], directory: Path
) -> bool:
    """Make the view ``audience_rows``: every row of the audience, nothing judged yet.

    Its columns are :data:`~airflow_provider_journey.segments.columns.COLUMNS`, all VARCHAR; one that
    the audience lacks is null. Beside it the table ``unreadable``: ``line``, ``reason`` and ``number`` of
    lines of a text file that are no rows; where people are known by anything else than contacts' ids, or
    the line looks as if somebody were, the line is null.

    :param audience: where to read.
    :param required: the columns that must be there.
    :param directory: local folder for copies.
    :return: whether people may be known by anything else than contacts' ids.
    :raises AudienceError: a column is missing, or the audience is not what it is said to be.
    """
    database.execute("CREATE OR REPLACE TEMP TABLE unreadable (line VARCHAR, reason VARCHAR, number BIGINT)")
    if isinstance(audience, FileAudience):
        found = view_of_files(database, audience, required, directory)
    else:
        found = _staged(database, audience, required, directory)
    identified = not found.isdisjoint(IDENTIFIERS)
    database.execute(
        "UPDATE unreadable SET line = NULL WHERE $1 OR regexp_matches(line, $2)", [identified, _PERSONAL]
    )
    return identified


@contextmanager
def read_to_its_end(database: DuckDBPyConnection, audience: Audience) -> Iterator[None]:
    """Say so where a failure inside the block is the audience's: of Parquet little is read before it is used.

    :raises AudienceError: rows of the view ``audience_rows`` cannot be read.
    """
    import duckdb

    try:
        yield
    except duckdb.Error:
        try:
            # A hash wants every value; a maximum might be taken from a file's statistics.
            database.execute(f"FROM audience_rows SELECT bit_xor(hash({', '.join(COLUMNS)}))")
        except duckdb.OperationalError:
            raise  # disk or memory
        except duckdb.Error as error:
            where = audience.path if isinstance(audience, FileAudience) else "the audience"
            raise AudienceError(f"{where} cannot be read to its end: {cause(error)}") from None
        raise


def _staged(
    database: DuckDBPyConnection, audience: Audience, required: Sequence[str], directory: Path
) -> set[str]:
    """Make the view from rows that come through this process; return the columns they have."""
    read = _read_sql if isinstance(audience, SqlAudience) else _read_rows
    found: set[str] = set()
    file = directory / "audience.csv"
    # Half a character ends nothing but its own row.
    with file.open("w", encoding="utf-8", errors="replace", newline="") as stream:
        # With this end of a line both of its signs are quoted where a value has one.
        writer = csv.writer(stream, lineterminator="\r\n")
        writer.writerow(COLUMNS)
        for batch in read(audience, required, found):
            writer.writerows(batch)
    columns = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in COLUMNS)
    parquet = directory / "audience.parquet"
    database.execute(
        f"COPY (FROM read_csv({literal(str(file))}, header = true, auto_detect = false, delim = ',',"
        f" quote = '\"', escape = '\"', columns = {{{columns}}})) TO {literal(str(parquet))} (FORMAT parquet)"
    )
    file.unlink()
    database.execute(
        f"CREATE OR REPLACE TEMP VIEW audience_rows AS FROM read_parquet({literal(str(parquet))})"
    )
    return found


Batches = Iterator[Iterable[tuple[Any, ...]]]


def _read_rows(audience: Any, required: Sequence[str], found: set[str]) -> Batches:
    rows = iter(audience.rows)
    number = 0
    while batch := list(itertools.islice(rows, _BATCH)):
        for row in batch:
            if not isinstance(row, Mapping):
                raise AudienceError(
                    f"row {number} of the audience is a {type(row).__name__}, not a mapping from columns"
                )
            if number == 0:
                places(list(row), required, "the audience's first row")
            number += 1
        named = [{str(name).strip().lower(): value for name, value in row.items()} for row in batch]
        found.update(*named)
        yield (tuple(row.get(name) for name in COLUMNS) for row in named)


def _read_sql(audience: Any, required: Sequence[str], found: set[str]) -> Batches:
    from airflow.sdk import BaseHook

    hook = BaseHook.get_hook(audience.conn_id)
    if not callable(getattr(hook, "get_conn", None)):
        raise AudienceError(f"the connection {audience.conn_id!r} is not one of an SQL database")
    with closing(hook.get_conn()) as connection, closing(_cursor(hook, connection)) as cursor:
        cursor.execute(audience.sql)
        # A server-side cursor knows its columns only after the first fetch.
        batch = cursor.fetchmany(_BATCH)
        if cursor.description is None:
            raise AudienceError(f"the audience's query on {audience.conn_id!r} returns no rows by its nature")
        at = places([column[0] for column in cursor.description], required, "the audience's query")
        found.update(at)
        pick = _picker(at)
        while batch:
            yield map(pick, batch)
            batch = cursor.fetchmany(_BATCH)


def _picker(at: Mapping[str, int]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    indexes = [at.get(name) for name in COLUMNS]

    def pick(row: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(None if index is None else row[index] for index in indexes)

    return pick


def _cursor(hook: Any, connection: Any) -> Any:
    """Return a cursor that does not bring the whole answer into memory, where the driver has one."""
    if getattr(hook, "conn_type", None) == "postgres":
        return connection.cursor(name="journey_audience")
    return connection.cursor()
