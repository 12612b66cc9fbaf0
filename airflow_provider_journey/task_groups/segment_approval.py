"""The question to a person; imported only where a group asks one, since it brings a provider with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator  # noqa: TID253 - imported lazily itself

from airflow_provider_journey.operators.failing import skip_exception
from airflow_provider_journey.task_groups.segment_steps import ANSWER, APPROVED

if TYPE_CHECKING:
    from airflow.sdk import Context


class SegmentApprovalOperator(ApprovalOperator):
    """Asks whether a plan is to be applied, and remembers which plan it was that it asked about.

    :param plan_task_id: the task that made the plan.
    """

    def __init__(self, *, plan_task_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan_task_id = plan_task_id

    def execute(self, context: Context) -> Any:
        """Ask, unless there is nothing to ask about.

        :raises AirflowSkipException: it is a dry run.
        """
        instance = context["ti"]
        plan = instance.xcom_pull(task_ids=self.plan_task_id)
        if plan["dry_run"]:
            raise skip_exception("This was a dry run: there is nothing to approve.")
        instance.xcom_push(key=APPROVED, value=plan["plan_hash"])
        if not plan["changes"]:
            self.log.info("The plan has no changes: nobody is asked.")
            instance.xcom_push(key=ANSWER, value=[self.APPROVE])
            return None
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Note the answer, which a rejection would not leave behind, and act on it."""
        context["ti"].xcom_push(key=ANSWER, value=event.get("chosen_options"))
        return super().execute_complete(context=context, event=event)
