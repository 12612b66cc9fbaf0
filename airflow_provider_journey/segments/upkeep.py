"""Work on a ledger by hand: take over known members."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_journey.api.clock import Clock, SystemClock
from airflow_provider_journey.segments.audience import Audience
from airflow_provider_journey.segments.columns import required_columns
from airflow_provider_journey.segments.decisions import count, decide, offenders
from airflow_provider_journey.segments.difference import define_segments, find_differences
from airflow_provider_journey.segments.errors import AudienceError
from airflow_provider_journey.segments.identity import take_rows
from airflow_provider_journey.segments.lease import Lease
from airflow_provider_journey.segments.ledger import IMPORT, Head, Ledger
from airflow_provider_journey.segments.plan import PlanRequest
from airflow_provider_journey.segments.sources import read_to_its_end, view_of_audience
from airflow_provider_journey.segments.state import LedgerState
from airflow_provider_journey.storage.database import open_database
from airflow_provider_journey.storage.scratch import local_folder

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_MEMORY_MIB = 1400


def import_members(
    ledger: Ledger, audience: Audience, segment_ids: Sequence[str], *, clock: Clock | None = None
) -> dict[str, Any]:
    """Take over contacts that are known to be in segments, as if the ledger had assigned them now.

    :param audience: the members; read as in mode ``upsert``.
    :param segment_ids: the segments they are in.
    :return: ``version``, and how many ``rows``, ``invalid``, ``imported``, ``known`` before.
    :raises AudienceError: the audience cannot be read, or names no member; no version is made.
    :raises ValueError: the segments are no list of ids.
    :raises LeaseError: a run is at work.
    :raises FileExistsError: another version was published meanwhile.
    """
    request = PlanRequest(segment_ids, "upsert")
    clock = clock or SystemClock()
    now = datetime.fromtimestamp(clock.time(), timezone.utc).isoformat()
    name = f"{IMPORT}{secrets.token_hex(4)}"
    lease = Lease(ledger.store, name, clock=clock)
    lease.acquire()
    try:
        with local_folder() as directory, open_database(directory, _MEMORY_MIB) as database:
            state = LedgerState(ledger, ledger.head(), database, directory)
            state.fold_all()
            state.define_pairs()
            required = required_columns(request.mode, segment_ids)
            if view_of_audience(database, audience, required, directory):
                raise AudienceError(
                    "members are imported by external_contact_id alone: nobody is looked up here, so "
                    "leave out the columns email, phone and external_id"
                )
            define_segments(database, segment_ids)
            take_rows(database)
            with read_to_its_end(database, audience):
                find_differences(database, segment_ids, request.mode, None)
            decide(database, request.mode, 1)
            figures = count(database, list(segment_ids))
            if not figures["pairs"]:
                wrong = offenders(database)
                raise AudienceError(f"none of {figures['rows']:,} rows names a member. {wrong}".rstrip())
            imported = _take_over(database, now, name)
            head = _next(state, directory, name, now)
            version = ledger.publish(head, directory / "snapshot.parquet", directory / "pending.parquet")
            return {
                "version": version.version,
                "rows": figures["rows"],
                "invalid": figures["invalid"],
                "imported": imported,
                "known": figures["pairs"] - imported,
                "offenders": offenders(database),
            }
    finally:
        lease.release()


def _take_over(database: DuckDBPyConnection, now: str, name: str) -> int:
    database.execute(
        "CREATE TEMP TABLE members AS FROM decided SELECT contact AS external_contact_id,"
        " CAST(segment AS VARCHAR) AS segment_id, 'assigned' AS state,"
        " CAST($now AS TIMESTAMPTZ) AS confirmed_at, $name AS plan_hash"
        " WHERE says = 'assign' AND state IS DISTINCT FROM 'assigned'",
        {"now": now, "name": name},
    )
    for table in ("overlay", "pending"):
        database.execute(
            f"DELETE FROM {table} WHERE (external_contact_id, segment_id) IN"  # noqa: S608 - two names of ours
            " (SELECT (external_contact_id, segment_id) FROM members)"
        )
    database.execute("INSERT INTO overlay BY NAME FROM members")
    return int(database.execute("SELECT count(*) FROM members").fetchall()[0][0])


def _next(state: LedgerState, directory: Path, name: str, now: str) -> Head:
    counts = state.write(directory / "snapshot.parquet", directory / "pending.parquet")
    return Head(
        version=state.head.version + 1,
        run=name,
        committed_at=now,
        counts=counts,
        folded={**state.folded, name: {"fingerprint": name, "plan_hash": name}},
        calls_per_minute=state.head.calls_per_minute,
    )
