"""What the operators of a segment sync share: a ledger, a run's name on it, and how a plan is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_journey.aggregates.templates import is_rendered_later, leftover_templates
from airflow_provider_journey.operators.segment_people import identity_key, without_rows
from airflow_provider_journey.segments.audience import MODES, Audience, RowsAudience, audience_from
from airflow_provider_journey.segments.errors import AudienceError, SegmentSyncError

if TYPE_CHECKING:
    from airflow.sdk import Context, ObjectStoragePath

    from airflow_provider_journey.operators.segment_work import Applying
    from airflow_provider_journey.segments.allotment import Budget
    from airflow_provider_journey.segments.lease import Lease
    from airflow_provider_journey.segments.ledger import Ledger
    from airflow_provider_journey.segments.plan import Plan, PlanRequest


class LedgerOperator(BaseOperator):
    """Something that is done to a ledger in the name of a DAG run.

    :param ledger: the ledger's folder, any ``ObjectStoragePath`` or its URI.
    :param keep: how many versions and runs of the ledger stay.
    :param single_writer: promises that nobody else uses the ledger, for stores without exclusive creation.
    :param part: the task or group whose run it is; by default the task.
    """

    template_fields: Sequence[str] = ("ledger",)

    def __init__(
        self,
        *,
        ledger: str | ObjectStoragePath,
        keep: int = 7,
        single_writer: bool = False,
        part: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # An ObjectStoragePath's text has its connection in it, and nothing that a template could not render.
        self.ledger = str(ledger) if hasattr(ledger, "joinpath") else ledger
        check_count("keep", keep, 1)
        self.keep = keep
        self.single_writer = single_writer
        self.part = part

    def _open_ledger(self) -> Ledger:
        from airflow_provider_journey.segments.ledger import Ledger

        for leftover in leftover_templates(self.ledger, "ledger"):
            raise SegmentSyncError(f"{leftover} still holds a template after rendering.")
        if not isinstance(self.ledger, str) or not ("://" in self.ledger or self.ledger.startswith("/")):
            raise SegmentSyncError(f"ledger {self.ledger!r} is neither a URI nor an absolute path.")
        try:
            return Ledger.at(self.ledger, keep=self.keep, single_writer=self.single_writer)
        except (ValueError, ImportError) as error:
            raise SegmentSyncError(f"ledger {self.ledger!r}: {error}") from error

    def _run_id(self, context: Context) -> str:
        """Return the name under which this run is known to the ledger, the same for all its tries."""
        instance = context["ti"]
        index = -1 if self.part or instance.map_index is None else instance.map_index
        mapped = f".{index}" if index >= 0 else ""
        return f"{instance.dag_id}.{self.part or instance.task_id}{mapped}.{instance.run_id}"

    def _lease(self, ledger: Ledger, context: Context) -> Lease:
        from airflow_provider_journey.segments.lease import Lease

        return Lease(ledger.store, self._run_id(context))


class PlanningOperator(LedgerOperator):
    """A ledger, and what is to be reached.

    :param audience: who is to be in which segment.
    :param segment_ids: the segments it is about.
    :param mode: ``changes``, ``upsert`` or ``mirror``.
    :param renew_after: assignments confirmed so long ago are sent again.
    :param give_up_after: after so many refusals in a row a change is not sent any more.
    :param allow_empty: whether an audience without a valid row is meant.
    :param max_unassign_fraction: how much of a segment's known members may be taken away, 0 to 1.
    :param lookup_ttl: how old the answer may be by which a person is known.
    :param identity_key: the Airflow Variable whose value people are known by in the ledger's folder.
    :param max_unknown_fraction: how much of the audience's people may be unknown, 0 to 1.
    :param concurrency: calls in flight at a time.
    :param dry_run: whether it ends with the plan.
    """

    template_fields: Sequence[str] = ("audience", "segment_ids", "ledger")

    def __init__(
        self,
        *,
        audience: Any,
        segment_ids: Sequence[str],
        mode: str,
        renew_after: timedelta | float | None = None,
        give_up_after: int = 7,
        allow_empty: bool = False,
        max_unassign_fraction: float = 0.2,
        lookup_ttl: timedelta | float = 30,
        identity_key: str | None = None,
        max_unknown_fraction: float | None = None,
        concurrency: int = 16,
        dry_run: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # Templates are rendered into plain data; a frozen audience could not take what is rendered.
        self.audience = audience.to_dict() if hasattr(audience, "to_dict") else audience
        self.segment_ids = segment_ids
        self.mode = mode
        self.renew_after = renew_after
        self.give_up_after = give_up_after
        self.allow_empty = allow_empty
        self.max_unassign_fraction = max_unassign_fraction
        self.lookup_ttl = lookup_ttl
        self.identity_key = identity_key
        self.max_unknown_fraction = max_unknown_fraction
        self.concurrency = concurrency
        # Not by the parameter's name, which BaseOperator has given to a method.
        self.plan_only = dry_run
        self._check()

    def _check(self) -> None:
        """Refuse what cannot be right when the DAG is parsed, as far as nothing has to be rendered for it."""
        if self.mode not in MODES:
            raise ValueError(f"mode is one of {', '.join(MODES)}, not {self.mode!r}")
        check_count("give_up_after", self.give_up_after, 1)
        named = self.segment_ids if isinstance(self.segment_ids, list | tuple) else [self.segment_ids]
        if not any(map(is_rendered_later, named)):
            self._request()
        if isinstance(self.audience, Mapping):
            audience_from(self.audience)
        check_fraction("max_unassign_fraction", self.max_unassign_fraction)
        if self.max_unknown_fraction is not None:
            check_fraction("max_unknown_fraction", self.max_unknown_fraction)
        if days(self.lookup_ttl) <= timedelta(0):
            raise ValueError("lookup_ttl is a time longer than none")

    def _request(self) -> PlanRequest:
        from airflow_provider_journey.segments.plan import PlanRequest

        renew_after = None if self.renew_after is None else days(self.renew_after)
        return PlanRequest(self.segment_ids, self.mode, renew_after, self.give_up_after)

    def _do_render_template_fields(self, parent: Any, *args: Any, **kwargs: Any) -> None:
        """Render as ever; of rows Airflow then keeps and shows no more than that there are some."""
        super()._do_render_template_fields(parent, *args, **kwargs)
        if parent is self:
            self.audience = without_rows(self.audience)

    def _rendered(self) -> tuple[Audience, PlanRequest]:
        """Return audience and request as their templates were rendered."""
        audience = audience_from(self.audience)
        fields: dict[str, Any] = {"segment_ids": self.segment_ids}
        if not isinstance(audience, RowsAudience):
            fields["audience"] = self.audience
        for leftover in leftover_templates(fields, "operator"):
            raise AudienceError(f"{leftover} still holds a template after rendering.")
        try:
            return audience, self._request()
        except ValueError as error:
            raise SegmentSyncError(str(error)) from None

    def _plan(self, ledger: Ledger, context: Context, applying: Applying, budget: Budget) -> Plan:
        """Make a plan, say what is in it, and refuse what was not allowed.

        :param applying: the connection over which segments are checked and people looked up.
        :param budget: what the run may spend; look-ups take half of it at most, so that changes are made too.
        """
        from airflow_provider_journey.segments.description import describe
        from airflow_provider_journey.segments.guards import check_guards
        from airflow_provider_journey.segments.listing import check_active
        from airflow_provider_journey.segments.plan import make_plan
        from airflow_provider_journey.segments.resolver import LookupRules

        audience, request = self._rendered()
        # Nothing is asked before the audience is known to be one, nobody looked up for segments not there.
        inactive = cache(lambda: applying.inactive_segments(request.segment_ids))
        key = identity_key(self.identity_key, applying.settings)
        rules = LookupRules(key, days(self.lookup_ttl), budget.half(), self.concurrency)
        resolver = applying.resolver(rules, self._lease(ledger, context), inactive)
        plan = make_plan(ledger, self._run_id(context), audience, request, resolver=resolver)
        applying.spent_on_lookups = plan.summary.lookup_seconds
        self.log.info("%s", describe(plan.summary))
        self._warn(ledger, plan)
        applying.names.spend(plan.summary.invalid)
        check_guards(
            plan,
            allow_empty=self.allow_empty,
            max_unassign_fraction=self.max_unassign_fraction,
            max_unknown_fraction=self.max_unknown_fraction,
        )
        check_active(plan.summary, inactive())
        return plan

    def _warn(self, ledger: Ledger, plan: Plan) -> None:
        """Say which rows and people nothing is sent for."""
        summary = plan.summary
        if summary.unknown_people:
            self.log.warning(
                "%s of %s people are not known to the service. They are in %s",
                f"{summary.unknown_people:,}",
                f"{summary.people:,}",
                ledger.store.root / plan.run.unknown,
            )
        if summary.unresolved:
            again = "" if self.mode == "mirror" else ", if its audience names them again"
            self.log.warning(
                "%s people could not be looked up in this run. They are left for the next one%s; %s members "
                "who may be among them are not taken away.",
                f"{summary.unresolved:,}",
                again,
                f"{summary.held_back:,}",
            )
        if summary.given_up:
            self.log.warning(
                "%s changes are not sent any more: %s runs one after the other were refused. Which ones, and "
                "why, is in %s",
                f"{summary.given_up:,}",
                self.give_up_after,
                ledger.store.root / str(ledger.head().pending),
            )
        if plan.offenders:
            self.log.warning(
                "Rows that are never sent: %s. All of them are in %s",
                plan.offenders,
                ledger.store.root / plan.run.invalid,
            )


def days(value: timedelta | float) -> timedelta:
    """Return a time span that may be given as a number of days."""
    return value if isinstance(value, timedelta) else timedelta(days=value)


def check_limits(concurrency: Any, max_calls: Any, max_duration: Any, max_rejects: Any) -> None:
    """Refuse what no run can keep to, when the DAG is parsed.

    :param concurrency: calls in flight at a time.
    :param max_calls: a number of requests; ``None``: any.
    :param max_duration: a timedelta, or seconds; ``None``: any.
    :param max_rejects: a number of changes; ``None``: any.
    :raises ValueError: concurrency is less than 1, a limit is negative, or one of them is no such thing.
    """
    check_count("concurrency", concurrency, 1)
    for name, value in (("max_calls", max_calls), ("max_rejects", max_rejects)):
        if value is not None:
            check_count(name, value, 0)
    span = max_duration.total_seconds() if isinstance(max_duration, timedelta) else max_duration
    if span is not None and (not isinstance(span, int | float) or span < 0):
        raise ValueError(f"max_duration is a timedelta, or seconds, and not negative: {max_duration!r}")


def check_count(name: str, value: Any, least: int) -> None:
    """Refuse a number that is none, or too small, when the DAG is parsed.

    :raises ValueError: it is no whole number, or less than ``least``.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} is a whole number, at least {least}, not {value!r}")


def check_fraction(name: str, value: float) -> None:
    """Refuse a fraction that is none, when the DAG is parsed.

    :raises ValueError: it does not lie between 0 and 1.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{name} lies between 0 and 1, not {value!r}")
