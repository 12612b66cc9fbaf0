"""From rows to a database table: the window's old rows go and the new ones come in one transaction."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow_provider_journey.aggregates import rows
from airflow_provider_journey.aggregates.answers import RowTable
from airflow_provider_journey.aggregates.asking import Extract, Gather, Report, fetch, gathered
from airflow_provider_journey.aggregates.calendars import Window
from airflow_provider_journey.aggregates.tables import EXTRACT, SqlTable
from airflow_provider_journey.storage.database import literal, quoted
from airflow_provider_journey.storage.scratch import scratch_folder

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation

    from airflow_provider_journey.api.client import JourneyClient

_BATCH = 5_000
_PIECE = 2**18
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_OTHER = "CAST(to_json(other_dimensions) AS VARCHAR) AS other_dimensions"
_TIMES = ("interval_start", "interval_end")


@dataclass(frozen=True)
class Destination:
    """Where the rows of an extract go.

    :param hook: Airflow's hook of the database, a ``DbApiHook``.
    :param table: the table's name.
    :param extract: what each row is marked with; rows of another mark are never touched.
    :param column_types: SQL types by kind or by column, where the dialect's own will not do.
    """

    hook: Any
    table: str
    extract: str
    column_types: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Loaded:
    """What became of a load.

    :param rows: how many rows were put in.
    :param replaced: how many were there before, as the driver counts them; ``-1`` where it does not.
    """

    rows: int
    replaced: int


def extract_to_table(
    client: JourneyClient, extract: Extract, destination: Destination, report: Report, gather: Gather = fetch
) -> Loaded:
    """Replace a table's rows of the extract's window by what the service answers now.

    Nothing is touched before every answer is read and checked. The table is made, or gets the columns that it
    lacks, before the transaction in which rows are deleted and inserted.

    :param client: whom to ask.
    :param report: called with a line of text whenever there is progress to tell.
    :param gather: how the rows are got.
    :raises QueryError: the database has no type for a column.
    :raises JourneyError: the service refuses, fails, or answers what the contract does not have.
    :raises Exception: whatever the driver raises; the rows that were there before stand.
    """
    table = SqlTable(destination.table, extract.shape, dialect(destination.hook), destination.column_types)
    table.create()  # what has no type is refused before anybody is asked
    with (
        scratch_folder() as directory,
        gathered(client, extract, directory, report, gather) as found,
        closing(destination.hook.get_conn()) as connection,
    ):
        prepare(connection, table)
        return replace(connection, table, destination, found, extract.window)


def dialect(hook: Any) -> Any:
    """Return SQLAlchemy's dialect of a hook's database, ``None`` where there is none."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return make_url(hook.get_uri()).get_dialect()()
    except (SQLAlchemyError, NotImplementedError, ImportError, AttributeError):
        return None


def prepare(connection: Any, table: SqlTable) -> None:
    """Make the table where there is none, and add the columns that it lacks.

    :raises Exception: what the driver raises, unless the table is there all the same: somebody may just have
        made it, or this role may fill tables and make none.
    """
    error = _driver_error(connection)
    try:
        _prepare(connection, table, make=True)
    except error as refused:
        connection.rollback()
        try:
            _prepare(connection, table, make=False)
        except error as lacking:
            raise refused from lacking


def replace(
    connection: Any, table: SqlTable, destination: Destination, found: RowTable, window: Window
) -> Loaded:
    """Delete the extract's rows of ``window`` and put in those of ``found``, in one transaction.

    :param connection: a connection of the driver, which begins a transaction by itself.
    """
    mark = destination.hook.placeholder
    bounds = [_value(table, instant) for instant in (window.start, window.end)]
    with closing(connection.cursor()) as cursor:
        if table.is_postgres:
            # Two runs of one extract at once would each not see what the other has put in.
            key = f"{table.name} {destination.extract}"
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (key,))
        cursor.execute(table.delete(mark), (destination.extract, *bounds))
        replaced = cursor.rowcount
        load = _copier(cursor) if table.is_postgres else None
        if load:
            with _Csv(found, window, destination.extract) as stream:
                load(table.copy(), stream)
                count = stream.rows
        else:
            count = 0
            for batch in _batches(found, table, destination.extract):
                cursor.executemany(table.insert(mark), batch)
                count += len(batch)
    connection.commit()
    return Loaded(count, replaced)


def _prepare(connection: Any, table: SqlTable, *, make: bool) -> None:
    with closing(connection.cursor()) as cursor:
        if make:
            cursor.execute(table.create())
        cursor.execute(table.look())
        for statement in table.widen(column[0] for column in cursor.description):
            cursor.execute(statement)
    connection.commit()


def _driver_error(connection: Any) -> type[Exception]:
    """Return the exception that all of a driver's others come from (PEP 249: its module's ``Error``)."""
    for kind in type(connection).__mro__:
        module = sys.modules.get(kind.__module__.partition(".")[0])
        error = getattr(module, "Error", None)
        if isinstance(error, type) and issubclass(error, Exception):
            return error
    return OSError


def _copier(cursor: Any) -> Callable[[str, _Csv], None] | None:
    """Return a function that runs a COPY over a stream, ``None`` where the driver has no such thing."""
    if hasattr(cursor, "copy_expert"):  # psycopg2
        return lambda statement, stream: cursor.copy_expert(statement, stream, _PIECE)
    if not hasattr(cursor, "copy"):
        return None

    def copy(statement: str, stream: _Csv) -> None:  # psycopg 3
        with cursor.copy(statement) as sink:
            while piece := stream.read(_PIECE):
                sink.write(piece)

    return copy


class _Csv:
    """The rows as COPY reads them, while the engine writes them: nothing is null, two quotes are empty text.

    :param found: the rows.
    :param window: which of them.
    :param extract: what each is marked with.
    """

    def __init__(self, found: RowTable, window: Window, extract: str) -> None:
        _view(found.select_unsorted(window), extract, _OTHER)
        source, sink = os.pipe()
        self._stream = os.fdopen(source, "rb", buffering=0)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="rows")
        self._written = self._worker.submit(_write, found, sink)

    def __enter__(self) -> _Csv:
        return self

    def __exit__(self, *_: object) -> None:
        # The engine cannot go on writing then.
        self._stream.close()
        self._worker.shutdown()

    def read(self, size: int) -> bytes:
        """Return the next bytes; where there are none left, it is certain that all were written."""
        piece = self._stream.read(size) or b""
        if not piece:
            self._written.result()
        return piece

    @property
    def rows(self) -> int:
        """How many rows were written."""
        return self._written.result()


def _write(found: RowTable, sink: int) -> int:
    statement = f"COPY to_load TO '/dev/fd/{sink}' (FORMAT csv, HEADER false, USE_TMP_FILE false)"
    try:
        return int(found.database.execute(statement).fetchall()[0][0])
    finally:
        os.close(sink)


def _batches(found: RowTable, table: SqlTable, extract: str) -> Iterator[list[tuple[Any, ...]]]:
    micros = ", ".join(f"epoch_us({name}) AS {name}" for name in _TIMES)
    times = rows.ISO_TIMES if table.keeps_time_as_text else micros
    for part in found.partitions:
        _view(found.select_unsorted(part), extract, f"{times}, {_OTHER}")
        result = found.database.execute("FROM to_load")
        while batch := result.fetchmany(_BATCH):
            if not table.keeps_time_as_text:
                batch = [(row[0], _instant(row[1]), _instant(row[2]), *row[3:]) for row in batch]
            yield batch


def _view(relation: DuckDBPyRelation, extract: str, replacing: str) -> None:
    """Make the view ``to_load`` of rows that carry the extract's name."""
    marked = relation.project(f"{literal(extract)} AS {quoted(EXTRACT)}, * REPLACE ({replacing})")
    marked.create_view("to_load", replace=True)


def _instant(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def _value(table: SqlTable, instant: datetime) -> Any:
    """Return an instant as the table keeps it."""
    if not table.keeps_time_as_text:
        return instant.astimezone(timezone.utc)
    return instant.strftime("%Y-%m-%dT%H:%M:%S.") + f"{instant.microsecond // 1000:03d}Z"
