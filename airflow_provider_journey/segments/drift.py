"""Drift: a sample of contacts read back, and compared with what the ledger says of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from airflow_provider_journey.api import operations
from airflow_provider_journey.api.async_client import JourneyAsyncClient
from airflow_provider_journey.api.clock import Clock, SystemClock
from airflow_provider_journey.api.endpoints import EXTERNAL_CONTACTS
from airflow_provider_journey.api.errors import InvalidRequestError, JourneyError, NotFoundError
from airflow_provider_journey.api.redirects import MergedContactError
from airflow_provider_journey.segments.ledger import Ledger
from airflow_provider_journey.segments.runs import Run
from airflow_provider_journey.storage.database import literal, open_database

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_MEMORY_MIB = 512
_BATCH = 1000
# Which contacts are in the sample changes from run to run and from nothing else.
_SAMPLE = """
SELECT external_contact_id, list(segment_id ORDER BY segment_id) FILTER (WHERE state = 'assigned'),
  list(segment_id ORDER BY segment_id) FILTER (WHERE state = 'unassigned')
FROM read_parquet($file)
WHERE list_contains($segment_ids, segment_id) AND state <> 'unknown'
  AND hash(external_contact_id, $run) % 1000000 < $fraction * 1000000
GROUP BY ALL ORDER BY ALL
"""
_TABLE = """
CREATE TABLE drift (external_contact_id VARCHAR, segment_id VARCHAR, expected VARCHAR, found VARCHAR,
  repair VARCHAR, verified_at TIMESTAMPTZ)
"""

Row = tuple[str, str, str, str, str | None, str]


@dataclass
class Drift:
    """What verification found.

    :param verified: contacts read back.
    :param unverified: contacts that could not be read.
    :param drifted: contacts and segments of which the ledger says another thing than the service.
    :param repaired: those of them that the service has confirmed anew.
    """

    verified: int = 0
    unverified: int = 0
    drifted: int = 0
    repaired: int = 0

    def to_dict(self) -> dict[str, int]:
        """Return plain data for XCom."""
        return asdict(self)


class Verification:
    """Reads contacts back, and makes the service agree with the ledger again if asked to.

    What the ledger knows nothing of, or is unsure of, is no drift: others assign segments too. The table
    ``drift.parquet`` in the run's folder has a row for each contact and segment: ``expected`` and ``found``
    (``assigned``, ``unassigned``, or ``contact not found``), what came of the ``repair``, and when.

    :param client: whom to ask (getJourneyExternalcontactSegments, or today's counterpart).
    :param ledger: what is known.
    :param run: where the table goes.
    :param segment_ids: the segments that are looked at.
    :param fraction: how much of the ledger's contacts is read back, 0 to 1: a request each.
    :param repair: whether what drifted is sent again.
    :param concurrency: requests in flight at a time.
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
        clock: Clock | None = None,
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._run = run
        self._segment_ids = list(segment_ids)
        self._fraction = fraction
        self._repair = repair
        self._room = asyncio.Semaphore(concurrency)
        self._clock = clock or SystemClock()
        self._stopped = False
        self.drift = Drift()

    async def run(self, report: Callable[[str], None]) -> Drift:
        """Verify the sample and write the table.

        :param report: called with a line of progress for each thousand contacts.
        :raises JourneyError: the client may not read, or may not repair.
        """
        with TemporaryDirectory(prefix="journey-") as folder:
            directory = Path(folder)
            database = await asyncio.to_thread(open_database, directory, _MEMORY_MIB)
            try:
                await asyncio.to_thread(self._draw, database, directory)
                while not self._stopped and (batch := await asyncio.to_thread(self._next)):
                    await asyncio.to_thread(self._keep, database, await self._verify_all(batch))
                    report(f"read back: {self.drift.to_dict()}")
                await asyncio.to_thread(self._write, database, directory)
            finally:
                await asyncio.to_thread(database.close)
        return self.drift

    def stop(self) -> None:
        """End it when the requests in flight are answered."""
        self._stopped = True

    def _draw(self, database: DuckDBPyConnection, directory: Path) -> None:
        database.execute(_TABLE)
        snapshot = self._ledger.head().snapshot
        if snapshot is None:
            database.execute("CREATE TABLE sample (contact VARCHAR, assigned VARCHAR[], gone VARCHAR[])")
        else:
            [file] = self._ledger.store.fetch([snapshot], directory)
            given = {"file": str(file), "segment_ids": self._segment_ids, "run": self._run.name}
            database.execute(f"CREATE TABLE sample AS {_SAMPLE}", {**given, "fraction": self._fraction})
        self._cursor = database.cursor()
        self._cursor.execute("FROM sample")

    def _next(self) -> list[tuple[str, list[str] | None, list[str] | None]]:
        return self._cursor.fetchmany(_BATCH)

    async def _verify_all(self, batch: Sequence[tuple[str, list[str] | None, list[str] | None]]) -> list[Row]:
        reading = [asyncio.ensure_future(self._verify(*contact)) for contact in batch]
        try:
            return [row for rows in await asyncio.gather(*reading) for row in rows]
        finally:
            # After an error nobody asks on behind the client's back.
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)

    async def _verify(self, contact: str, assigned: list[str] | None, gone: list[str] | None) -> list[Row]:
        async with self._room:
            if self._stopped:
                return []
            try:
                held = await self._held(contact)
                missing = [name for name in assigned or () if held is None or name not in held]
                extra = [name for name in gone or () if held is not None and name in held]
                if extra and await self._is_merged(contact):
                    # What was read back is the other contact's, and is not to be taken from that one.
                    extra = []
            except JourneyError as error:
                if not error.transient:
                    raise
                self.drift.unverified += 1
                return []
            self.drift.verified += 1
            if not missing and not extra:
                return []
            self.drift.drifted += len(missing) + len(extra)
            repair = (
                await self._put_right(contact, missing, extra) if self._repair and held is not None else None
            )
            now = datetime.fromtimestamp(self._clock.time(), timezone.utc).isoformat()
            absent = "contact not found" if held is None else "unassigned"
            return [(contact, name, "assigned", absent, repair, now) for name in missing] + [
                (contact, name, "unassigned", "assigned", repair, now) for name in extra
            ]

    async def _held(self, contact: str) -> set[str] | None:
        """Return the segments that a contact is in, ``None`` when it is not there any more."""
        call = operations.list_external_contact_segments(
            contact, segments_api=self._client.segments_api, assignment_state="Assigned"
        )
        try:
            return {
                entity["segment"]["id"]
                async for entity in self._client.iterate(call)
                if isinstance(entity.get("segment"), dict)
            }
        except NotFoundError:
            return None

    async def _is_merged(self, contact: str) -> bool:
        """Return whether another contact speaks for this one."""
        if self._client.segments_api != EXTERNAL_CONTACTS:
            return False  # it knows of no merges
        call = operations.list_external_contact_segments(contact, segments_api=EXTERNAL_CONTACTS)
        try:
            await self._client.run(replace(call, request=call.request._replace(follow=False)))
        except MergedContactError:
            return True
        return False

    async def _put_right(self, contact: str, missing: Sequence[str], extra: Sequence[str]) -> str:
        changes = [("assign", name) for name in missing] + [("unassign", name) for name in extra]
        most = operations.MAX_CHANGES
        outcome = "done"
        for some in (changes[start : start + most] for start in range(0, len(changes), most)):
            call = operations.update_external_contact_segments(
                contact,
                assign=[name for kind, name in some if kind == "assign"],
                unassign=[name for kind, name in some if kind == "unassign"],
                segments_api=self._client.segments_api,
            )
            try:
                left = sum(map(len, (await self._client.run(call)).values()))
            except (InvalidRequestError, NotFoundError) as error:
                outcome = error.code or type(error).__name__
                continue
            self.drift.repaired += len(some) - left
            outcome = "unprocessed" if left else outcome
        return outcome

    def _keep(self, database: DuckDBPyConnection, rows: Sequence[Row]) -> None:
        if rows:
            database.executemany("INSERT INTO drift VALUES (?, ?, ?, ?, ?, ?)", rows)

    def _write(self, database: DuckDBPyConnection, directory: Path) -> None:
        file = directory / "drift.parquet"
        database.execute(
            f"COPY (FROM drift ORDER BY external_contact_id, segment_id) TO {literal(str(file))}"
            " (FORMAT parquet, COMPRESSION zstd)"
        )
        self._ledger.store.put(file, self._run.file("drift.parquet"))
