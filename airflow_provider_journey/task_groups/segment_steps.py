"""The tasks inside a segment sync's group; nothing for a DAG to import."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_journey.operators.failing import fail_exception, failing_for_good, skip_exception
from airflow_provider_journey.operators.segment_base import LedgerOperator, PlanningOperator
from airflow_provider_journey.operators.segment_work import (
    Applying,
    report_sync,
    seconds,
    side_by_side,
    tell_outcome,
)
from airflow_provider_journey.segments.errors import PlanMismatchError

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_journey.segments.commit import Committed
    from airflow_provider_journey.segments.ledger import Ledger
    from airflow_provider_journey.segments.reading_back import Drift

# The XCom in which a task says what it took, also when it fails in the end.
EFFORT = "effort"
# The XCom with the hash of the plan that a person was asked about.
APPROVED = "plan_hash"
# The XCom with what the person chose.
ANSWER = "answer"


class SegmentPlanOperator(PlanningOperator):
    """Makes the plan and takes the ledger's lease, which the group's other tasks take up.

    :param journey_conn_id: the connection over which segments are checked and people looked up.
    :param max_calls: requests of the whole run.
    :param max_duration: seconds, or a timedelta, that look-ups and each task that applies may take.
    """

    def __init__(
        self,
        *,
        journey_conn_id: str,
        max_calls: int | None = None,
        max_duration: timedelta | float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.journey_conn_id = journey_conn_id
        self.max_calls = max_calls
        self.max_duration = max_duration
        self._applying: Applying | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Make a plan; return its figures, the text that describes it, and where it is.

        :raises AirflowFailException: for what another try cannot heal, and what is not allowed.
        """
        from airflow_provider_journey.segments.allotment import Budget
        from airflow_provider_journey.segments.description import describe

        with failing_for_good():
            ledger = self._open_ledger()
            lease = self._lease(ledger, context)
            lease.acquire()
            kept = False
            budget = Budget(self.max_calls, seconds(self.max_duration))
            try:
                applying = self._applying = Applying(self.journey_conn_id, self.log)
                summary = self._plan(ledger, context, applying, budget).summary
                kept = not self.plan_only
            finally:
                if not kept:
                    lease.release()
        return {
            "run": summary.run,
            "plan_hash": summary.plan_hash,
            "dry_run": self.plan_only,
            "changes": summary.changes,
            "calls": summary.calls,
            "seconds": round(summary.seconds),
            "text": describe(summary),
            "effort": applying.effort(),
            "lookup_seconds": summary.lookup_seconds,
        }

    def on_kill(self) -> None:
        """Keep who was looked up before the task's time is up."""
        if self._applying is not None:
            self._applying.stop()


class SegmentApplyOperator(LedgerOperator):
    """Applies one connection's share of the plan.

    :param journey_conn_id: the connection; mapped.
    :param writers: how many tasks share the plan.
    :param plan_task_id: the task that made the plan.
    :param approval_task_id: the task that asked a person; ``None``: nobody was asked.
    """

    template_fields: Sequence[str] = ("ledger", "journey_conn_id")

    def __init__(
        self,
        *,
        journey_conn_id: str,
        writers: int,
        plan_task_id: str,
        approval_task_id: str | None = None,
        max_calls: int | None = None,
        max_duration: timedelta | float | None = None,
        concurrency: int = 16,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.journey_conn_id = journey_conn_id
        self.writers = writers
        self.plan_task_id = plan_task_id
        self.approval_task_id = approval_task_id
        self.max_calls = max_calls
        self.max_duration = max_duration
        self.concurrency = concurrency
        self._applying: Applying | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Apply this task's share of what was approved; return what came of it.

        :raises AirflowSkipException: it was a dry run, or a person has rejected the plan.
        :raises AirflowFailException: for what another try cannot heal.
        """
        from airflow_provider_journey.segments.allotment import Budget, Share
        from airflow_provider_journey.segments.runs import Run

        instance = context["ti"]
        plan = instance.xcom_pull(task_ids=self.plan_task_id)
        if plan["dry_run"]:
            raise skip_exception("This was a dry run: nothing was sent.")
        with failing_for_good():
            ledger = self._open_ledger()
            share = Share(instance.map_index or 0, self.writers)
            applying = self._applying = Applying(self.journey_conn_id, self.log)
            try:
                applied = applying.run(
                    ledger,
                    Run(ledger.store, plan["run"]),
                    self._approved_hash(context, plan),
                    lease=self._lease(ledger, context),
                    budget=Budget(self.max_calls, seconds(self.max_duration))
                    .after(plan["effort"]["calls"], plan["lookup_seconds"])
                    .share(share),
                    concurrency=self.concurrency,
                    share=share,
                )
            finally:
                instance.xcom_push(key=EFFORT, value=applying.effort())
        return {"outcomes": applied.outcomes, "stopped": applied.stopped}

    def on_kill(self) -> None:
        """Write down what is known before the task's time is up."""
        if self._applying is not None:
            self._applying.stop()

    def _approved_hash(self, context: Context, plan: Mapping[str, Any]) -> str:
        """Return the hash that a person has approved, where one was asked, else the plan's own."""
        if self.approval_task_id is None:
            return str(plan["plan_hash"])
        if "Reject" in answer_to(context, self.approval_task_id):
            # Airflow 3.1 skips what follows, but not tasks that are mapped already.
            raise skip_exception("The plan was rejected: nothing is sent.")
        if not said_yes(context, self.approval_task_id):
            raise PlanMismatchError("The plan was not approved: nothing is sent.")
        return str(context["ti"].xcom_pull(task_ids=self.approval_task_id, key=APPROVED))


def answer_to(context: Context, approval_task_id: str) -> Sequence[str]:
    """Return what the person who was asked has chosen: nothing, where the question was not answered."""
    return context["ti"].xcom_pull(task_ids=approval_task_id, key=ANSWER) or ()


def said_yes(context: Context, approval_task_id: str) -> bool:
    """Return whether the person who was asked has approved the plan."""
    return "Approve" in answer_to(context, approval_task_id)


class SegmentCommitOperator(LedgerOperator):
    """Commits what is journalled, whatever became of the tasks before; then it fails if one of them did.

    :param journey_conn_ids: the connections; the first one reads back what is verified.
    :param plan_task_id: the task that made the plan.
    :param apply_task_id: the tasks that applied it.
    :param approval_task_id: the task that asked a person; ``None``: nobody was asked.
    """

    def __init__(
        self,
        *,
        journey_conn_ids: Sequence[str],
        plan_task_id: str,
        apply_task_id: str,
        approval_task_id: str | None = None,
        max_reject_fraction: float = 0.01,
        max_rejects: int | None = None,
        verify: float = 0.0,
        repair: bool = False,
        max_calls: int | None = None,
        max_duration: timedelta | float | None = None,
        concurrency: int = 16,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.max_calls = max_calls
        self.max_duration = max_duration
        self.journey_conn_ids = journey_conn_ids
        self.plan_task_id = plan_task_id
        self.apply_task_id = apply_task_id
        self.approval_task_id = approval_task_id
        self.max_reject_fraction = max_reject_fraction
        self.max_rejects = max_rejects
        self.verify = verify
        self.repair = repair
        self.concurrency = concurrency

    def execute(self, context: Context) -> dict[str, int]:
        """Commit, report, and judge; return the run's figures.

        :raises AirflowSkipException: the plan was skipped, a dry run, or rejected.
        :raises AirflowFailException: the plan or an apply task failed, or too much was refused.
        """
        states = self._states(context)
        plan = context["ti"].xcom_pull(task_ids=self.plan_task_id)
        if states.get(self.plan_task_id) == {"skipped"}:
            raise skip_exception("There is no plan to commit.")
        if plan is None:
            raise fail_exception("The plan has failed, so nothing was sent and there is nothing to commit.")
        with failing_for_good():
            ledger = self._open_ledger()
            try:
                return self._commit(context, ledger, plan, states)
            finally:
                self._lease(ledger, context).release()

    def _commit(
        self, context: Context, ledger: Ledger, plan: Mapping[str, Any], states: Mapping[str, set[str]]
    ) -> dict[str, int]:
        from airflow_provider_journey.segments.commit import commit
        from airflow_provider_journey.segments.runs import Run
        from airflow_provider_journey.segments.summary import PlanSummary

        run = Run(ledger.store, plan["run"])
        summary = PlanSummary.from_dict(ledger.store.read_json(run.summary))
        efforts = self._efforts(context)
        report = partial(report_sync, self, context, self.journey_conn_ids, ledger=ledger, summary=summary)
        for told, what in (
            (plan["dry_run"], "was a dry run"),
            (self._rejected(context, states), "was not approved"),
        ):
            if told:
                report(committed=None, effort=side_by_side(plan["effort"], efforts))
                raise skip_exception(f"The plan {what}: nothing was sent.")
        rates = [effort["calls_per_minute"] for effort in efforts if effort["calls_per_minute"]]
        committed = commit(ledger, run, summary, calls_per_minute=sum(rates) or None)
        tell_outcome(self.log, committed)
        drift = None
        try:
            if self.verify:
                drift = self._drift(context, ledger, plan, summary.segment_ids, efforts)
        finally:
            effort = side_by_side(plan["effort"], efforts)
            counts = report(committed=committed, effort=effort, drift=drift)
        self._judge(states, committed)
        return counts

    def _drift(
        self,
        context: Context,
        ledger: Ledger,
        plan: Mapping[str, Any],
        segment_ids: Sequence[str],
        efforts: list[dict[str, Any]],
    ) -> Drift:
        """Read back over the first connection; what that takes is added to ``efforts``."""
        from airflow_provider_journey.segments.allotment import Budget
        from airflow_provider_journey.segments.runs import Run

        spent = side_by_side(plan["effort"], efforts)
        budget = Budget(self.max_calls, seconds(self.max_duration))
        reading = Applying(self.journey_conn_ids[0], self.log)
        try:
            return reading.verify(
                ledger,
                Run(ledger.store, plan["run"]),
                segment_ids,
                self.verify,
                repair=self.repair,
                concurrency=self.concurrency,
                budget=budget.after(spent["calls"], spent["duration_s"]),
                lease=self._lease(ledger, context),
            )
        finally:
            efforts.append(reading.effort())

    def _judge(self, states: Mapping[str, set[str]], committed: Committed) -> None:
        from airflow_provider_journey.segments.commit import check_thresholds

        for name in (self.approval_task_id, self.apply_task_id):
            failed = states.get(name or "", set()) - {"success", "skipped"}
            if failed:
                raise fail_exception(
                    f"{name} is {', '.join(sorted(failed))}. What was done is in version "
                    f"{committed.version} of the ledger; {committed.to_do:,} changes are left to do."
                )
        check_thresholds(
            committed, max_reject_fraction=self.max_reject_fraction, max_rejects=self.max_rejects
        )

    def _efforts(self, context: Context) -> list[dict[str, Any]]:
        indexes = range(len(self.journey_conn_ids))
        found = context["ti"].xcom_pull(task_ids=self.apply_task_id, key=EFFORT, map_indexes=list(indexes))
        return [effort for effort in found or [] if effort]

    def _rejected(self, context: Context, states: Mapping[str, set[str]]) -> bool:
        """Return whether a person was asked and has not said yes; failures are judged, not skipped."""
        if self.approval_task_id is None:
            return False
        both = states.get(self.approval_task_id, set()) | states.get(self.apply_task_id, set())
        return both <= {"success", "skipped"} and not said_yes(context, self.approval_task_id)

    def _states(self, context: Context) -> dict[str, set[str]]:
        """Return the states of the group's tasks, by task id; of a mapped one those of all its tasks."""
        instance = context["ti"]
        names = [self.plan_task_id, self.apply_task_id, self.approval_task_id]
        asked = [name for name in names if name]
        found = instance.get_task_states(
            dag_id=instance.dag_id, task_ids=asked, run_ids=[instance.run_id]
        ).get(instance.run_id, {})
        states: dict[str, set[str]] = {}
        for key, state in found.items():
            for name in asked:
                if re.fullmatch(rf"{re.escape(name)}(_\d+)?", key):
                    states.setdefault(name, set()).add(str(state or "none"))
        return states
