"""Operators run as a task runs them, without an Airflow around."""

import json
from types import SimpleNamespace

from airflow_provider_journey.operators.failing import fail_exception, skip_exception
from tests.emulator.extracting import OutletEvents

Failed = type(fail_exception(""))
Skipped = type(skip_exception(""))


class TaskInstance:
    dag_id, task_id, map_index = "dag", "sync", -1

    def __init__(self, run_id):
        self.run_id = run_id
        self.xcoms = {}

    def xcom_push(self, key, value):
        self.xcoms[key] = json.loads(json.dumps(value))


def context_of(operator, run_id="one", **more):
    outlets = OutletEvents({outlet.name: SimpleNamespace(extra={}) for outlet in operator.outlets})
    return {"ti": TaskInstance(run_id), "outlet_events": outlets, "params": {}} | more


def run(operator, run_id="one", **more):
    """Render and execute ``operator`` in a run; return the context, with its ``result``."""
    context = context_of(operator, run_id, **more)
    operator.render_template_fields(context)
    context["result"] = operator.execute(context)
    return context
