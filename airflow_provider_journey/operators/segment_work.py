"""Between Airflow and a sync: how a task applies a plan, and what it says about it afterwards."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_journey.operators.reporting import RunReport, extend_outlets, push_run

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context

    from airflow_provider_journey.api.async_client import JourneyAsyncClient
    from airflow_provider_journey.api.settings import ConnectionSettings
    from airflow_provider_journey.segments.allotment import Applied, Budget, Share
    from airflow_provider_journey.segments.commit import Committed
    from airflow_provider_journey.segments.lease import Lease
    from airflow_provider_journey.segments.ledger import Ledger
    from airflow_provider_journey.segments.progress import FewNames
    from airflow_provider_journey.segments.reading_back import Drift
    from airflow_provider_journey.segments.resolver import LookupRules, Resolver
    from airflow_provider_journey.segments.runs import Run
    from airflow_provider_journey.segments.summary import PlanSummary

_T = TypeVar("_T")

# What stopped a run that somebody or something wants dead, instead of a budget.
KILLED = "a signal"


class Applying:
    """Applies a plan, or a share of it, in a task.

    The event loop runs in a thread of its own, so that the main thread is free for signals: for Airflow's
    execution timeout, and for the kill that comes as ``on_kill``.

    :param journey_conn_id: the connection.
    :param log: the task's logger.
    """

    def __init__(self, journey_conn_id: str, log: Any) -> None:
        from airflow_provider_journey.segments.progress import FewNames

        self._log = log
        self.names = FewNames(log.warning)
        self._stop: Callable[[str], None] | None = None
        self._killed = False
        self.settings = read_connection(journey_conn_id)
        self.client = open_client(self.settings, self.names)
        self.report = RunReport(self.client)
        self.spent_on_lookups = 0.0

    def inactive_segments(self, segment_ids: Sequence[str]) -> dict[str, str]:
        """Check segments' ids; see :mod:`airflow_provider_journey.segments.listing`."""
        from airflow_provider_journey.api.endpoints import LIST_SEGMENTS
        from airflow_provider_journey.segments.listing import find_inactive

        if self.client.segments_api not in LIST_SEGMENTS.served_by:
            return {}
        return self._in_thread(find_inactive(self.client, segment_ids, self._log.warning), lambda: None)

    def resolver(self, rules: LookupRules, lease: Lease, first: Callable[[], object]) -> Resolver:
        """Return what finds an audience's people over this connection.

        :param rules: how.
        :param lease: the ledger's lease, which is kept meanwhile.
        :param first: called before anybody is looked up, if anybody is.
        """
        from airflow_provider_journey.segments.resolver import Resolver

        def wait(work: Coroutine[Any, Any, None], stop: Callable[[], None]) -> None:
            self._in_thread(work, stop)
            if self._killed:
                raise KilledError("The task was ended from outside; who was looked up is kept.")

        resolver = Resolver(self.client, rules, wait=wait, lease=lease, report=self._log.info, first=first)
        self._stop = resolver.stop
        return resolver

    def left(self, budget: Budget) -> Budget:
        """Return what is left of a budget after look-ups."""
        return budget.after(self.report.effort()["calls"], self.spent_on_lookups)

    def left_to_verify(self, budget: Budget) -> Budget:
        """Return what is left of a budget after everything that this task did."""
        effort = self.report.effort()
        return budget.after(effort["calls"], effort["duration_s"])

    def run(
        self,
        ledger: Ledger,
        run: Run,
        plan_hash: str,
        *,
        lease: Lease,
        budget: Budget,
        concurrency: int,
        share: Share | None = None,
    ) -> Applied:
        """Apply what is left of the plan; see :meth:`Apply.run`.

        :raises KilledError: the task is to end.
        """
        from airflow_provider_journey.segments.apply import Apply

        if self._killed:
            raise KilledError("The task was ended from outside before anything was sent.")
        apply = Apply(
            self.client,
            ledger,
            run,
            plan_hash,
            share=share,
            concurrency=concurrency,
            budget=budget,
            lease=lease,
            report=self._log.info,
            names=self.names,
        )
        self._stop = apply.stop
        applied = self._in_thread(apply.run(), self.stop)
        if applied.stopped == KILLED:
            raise KilledError("The task was ended from outside; what is known is in the journal.")
        return applied

    def verify(
        self, ledger: Ledger, run: Run, segment_ids: Sequence[str], fraction: float, **options: Any
    ) -> Drift:
        """Read a sample of contacts back; see :mod:`airflow_provider_journey.segments.drift`."""
        from airflow_provider_journey.segments.drift import Verification

        verification = Verification(self.client, ledger, run, segment_ids, fraction, **options)
        self._stop = lambda reason: verification.stop()
        try:
            return self._in_thread(verification.run(self._log.info), verification.stop)
        finally:
            if verification.drift.drifted:
                self._log.warning(
                    "%s of what was read back is not as the ledger says: %s",
                    verification.drift.to_dict(),
                    ledger.store.root / run.file("drift.parquet"),
                )

    def stop(self) -> None:
        """End it in good order, soon: from a signal's handler."""
        self._killed = True
        if self._stop is not None:
            self._stop(KILLED)

    def effort(self) -> dict[str, Any]:
        """Return what it took so far, and the calls per minute that the rate limit allows (or ``None``)."""
        rate = self.client.rate
        return {**self.report.effort(), "calls_per_minute": rate and rate * 60}

    def _in_thread(self, work: Coroutine[Any, Any, _T], stop: Callable[[], None]) -> _T:
        with ThreadPoolExecutor(1, "journey-sync") as thread:
            future = thread.submit(asyncio.run, self._then_close(work))
            try:
                return future.result()
            finally:
                # Nothing if it has ended; otherwise this is an exception that Airflow raised in the task.
                stop()

    async def _then_close(self, work: Coroutine[Any, Any, _T]) -> _T:
        try:
            return await work
        finally:
            # The client's connections belong to this loop.
            await self.client.aclose()


class KilledError(RuntimeError):
    """A task was ended from outside; another try goes on behind its journal."""


class _Retries:
    """Stands in for a log where the client announces retries: their lines name a contact each."""

    def __init__(self, names: FewNames) -> None:
        self._names = names

    def warning(self, message: str, *values: object) -> None:
        self._names.tell(message % values)


def read_connection(journey_conn_id: str) -> ConnectionSettings:
    """Return the settings of a connection, which is read here and now, not in an event loop.

    :raises AuthenticationError: the connection lacks something.
    """
    from airflow_provider_journey.hooks import connection
    from airflow_provider_journey.hooks.journey import JourneyHook

    return connection.read(JourneyHook.get_connection(journey_conn_id))


def open_client(settings: ConnectionSettings, names: FewNames) -> JourneyAsyncClient:
    """Return a client for a connection."""
    from airflow_provider_journey.api.async_client import JourneyAsyncClient
    from airflow_provider_journey.hooks import connection

    return JourneyAsyncClient(connection.exchange(settings, _Retries(names)))


def seconds(value: timedelta | float | None) -> float | None:
    """Return a time span in seconds."""
    return value.total_seconds() if isinstance(value, timedelta) else value


def counts_of(summary: PlanSummary, committed: Committed | None) -> dict[str, int]:
    """Return what a run is counted by: the plan's figures, and what became of its changes."""
    names = (
        "assign",
        "unassign",
        "renew",
        "unchanged",
        "invalid",
        "duplicates",
        "carried_forward",
        "given_up",
    )
    people = ("people", "lookups", "unknown_people", "unresolved", "rows_left_out", "held_back")
    figures = {name: getattr(summary, name) for name in names + people}
    figures["planned_calls"] = summary.calls
    if committed is not None:
        outcome = committed.to_dict()
        figures |= {name: outcome[name] for name in ("done", "rejected", "unknown", "to_do", "version")}
    return figures


def tell_outcome(log: Any, committed: Committed) -> None:
    """Say in the log what became of a plan's changes, and which of them somebody may have to look at."""
    log.info("Version %d of the ledger: %s", committed.version, committed.to_dict())
    if committed.rejected:
        log.warning(
            "%s changes were refused: %s. The next runs send them again until they are given up; correct the "
            "audience if it is wrong.",
            f"{committed.rejected:,}",
            committed.what_was_refused(),
        )
    if committed.to_do:
        log.warning(
            "%s changes are left to do, and the next run takes them up: %s not sent, %s of which no answer "
            "was read, %s that the service did not process, %s that failed.",
            *(
                f"{figure:,}"
                for figure in (
                    committed.to_do,
                    committed.unsent,
                    committed.unknown,
                    committed.unprocessed,
                    committed.failed,
                )
            ),
        )


def side_by_side(before: Mapping[str, Any], efforts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what tasks that ran at the same time took together.

    :param before: what was taken before them.
    :param efforts: what each of them took, as :meth:`Applying.effort` returns it.
    """
    errors: Counter[str] = Counter(before["errors"])
    total: dict[str, Any] = {"calls": before["calls"], "waited_s": before["waited_s"], "duration_s": 0.0}
    for effort in efforts:
        errors.update(effort["errors"])
        total["calls"] += effort["calls"]
        total["waited_s"] += effort["waited_s"]
        total["duration_s"] = max(total["duration_s"], effort["duration_s"])
    total["duration_s"] += before["duration_s"]
    return {**total, "errors": dict(errors)}


def report_sync(
    operator: BaseOperator,
    context: Context,
    conn_ids: Iterable[str],
    *,
    ledger: Ledger,
    summary: PlanSummary,
    committed: Committed | None,
    effort: Mapping[str, Any],
    drift: Drift | None = None,
) -> dict[str, int]:
    """Push ``journey_run``, and give the outlets' events the same figures; return the figures.

    :param effort: ``calls``, ``waited_s``, ``duration_s`` and ``errors``.
    :param drift: what verification found; ``None``: nothing was read back.
    """
    counts = counts_of(summary, committed) | (drift.to_dict() if drift else {})
    uri = str(ledger.store)
    kept = {"calls": effort["calls"], "errors": effort["errors"]}
    kept |= {name: round(effort[name], 3) for name in ("waited_s", "duration_s")}
    push_run(
        context,
        "sync",
        ", ".join(conn_ids),
        plan_hash=summary.plan_hash,
        uri=uri,
        rows=summary.pairs,
        counts=counts,
        effort=kept,
    )
    extend_outlets(
        operator,
        context,
        {"uri": uri, "rows": summary.pairs, "plan_hash": summary.plan_hash, "counts": counts},
    )
    return counts
