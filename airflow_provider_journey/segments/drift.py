"""Drift: a sample of contacts read back, and compared with what the ledger says of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from airflow_provider_journey.api.async_client import JourneyAsyncClient
from airflow_provider_journey.api.clock import Clock, SystemClock
from airflow_provider_journey.segments.allotment import Budget
from airflow_provider_journey.segments.asking import Batches, Effort, tell
from airflow_provider_journey.segments.crew import Crew
from airflow_provider_journey.segments.lease import Lease
from airflow_provider_journey.segments.ledger import Ledger
from airflow_provider_journey.segments.reading_back import Drift, Known, Reader, Row
from airflow_provider_journey.segments.runs import Run
from airflow_provider_journey.storage.database import literal, open_database
from airflow_provider_journey.storage.scratch import local_folder

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_MEMORY_MIB = 512
# Which contacts are in the sample changes from run to run and from nothing else; in no order of theirs, so
# that the part that a budget allows is a sample too.
_SAMPLE = """
SELECT row_number() OVER (ORDER BY hash(external_contact_id, $run), external_contact_id) - 1 AS place,
  external_contact_id,
  coalesce(list(segment_id ORDER BY segment_id) FILTER (WHERE state = 'assigned'), []) AS assigned,
  coalesce(list(segment_id ORDER BY segment_id) FILTER (WHERE state = 'unassigned'), []) AS gone
FROM read_parquet($file)
WHERE list_contains($segment_ids, segment_id) AND state <> 'unknown'
  AND hash(external_contact_id, $run) % 1000000 < $fraction * 1000000
GROUP BY external_contact_id
"""
_NO_SAMPLE = "(place BIGINT, external_contact_id VARCHAR, assigned VARCHAR[], gone VARCHAR[])"
_READ = "SELECT external_contact_id, assigned, gone FROM sample WHERE place >= ? AND place < ? ORDER BY place"
_TABLE = """
SELECT * FROM read_json($rows, format = 'newline_delimited', columns = {
  external_contact_id: 'VARCHAR', segment_id: 'VARCHAR', expected: 'VARCHAR', found: 'VARCHAR',
  repair: 'VARCHAR', verified_at: 'TIMESTAMPTZ'})
ORDER BY external_contact_id, segment_id
"""


class Verification:
    """Reads contacts back, and makes the service agree with the ledger again if asked to.

    What the ledger knows nothing of, or is unsure of, is no drift: others assign segments too. The table
    ``drift.parquet`` in the run's folder has a row for each contact and segment: ``expected`` and ``found``
    (``assigned``, ``unassigned``, or ``contact not found``), what came of the ``repair`` (``done``,
    ``unprocessed`` or the error's code), and when.

    :param client: whom to ask (getJourneyExternalcontactSegments, or today's counterpart).
    :param ledger: what is known.
    :param run: where the table goes.
    :param segment_ids: the segments that are looked at.
    :param fraction: how much of the ledger's contacts is read back, 0 to 1: a request each.
    :param repair: whether what drifted is sent again.
    :param concurrency: requests in flight at a time.
    :param budget: what it may spend.
    :param lease: the ledger's lease, to be kept; ``None``: the caller sees to that.
    :param clock: where times come from.
    """

    def __init__(
        self,
        client: JourneyAsyncClient,
        ledger: Ledger,
        run: Run,
        segment_ids: Sequence[str],
        fraction: float,
        *,
        repair: bool = False,
        concurrency: int = 16,
        budget: Budget | None = None,
        lease: Lease | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._ledger = ledger
        self._run = run
        self._segment_ids = list(segment_ids)
        self._fraction = fraction
        self._concurrency = concurrency
        self._budget = budget or Budget()
        self._lease = lease
        self._clock = clock or SystemClock()
        self._reader = Reader(client, self._note, self._clock, repair=repair)
        self._rows: IO[str] | None = None
        self._statistics = client.statistics
        self._crew: Crew[Known] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = False

    @property
    def drift(self) -> Drift:
        """What was found so far."""
        return self._reader.drift

    async def run(self, report: Callable[[str], None]) -> Drift:
        """Verify the sample and write the table, also when an error ends it before the sample does.

        :param report: called with each line of progress.
        :raises JourneyError: the client may not read, or may not repair; or there is an outage.
        :raises LeaseError: another run took over.
        :raises OSError: store or disk fail.
        """
        self._loop = asyncio.get_running_loop()
        with local_folder() as directory:
            database = await asyncio.to_thread(open_database, directory, _MEMORY_MIB)
            try:
                total = await asyncio.to_thread(self._draw, database, directory)
                try:
                    with (directory / "drift.jsonl").open("w") as self._rows:
                        await self._read_back(database, total, report)
                finally:
                    self._loop = None
                    self.drift.unverified = total - self.drift.verified
                    await asyncio.to_thread(self._write, database, directory)
            finally:
                await asyncio.to_thread(database.close)
        return self.drift

    def stop(self) -> None:
        """End it when the requests in flight are answered, or a moment later; from any thread."""
        self._stopped = True
        if (loop := self._loop) is not None:
            with suppress(RuntimeError):  # it has ended meanwhile
                loop.call_soon_threadsafe(self._stop_crew)

    def _stop_crew(self) -> None:
        if self._crew is not None and self._stopped:
            self._crew.stop("a signal")

    def _draw(self, database: DuckDBPyConnection, directory: Path) -> int:
        snapshot = self._ledger.head().snapshot
        if snapshot is None:
            database.execute(f"CREATE TABLE sample {_NO_SAMPLE}")
        else:
            [file] = self._ledger.store.fetch([snapshot], directory)
            given = {"file": str(file), "segment_ids": self._segment_ids, "run": self._run.name}
            database.execute(f"CREATE TABLE sample AS {_SAMPLE}", {**given, "fraction": self._fraction})
        return int(database.table("sample").count("*").fetchall()[0][0])

    async def _read_back(
        self, database: DuckDBPyConnection, total: int, report: Callable[[str], None]
    ) -> None:
        def read(start: int, end: int) -> list[Known]:
            return [Known(*row) for row in database.execute(_READ, [start, end]).fetchall()]

        def say() -> None:
            found = f"drifted {self.drift.drifted:,}, repaired {self.drift.repaired:,}"
            verified = self.drift.verified
            report(f"{effort.line(self._clock.monotonic(), verified, 'contacts read back')}; {found}")

        effort = Effort(self._clock.monotonic(), self._statistics, total)
        feed = Batches(read, total)
        crew = self._crew = Crew(feed, self._reader, effort, self._budget, self._concurrency, self._clock)
        telling = asyncio.ensure_future(tell(crew, say, self._lease, self._clock))
        self._stop_crew()
        try:
            await crew.first_pass()
        finally:
            telling.cancel()
            await asyncio.gather(telling, crew.dismiss(), return_exceptions=True)
        say()
        if crew.stopped:
            left = total - self.drift.verified
            report(f"{crew.stopped} has ended it: {left:,} contacts of the sample were not read back")
        if crew.error:
            raise crew.error

    def _note(self, row: Row) -> None:
        if self._rows is not None:
            self._rows.write(f"{json.dumps(row)}\n")

    def _write(self, database: DuckDBPyConnection, directory: Path) -> None:
        file, rows = directory / "drift.parquet", directory / "drift.jsonl"
        query = _TABLE.replace("$rows", literal(str(rows)))
        database.execute(f"COPY ({query}) TO {literal(str(file))} (FORMAT parquet, COMPRESSION zstd)")
        self._ledger.store.put(file, self._run.file("drift.parquet"))
