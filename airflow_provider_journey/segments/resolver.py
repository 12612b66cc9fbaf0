"""From people known by something else to contacts: what is kept, what is asked, and within which bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_journey.api.async_client import JourneyAsyncClient
from airflow_provider_journey.api.clock import Clock, SystemClock
from airflow_provider_journey.api.endpoints import EXTERNAL_CONTACTS
from airflow_provider_journey.api.errors import UnsupportedOperationError
from airflow_provider_journey.segments.allotment import Budget
from airflow_provider_journey.segments.identity import PeopleFigures, name_people, put_contacts, use_key
from airflow_provider_journey.segments.identity_cache import DEFAULT_TTL, IdentityCache, IdentityKey
from airflow_provider_journey.segments.lease import Lease
from airflow_provider_journey.segments.lookups import Lookups, Person
from airflow_provider_journey.segments.merges import find_merges
from airflow_provider_journey.segments.store import Store

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_DEFAULT_CONCURRENCY = 16
# Who was never looked up comes first: who was, is known by an old answer meanwhile.
_TO_DO = """
CREATE OR REPLACE TEMP TABLE to_look_up AS
SELECT row_number() OVER (ORDER BY k.identity IS NOT NULL, i.identity) - 1 AS place, i.*,
  k.external_contact_id AS former
FROM identities AS i LEFT JOIN known_people AS k USING (identity) WHERE k.fresh IS NOT TRUE
"""
# Whose contact was not there when something was sent to it may have another one by now.
_GONE = """
UPDATE known_people SET fresh = false
FROM (
  SELECT external_contact_id AS gone, max(noted_at) AS refused_at FROM pending WHERE status = 404 GROUP BY ALL
)
WHERE external_contact_id = gone AND looked_up_at < refused_at
"""


@dataclass(frozen=True)
class LookupRules:
    """How people are looked up.

    :param key: what they are known by in the ledger's folder.
    :param lifetime: how old an answer may be.
    :param budget: what look-ups may spend.
    :param concurrency: how many are in flight at a time.
    """

    key: IdentityKey
    lifetime: timedelta = DEFAULT_TTL
    budget: Budget = field(default_factory=Budget)
    concurrency: int = _DEFAULT_CONCURRENCY

    def __post_init__(self) -> None:
        if self.lifetime <= timedelta(0):
            raise ValueError("lookup_ttl is a time longer than none")


@dataclass(frozen=True)
class Spent:
    """What look-ups have taken.

    :param lookups: people of whom an answer was read.
    :param calls: requests, every try counted.
    :param seconds: how long it took.
    :param stopped: what ended them early; ``None`` when nothing did.
    """

    lookups: int = 0
    calls: int = 0
    seconds: float = 0.0
    stopped: str | None = None

    def figures(self) -> dict[str, float]:
        """Return what a plan's summary says of it."""
        return {
            "lookups": self.lookups,
            "lookup_calls": self.calls,
            "lookup_seconds": round(self.seconds, 3),
        }


class Resolver:
    """Finds the contacts of an audience's people.

    :param client: whom to ask.
    :param rules: how.
    :param wait: carries a coroutine to its end, given what stops it.
    :param lease: the ledger's lease, to be kept; ``None``: the caller sees to that.
    :param clock: where moments and waits come from.
    :param report: called with each line of the log.
    :param first: called before anybody is looked up, if anybody is.
    """

    def __init__(
        self,
        client: JourneyAsyncClient,
        rules: LookupRules,
        *,
        wait: Callable[[Coroutine[Any, Any, None], Callable[[], None]], None] | None = None,
        lease: Lease | None = None,
        clock: Clock | None = None,
        report: Callable[[str], None] | None = None,
        first: Callable[[], object] | None = None,
    ) -> None:
        self._client = client
        self._rules = rules
        self._wait = wait or (lambda work, stop: asyncio.run(_then_close(work, client)))
        self._lease = lease
        self._clock = clock or SystemClock()
        self._report = report or (lambda line: None)
        self._first = first or (lambda: None)
        self._lookups: Lookups | None = None
        self._stop_reason: str | None = None
        self.spent = Spent()

    def resolve(
        self,
        database: DuckDBPyConnection,
        store: Store,
        segment_ids: list[str],
        mode: str,
        directory: Path,
    ) -> PeopleFigures:
        """Make the tables ``asked_rows``, ``held``, ``spared`` and ``merges`` of the view ``audience_rows``.

        :param database: has a ledger's state as well.
        :param store: the ledger's, where answers are kept.
        :param directory: local folder for what is fetched.
        :raises UnsupportedOperationError: the connection's surface has no look-ups.
        :raises JourneyError: see :meth:`Lookups.run`; what was answered before is kept.
        """
        if self._client.segments_api != EXTERNAL_CONTACTS:
            raise UnsupportedOperationError(
                "The audience knows people by email, phone or external_id. Who they are is only to be found "
                f"where the connection says segments_api={EXTERNAL_CONTACTS!r}; this one says "
                f"{self._client.segments_api!r}."
            )
        cache = IdentityCache(store, self._rules.key, self._rules.lifetime, self._clock)
        if cache.foreign:
            self._report(
                "The key that people are known by in the ledger is another one than before (the client's "
                "secret, or identity_key): everybody is looked up anew."
            )
        use_key(database, self._rules.key.value)
        name_people(database, segment_ids, mode)
        names = cache.load(database, directory)
        database.execute(_GONE)
        database.execute(_TO_DO)
        if total := database.table("to_look_up").count("*").fetchall()[0][0]:
            try:
                self._first()
                self._look_up(database, cache, total)
            finally:
                database.execute("DROP TABLE to_look_up")
            names = cache.load(database, directory)
        find_merges(database)
        figures = put_contacts(database)
        cache.compact(database, directory, names)
        return figures

    def stop(self, reason: str) -> None:
        """Begin no further look-up; may be called from any thread, and from a signal's handler."""
        self._stop_reason = reason
        if self._lookups is not None:
            self._lookups.stop(reason)

    def _look_up(self, database: DuckDBPyConnection, cache: IdentityCache, total: int) -> None:
        def read(start: int, end: int) -> list[Person]:
            rows = database.execute(
                "SELECT identity, kind, source, value, former FROM to_look_up"
                " WHERE place >= ? AND place < ? ORDER BY place",
                [start, end],
            ).fetchall()
            return [Person(*row) for row in rows]

        writer = cache.writer()
        lookups = self._lookups = Lookups(
            self._client,
            read,
            total,
            writer,
            budget=self._rules.budget,
            concurrency=self._rules.concurrency,
            lease=self._lease,
            clock=self._clock,
            report=self._report,
        )
        if self._stop_reason:
            lookups.stop(self._stop_reason)
        try:
            self._wait(lookups.run(), lambda: lookups.stop("an exception"))
        finally:
            seconds = self._clock.monotonic() - lookups.effort.began
            self.spent = Spent(writer.count, lookups.effort.requests, seconds, lookups.stopped)
        if lookups.stopped:
            self._report(
                f"{lookups.stopped}, which is what look-ups may take of the run, has ended them: "
                f"{total - writer.count:,} people are left for the next run"
            )


async def _then_close(work: Coroutine[Any, Any, None], client: JourneyAsyncClient) -> None:
    try:
        await work
    finally:
        await client.aclose()
