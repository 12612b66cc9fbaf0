"""A segment sync in several tasks: plan, approval by a person, apply on several connections, commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import TaskGroup, TriggerRule

from airflow_provider_journey.hooks import DEFAULT_CONN_ID
from airflow_provider_journey.operators.segment_base import check_fraction, check_limits
from airflow_provider_journey.task_groups.segment_steps import (
    SegmentApplyOperator,
    SegmentCommitOperator,
    SegmentPlanOperator,
)

if TYPE_CHECKING:
    from airflow.sdk import Asset, BaseOperator, ObjectStoragePath

_SUBJECT = "Apply the plan of this segment sync?"


def journey_segment_sync(
    group_id: str,
    audience: Any,
    segment_ids: Sequence[str],
    mode: str,
    ledger: str | ObjectStoragePath,
    journey_conn_ids: Sequence[str] = (DEFAULT_CONN_ID,),
    approval: Mapping[str, Any] | None = None,
    dry_run: bool = False,
    *,
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
    keep: int = 7,
    single_writer: bool = False,
    outlets: Sequence[Asset] = (),
    default_args: dict[str, Any] | None = None,
) -> TaskGroup:
    """Make segments have the members that an audience says, in a group of tasks.

    ``plan`` compares audience and ledger; ``approval`` asks a person, if wanted; ``apply`` carries out the
    plan, in one task for each connection, so that each OAuth client's own rate limit is used; ``commit``
    records what came of it, whatever that was, and then fails if a task before it failed or too much was
    refused. What is applied is the plan that was approved, and nothing else. A rejection and a dry run skip
    what follows the group. Cleared, ``apply`` goes on with its plan; ``plan`` makes a new one.

    Parameters that are not listed are those of
    :class:`~airflow_provider_journey.operators.segments.JourneySegmentSyncOperator`.

    :param group_id: the group's id.
    :param audience: who is to be in which segment; templated.
    :param segment_ids: the segments it is about; templated.
    :param mode: ``changes``, ``upsert`` or ``mirror``.
    :param ledger: the folder of the ledger; templated.
    :param journey_conn_ids: the connections that share the work, each best of an OAuth client of its own; the
        first one checks segments and looks people up.
    :param approval: arguments of Airflow's ``ApprovalOperator``, for instance ``{"response_timeout":
        timedelta(hours=12), "defaults": "Reject"}``; subject and body describe the plan unless they are
        given; ``None``: nobody is asked. Airflow below 3.3 waits for the answer in the triggerer.
    :param dry_run: whether it ends with the plan.
    :param max_calls: requests of all tasks together, after which the rest is left for the next run.
    :param outlets: assets that ``commit`` updates.
    :param default_args: arguments for all of the group's tasks.
    :return: the group.
    :raises ValueError: when the DAG is parsed, for what cannot be right.
    """
    if isinstance(journey_conn_ids, str) or not journey_conn_ids:
        raise ValueError("journey_conn_ids is a list of at least one connection's id")
    check_fraction("max_reject_fraction", max_reject_fraction)
    check_fraction("verify", verify)
    check_limits(concurrency, max_calls, max_duration, max_rejects)
    options: dict[str, Any] = {"default_args": default_args or {}}
    with TaskGroup(group_id, **options) as group:
        shared: dict[str, Any] = {
            "ledger": ledger,
            "keep": keep,
            "single_writer": single_writer,
            "part": group.group_id,
        }
        plan = SegmentPlanOperator(
            task_id="plan",
            audience=audience,
            segment_ids=segment_ids,
            mode=mode,
            renew_after=renew_after,
            give_up_after=give_up_after,
            allow_empty=allow_empty,
            max_unassign_fraction=max_unassign_fraction,
            lookup_ttl=lookup_ttl,
            identity_key=identity_key,
            max_unknown_fraction=max_unknown_fraction,
            max_calls=max_calls,
            max_duration=max_duration,
            concurrency=concurrency,
            journey_conn_id=journey_conn_ids[0],
            dry_run=dry_run,
            **shared,
        )
        asked = None if approval is None else _approval(plan.task_id, approval)
        tasks: dict[str, Any] = {
            "plan_task_id": plan.task_id,
            "approval_task_id": None if asked is None else asked.task_id,
        }
        apply = SegmentApplyOperator.partial(
            task_id="apply",
            writers=len(journey_conn_ids),
            max_calls=max_calls,
            max_duration=max_duration,
            concurrency=concurrency,
            **tasks,
            **shared,
        ).expand(journey_conn_id=list(journey_conn_ids))
        commit = SegmentCommitOperator(
            task_id="commit",
            journey_conn_ids=list(journey_conn_ids),
            apply_task_id=apply.task_id,
            max_reject_fraction=max_reject_fraction,
            max_rejects=max_rejects,
            verify=verify,
            repair=repair,
            max_calls=max_calls,
            max_duration=max_duration,
            concurrency=concurrency,
            trigger_rule=TriggerRule.ALL_DONE,
            outlets=list(outlets),
            **tasks,
            **shared,
        )
        if asked is None:
            plan >> apply >> commit
        else:
            plan >> asked >> apply >> commit
    return group


def _approval(plan_task_id: str, arguments: Mapping[str, Any]) -> BaseOperator:
    from airflow_provider_journey.task_groups.segment_approval import SegmentApprovalOperator

    text = f"{{{{ ti.xcom_pull(task_ids='{plan_task_id}')['text'] }}}}"
    given = {"task_id": "approval", "subject": _SUBJECT, "body": text, **arguments}
    return SegmentApprovalOperator(plan_task_id=plan_task_id, **given)
