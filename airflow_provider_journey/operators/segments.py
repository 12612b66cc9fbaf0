"""Operators that assign segments to external contacts, and take them away."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_journey.aggregates.templates import leftover_templates
from airflow_provider_journey.api.errors import InvalidRequestError, PartialUpdateError
from airflow_provider_journey.hooks import DEFAULT_CONN_ID
from airflow_provider_journey.operators.failing import failing_for_good, is_lasting, skip_exception
from airflow_provider_journey.operators.segment_base import (
    PlanningOperator,
    check_fraction,
    check_limits,
)
from airflow_provider_journey.operators.segment_work import Applying, report_sync, seconds, tell_outcome

if TYPE_CHECKING:
    from airflow.sdk import Context, ObjectStoragePath

    from airflow_provider_journey.segments.allotment import Budget
    from airflow_provider_journey.segments.commit import Committed
    from airflow_provider_journey.segments.lease import Lease
    from airflow_provider_journey.segments.ledger import Ledger
    from airflow_provider_journey.segments.runs import Run
    from airflow_provider_journey.segments.summary import PlanSummary


class JourneySegmentAssignmentOperator(BaseOperator):
    """Assign segments to one external contact, and take others away, in one call.

    For single contacts, or tens of them by ``expand``: each task fetches a token of its own. For an audience
    there is :class:`JourneySegmentSyncOperator`. (postJourneyExternalcontactSegments, or where the connection
    says ``segments_api=externalcontacts`` postExternalcontactsContactJourneySegments)

    :param external_contact_id: the contact; templated.
    :param assign: ids of segments to assign; one that is assigned already is renewed; templated.
    :param unassign: ids of segments to take away; templated. Both together at most ten.
    :param journey_conn_id: id of the connection; templated.
    """

    template_fields: Sequence[str] = ("external_contact_id", "assign", "unassign", "journey_conn_id")

    def __init__(
        self,
        *,
        external_contact_id: str,
        assign: Sequence[str] = (),
        unassign: Sequence[str] = (),
        journey_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.external_contact_id = external_contact_id
        self.assign = assign
        self.unassign = unassign
        self.journey_conn_id = journey_conn_id

    def execute(self, context: Context) -> None:
        """Send the changes.

        :raises PartialUpdateError: the service answered, but did not process all of them.
        :raises AirflowFailException: for what another try cannot heal: a contact or segment that is not
            there, credentials, permission.
        :raises JourneyError: for what it may.
        """
        from airflow_provider_journey.hooks.journey import JourneyHook

        with failing_for_good():
            fields = {name: getattr(self, name) for name in self.template_fields}
            for leftover in leftover_templates(fields, "operator"):
                raise InvalidRequestError(f"{leftover} still holds a template after rendering.")
            with JourneyHook(self.journey_conn_id) as hook:
                left = hook.update_external_contact_segments(
                    self.external_contact_id, assign=self.assign, unassign=self.unassign
                )
        if any(left.values()):
            raise PartialUpdateError(
                f"The service has not processed assign {left['assign']}, unassign {left['unassign']} of "
                "this contact's changes; it does not say why.",
                status=200,
                unprocessed=left,
                transient=True,
            )


class JourneySegmentSyncOperator(PlanningOperator):
    """Make segments have the members that an audience says: plan, apply and commit, in one task.

    The audience is compared with the ledger, what earlier runs have left open is taken up, and only the
    difference is sent, in the fewest calls and within the rate limit
    (postJourneyExternalcontactSegments, or where the connection says ``segments_api=externalcontacts``
    postExternalcontactsContactJourneySegments). Everything that comes of it is journalled: a retry goes on
    behind what is done. The task fails, when all that could be done is done and recorded, if too much was
    refused. Returns the run's figures; a dry run skips what follows.

    :param audience: a ``FileAudience``, ``SqlAudience`` or rows of an upstream task, with the columns
        ``external_contact_id`` (or, where the connection says ``segments_api=externalcontacts``, ``email``,
        ``phone``, or ``external_id`` with ``external_source``), ``segment_id`` (with one segment it may lack)
        and in mode ``changes`` ``state``; templated.
    :param segment_ids: the segments it is about; pairs of others stay as they are; templated.
    :param mode: ``changes``: each row says Assigned or Unassigned; ``upsert``: assign what is missing;
        ``mirror``: of the contacts that this ledger knows, exactly the audience.
    :param ledger: the folder of the ledger, any ``ObjectStoragePath`` or its URI; templated.
    :param renew_after: assignments confirmed so long ago (a timedelta, or days) are sent again before they
        expire; 0: all; ``None``: none.
    :param give_up_after: after so many runs that were refused a change is not sent any more.
    :param allow_empty: whether an audience without a valid row is meant.
    :param max_unassign_fraction: how much of a segment's known members a plan may take away, 0 to 1.
    :param lookup_ttl: how long (a timedelta, or days) a person who was looked up is not looked up again; one
        whom the service did not know, a quarter of that.
    :param identity_key: the name of the Airflow Variable of which the key is made that people are known by
        in the ledger's folder; ``None``: it is made of the connection's client secret. With another key
        everybody is looked up anew.
    :param max_unknown_fraction: how much of the audience's people the service may not know before the task
        fails, 0 to 1; ``None``: all of them.
    :param max_calls: requests of one try, look-ups and what is read back among them, after which the rest is
        left for the next run.
    :param max_duration: a timedelta, or seconds, after which the rest is left for the next run. Look-ups take
        half of both at most, and what is read back takes what changes have left of them.
    :param max_reject_fraction: how much of what was sent may be refused before the task fails, 0 to 1.
    :param max_rejects: how many changes may be refused before the task fails; ``None``: any number.
    :param verify: how much of the ledger's contacts is read back afterwards and compared, 0 to 1: a request
        each (getJourneyExternalcontactSegments), for which the client needs the permission to view. What is
        not as the ledger says is in the table ``drift.parquet`` of the run.
    :param repair: whether that is put right.
    :param concurrency: calls in flight at a time.
    :param dry_run: whether it ends with the plan.
    :param keep: how many versions and runs of the ledger stay.
    :param single_writer: promises that nobody else uses the ledger, for stores without exclusive creation.
    :param journey_conn_id: id of the connection; templated.
    :raises ValueError: when the DAG is parsed, for what cannot be right.
    """

    template_fields: Sequence[str] = ("audience", "segment_ids", "ledger", "journey_conn_id")

    def __init__(
        self,
        *,
        audience: Any,
        segment_ids: Sequence[str],
        mode: str,
        ledger: str | ObjectStoragePath,
        renew_after: timedelta | float | None = None,
        give_up_after: int = 7,
        allow_empty: bool = False,
        max_unassign_fraction: float = 0.2,
        lookup_ttl: timedelta | float = 30,
        identity_key: str | None = None,
        max_unknown_fraction: float | None = None,
        max_calls: int | None = None,
        max_duration: timedelta | float | None = None,
        max_reject_fraction: float = 0.01,
        max_rejects: int | None = None,
        verify: float = 0.0,
        repair: bool = False,
        concurrency: int = 16,
        dry_run: bool = False,
        keep: int = 7,
        single_writer: bool = False,
        journey_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            audience=audience,
            segment_ids=segment_ids,
            mode=mode,
            ledger=ledger,
            renew_after=renew_after,
            give_up_after=give_up_after,
            allow_empty=allow_empty,
            max_unassign_fraction=max_unassign_fraction,
            lookup_ttl=lookup_ttl,
            identity_key=identity_key,
            max_unknown_fraction=max_unknown_fraction,
            concurrency=concurrency,
            dry_run=dry_run,
            keep=keep,
            single_writer=single_writer,
            **kwargs,
        )
        self.max_calls = max_calls
        self.max_duration = max_duration
        self.max_reject_fraction = max_reject_fraction
        self.max_rejects = max_rejects
        self.verify = verify
        self.repair = repair
        self.journey_conn_id = journey_conn_id
        self._applying: Applying | None = None
        check_fraction("max_reject_fraction", max_reject_fraction)
        check_fraction("verify", verify)
        check_limits(concurrency, max_calls, max_duration, max_rejects)

    def execute(self, context: Context) -> dict[str, int]:
        """Plan, apply and commit.

        :raises AirflowFailException: for what another try cannot heal: a bad audience, a plan that does more
            than is allowed, credentials, permission, more rejects than may be.
        :raises AirflowSkipException: it was a dry run.
        :raises JourneyError: for what it may: an outage.
        :raises LeaseError: another run works on the ledger.
        :raises OSError: the ledger's store does not take what is written.
        """
        with failing_for_good():
            ledger = self._open_ledger()
            lease = self._lease(ledger, context)
            lease.acquire()
            try:
                return self._sync(context, ledger, lease)
            finally:
                lease.release()

    def on_kill(self) -> None:
        """Write down what is known before the task's time is up."""
        if self._applying is not None:
            self._applying.stop()

    def _sync(self, context: Context, ledger: Ledger, lease: Lease) -> dict[str, int]:
        from airflow_provider_journey.segments.commit import check_thresholds

        applying = self._applying = Applying(self.journey_conn_id, self.log)
        run, summary = self._begun_or_new(context, ledger, applying)
        committed = None if self.plan_only else self._apply_and_commit(applying, ledger, lease, run, summary)
        drift = None
        try:
            if committed and self.verify:
                drift = applying.verify(
                    ledger,
                    run,
                    summary.segment_ids,
                    self.verify,
                    repair=self.repair,
                    concurrency=self.concurrency,
                    budget=applying.left_to_verify(self._budget),
                    lease=lease,
                )
        finally:
            counts = report_sync(
                self,
                context,
                [self.journey_conn_id],
                ledger=ledger,
                summary=summary,
                committed=committed,
                effort=applying.effort(),
                drift=drift,
            )
        if committed is None:
            raise skip_exception("This was a dry run: nothing was sent.")
        check_thresholds(
            committed, max_reject_fraction=self.max_reject_fraction, max_rejects=self.max_rejects
        )
        return counts

    @property
    def _budget(self) -> Budget:
        from airflow_provider_journey.segments.allotment import Budget

        return Budget(self.max_calls, seconds(self.max_duration))

    def _begun_or_new(self, context: Context, ledger: Ledger, applying: Applying) -> tuple[Run, PlanSummary]:
        """Return the plan that an earlier try of this task has begun and not committed, or a new one."""
        from airflow_provider_journey.segments.description import describe

        run_id = self._run_id(context)
        begun = [each for each in ledger.unfolded(ledger.head().folded) if each[1].run_id == run_id]
        if begun and not self.plan_only:
            self.log.info("Going on with what an earlier try has begun.\n%s", describe(begun[-1][1]))
            return begun[-1]
        plan = self._plan(ledger, context, applying, self._budget)
        return plan.run, plan.summary

    def _apply_and_commit(
        self, applying: Applying, ledger: Ledger, lease: Lease, run: Run, summary: PlanSummary
    ) -> Committed:
        from airflow_provider_journey.api.errors import JourneyError
        from airflow_provider_journey.segments.commit import commit

        try:
            applying.run(
                ledger,
                run,
                summary.plan_hash,
                lease=lease,
                budget=applying.left(self._budget),
                concurrency=self.concurrency,
            )
        except JourneyError as error:
            # Where another try goes on behind the journal, it has to find this plan uncommitted.
            if is_lasting(error):
                tell_outcome(self.log, commit(ledger, run, summary))
            raise
        committed = commit(ledger, run, summary, calls_per_minute=applying.effort()["calls_per_minute"])
        tell_outcome(self.log, committed)
        return committed
