"""A segment sync without a network: a service that is a dict, and an apply that can die at any call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from airflow_provider_journey.segments.calls import PlannedCall, PlannedCalls
from airflow_provider_journey.segments.journal import JournalWriter
from airflow_provider_journey.segments.ledger import Ledger
from airflow_provider_journey.segments.runs import Run
from airflow_provider_journey.segments.summary import PlanSummary
from tests.clocks import FakeClock

# What happens to a call: "done"; "rejected", "failed" (answered, nothing carried out); "unprocessed" (of
# several changes the first alone is carried out); "lost" (carried out, no answer); "lost before" (not carried
# out, no answer); "killed" and "killed before": the same, and nothing is written down either.
FATES = ("done", "rejected", "failed", "unprocessed", "lost", "lost before", "killed", "killed before")


class Killed(BaseException):
    """The process is gone."""


class Service:
    """Who is in which segment."""

    def __init__(self) -> None:
        self.assigned: set[tuple[str, str]] = set()
        self.calls = 0

    def update(self, contact: str, assign: Iterable[str], unassign: Iterable[str]) -> None:
        self.assigned |= {(contact, segment) for segment in assign}
        self.assigned -= {(contact, segment) for segment in unassign}


def apply(
    run: Run,
    summary: PlanSummary,
    service: Service,
    fate: Callable[[PlannedCall], str] = lambda call: "done",
    *,
    clock: FakeClock | None = None,
    spool: Path | None = None,
    flush_every: int = 1,
    max_calls: int | None = None,
) -> None:
    """Make the calls of a plan that are still to be made; :class:`Killed` ends it as a kill would."""
    clock = clock or FakeClock()
    with TemporaryDirectory() as folder, PlannedCalls(run, summary.plan_hash, Path(folder)) as calls:
        journal = JournalWriter(run, summary.calls, clock=clock, spool=spool or Path(folder) / "spool")
        # Left without its exit by a kill, so that nothing is flushed then.
        journal.__enter__()
        blocks = [journal.reclaim(block) for block in calls.unfinished(0, 1)]
        made = 0
        while True:
            numbers = blocks.pop(0) if blocks else journal.claim()
            if numbers is None:
                break
            for call in calls.read(numbers):
                if max_calls is not None and made >= max_calls:
                    journal.release([call.number])
                    continue
                made += 1
                _carry_out(call, fate(call), service, journal, clock)
                if made % flush_every == 0:
                    journal.flush()
            if max_calls is not None and made >= max_calls:
                break
        journal.__exit__(None, None, None)


def _carry_out(
    call: PlannedCall, fate: str, service: Service, journal: JournalWriter, clock: FakeClock
) -> None:
    clock.sleep(0.2)
    service.calls += 1
    if fate in ("done", "lost", "killed"):
        service.update(call.external_contact_id, call.assign, call.unassign)
    if fate.startswith("killed"):
        raise Killed
    if fate == "unprocessed":
        first, *rest = [*call.assign, *call.unassign]
        service.update(call.external_contact_id, {first} & {*call.assign}, {first} & {*call.unassign})
        journal.record(call.number, "done", segment_ids=[first], status=200)
        if rest:
            journal.record(call.number, "unprocessed", segment_ids=rest, status=200)
        return
    outcome, status = {
        "done": ("done", 204),
        "rejected": ("rejected", 404),
        "failed": ("failed", 503),
        "lost": ("unknown", None),
        "lost before": ("unknown", None),
    }[fate]
    journal.record(call.number, outcome, status=status, code=None if status == 204 else "some.code")


def pairs(ledger: Ledger) -> dict[tuple[str, str], str]:
    """Return the state of every pair that the head of a ledger knows."""
    head = ledger.head()
    if head.snapshot is None:
        return {}
    rows = rows_of(ledger, head.snapshot)
    return {(row["external_contact_id"], row["segment_id"]): row["state"] for row in rows}


def rows_of(ledger: Ledger, name: str) -> list[dict[str, object]]:
    """Return the rows of a Parquet object in a ledger."""
    [file] = ledger.store.fetch([name], Path())
    found = duckdb.read_parquet(str(file))
    # Times would need a time zone library to come out.
    columns = ", ".join(
        f'CAST("{name}" AS VARCHAR) AS "{name}"' if "TIME" in str(kind) else f'"{name}"'
        for name, kind in zip(found.columns, found.types, strict=True)
    )
    found = found.project(columns)
    return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
