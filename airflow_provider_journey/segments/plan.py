"""From an audience and a ledger to a plan: the changes that are needed, in the fewest calls."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_journey.api.clock import Clock, SystemClock
from airflow_provider_journey.segments.audience import MODES, Audience
from airflow_provider_journey.segments.columns import required_columns
from airflow_provider_journey.segments.decisions import count, decide, offenders
from airflow_provider_journey.segments.difference import define_segments, find_differences
from airflow_provider_journey.segments.errors import AudienceError
from airflow_provider_journey.segments.identity import UNKNOWN, PeopleFigures, take_rows
from airflow_provider_journey.segments.ledger import Ledger
from airflow_provider_journey.segments.merges import move_known
from airflow_provider_journey.segments.runs import Run, new_run
from airflow_provider_journey.segments.sources import read_to_its_end, view_of_audience
from airflow_provider_journey.segments.state import LedgerState
from airflow_provider_journey.segments.summary import DOCUMENTED_CALLS_PER_MINUTE, PlanSummary
from airflow_provider_journey.segments.verification import plan_hash
from airflow_provider_journey.storage.database import literal, open_database
from airflow_provider_journey.storage.scratch import local_folder

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from airflow_provider_journey.segments.resolver import Resolver

DEFAULT_GIVE_UP_AFTER = 7
_MEMORY_MIB = 1400
_ID = re.compile(r"[!-~]{1,128}")
# Small groups of rows, so that apply can read a few thousand calls at a time.
_FILES = {
    "lines": "FROM lines ORDER BY call, segment_id",
    "closed": "FROM decided SELECT contact AS external_contact_id, CAST(segment AS VARCHAR) AS segment_id"
    " WHERE closed ORDER BY ALL",
    "invalid": "FROM invalid ORDER BY ALL",
}
# Of an audience that knows people by something else than contacts' ids.
_FILES_OF_PEOPLE = {"unknown": UNKNOWN, "moved": "FROM moved ORDER BY ALL"}


@dataclass(frozen=True)
class PlanRequest:
    """What a plan is to reach.

    :param segment_ids: the segments it is about; pairs of others stay as they are.
    :param mode: ``changes``, ``upsert`` or ``mirror``.
    :param renew_after: assignments that were confirmed so long ago are sent again; ``None``: never.
    :param give_up_after: after so many refusals in a row a change is not sent any more.
    """

    segment_ids: Sequence[str]
    mode: str
    renew_after: timedelta | None = None
    give_up_after: int = DEFAULT_GIVE_UP_AFTER

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode is one of {', '.join(MODES)}, not {self.mode!r}")
        if isinstance(self.segment_ids, str) or not self.segment_ids:
            raise ValueError("segment_ids is a list of at least one segment's id")
        for segment_id in self.segment_ids:
            if not isinstance(segment_id, str) or not _ID.fullmatch(segment_id):
                raise ValueError(f"{segment_id!r} is no segment's id")
        if len(set(self.segment_ids)) < len(self.segment_ids):
            raise ValueError("segment_ids names a segment twice")
        if self.renew_after is not None and self.renew_after < timedelta(0):
            raise ValueError("renew_after is no negative time")
        if self.give_up_after < 1:
            raise ValueError("give_up_after is at least 1")


@dataclass(frozen=True)
class Plan:
    """A plan as it was made.

    :param run: its folder in the ledger; nothing is in it yet if it was not kept.
    :param summary: the plan in numbers.
    :param offenders: what is wrong with how many rows, and a few of them; empty if nothing is.
    """

    run: Run
    summary: PlanSummary
    offenders: str


def make_plan(
    ledger: Ledger,
    run_id: str,
    audience: Audience,
    request: PlanRequest,
    *,
    resolver: Resolver | None = None,
    clock: Clock | None = None,
) -> Plan:
    """Compare an audience with the ledger and put the plan into the ledger's folder for this run.

    Journals of earlier runs that did not commit are folded in first. People whom the audience knows by
    something else than a contact's id are looked up, unless an answer is kept. Memory is bounded: what does
    not fit is on local disk meanwhile. Whoever calls holds the ledger's lease.

    :param ledger: what is known.
    :param run_id: the run it is for; a second plan of the same run gets a folder of its own once calls of the
        first were begun.
    :param audience: who is to be in which segment.
    :param request: what to reach.
    :param resolver: who looks people up; ``None``: the audience has contacts' ids.
    :param clock: where the plan's time comes from.
    :raises AudienceError: the audience cannot be read.
    :raises JourneyError: nobody can be looked up; see :meth:`Lookups.run`.
    """
    now = datetime.fromtimestamp((clock or SystemClock()).time(), timezone.utc)
    segment_ids = sorted(request.segment_ids)
    run = new_run(ledger.store, run_id)
    with local_folder() as directory:
        with open_database(directory, _MEMORY_MIB) as database:
            state = LedgerState(ledger, ledger.head(), database, directory)
            state.fold_all()
            due_before = None if request.renew_after is None else now - request.renew_after
            with read_to_its_end(database, audience):
                people = _read(database, ledger, audience, request, resolver, directory)
                figures: dict[str, Any] = {**asdict(people), "merged_contacts": move_known(database)}
                state.define_pairs()
                find_differences(database, segment_ids, request.mode, due_before)
            if resolver is not None:
                figures |= resolver.spent.figures()
            decide(database, request.mode, request.give_up_after)
            counted = count(database, segment_ids)
            counted["rows"] += people.rows_left_out
            files = _write(database, directory, {**_FILES, **(_FILES_OF_PEOPLE if people.people else {})})
            summary = PlanSummary(
                run=run.name,
                run_id=run_id,
                mode=request.mode,
                segment_ids=segment_ids,
                base=state.head.version,
                seen={name: entry["fingerprint"] for name, entry in state.folded.items()},
                plan_hash=plan_hash(database, files["lines"], request.mode, segment_ids, state.head.version),
                planned_at=now.isoformat(),
                calls_per_minute=state.head.calls_per_minute or DOCUMENTED_CALLS_PER_MINUTE,
                **counted,
                **figures,
            )
            plan = Plan(run, summary, offenders(database))
        _keep(plan, files)
    return plan


def _read(
    database: DuckDBPyConnection,
    ledger: Ledger,
    audience: Audience,
    request: PlanRequest,
    resolver: Resolver | None,
    directory: Path,
) -> PeopleFigures:
    """Make what the difference is found from: the audience's rows, each with a contact's id."""
    segment_ids = sorted(request.segment_ids)
    required = required_columns(request.mode, segment_ids)
    identified = view_of_audience(database, audience, required, directory)
    define_segments(database, segment_ids)
    if not identified:
        take_rows(database)
        return PeopleFigures()
    if resolver is None:
        raise AudienceError(
            "the audience does not name contacts by external_contact_id; nobody is looked up here"
        )
    return resolver.resolve(database, ledger.store, segment_ids, request.mode, directory)


def _write(database: DuckDBPyConnection, directory: Path, queries: Mapping[str, str]) -> dict[str, Path]:
    files = {}
    for name, query in queries.items():
        files[name] = directory / f"{name}.parquet"
        database.execute(
            f"COPY ({query}) TO {literal(str(files[name]))}"
            " (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 20480)"
        )
    return files


def _keep(plan: Plan, files: dict[str, Path]) -> None:
    run = plan.run
    # A try before this one may have come as far as its summary, which would then be of another plan.
    run.store.delete(run.summary)
    places = {
        "lines": run.plan,
        "closed": run.closed,
        "invalid": run.invalid,
        "unknown": run.unknown,
        "moved": run.moved,
    }
    for name, file in files.items():
        run.store.put(file, places[name])
    run.store.put_json(run.summary, plan.summary.to_dict())
