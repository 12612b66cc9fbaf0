"""The second half of ``make demo``: a segment sync of a whole audience, and of the same with 2 % changed."""

from __future__ import annotations

import json
import urllib.request
from typing import Any
from urllib.parse import quote

from airflow_provider_journey.segments.summary import PlanSummary
from demo.processes import DemoError, wait_until
from demo.stage import SYNC_DAG_ID, Platform, Stage

DEADLINE_S = 120.0
CHANGED = 0.02


class Syncs:
    """Runs of the one-task example, triggered one after the other and watched through the REST API."""

    def __init__(self, stage: Stage, platform: Platform) -> None:
        self.airflow, self.warehouse = platform.airflow, platform.warehouse
        self.emulator_url = platform.emulator_url
        self.ledger = stage.ledger

    def twice(self) -> list[dict[str, Any]]:
        """Sync the whole audience and then a changed one; return the figures of both."""
        path = f"/dags/{SYNC_DAG_ID}"
        self.airflow.wait_for_dag(SYNC_DAG_ID)
        self.airflow.request("PATCH", path, {"is_paused": False})
        count = len(self.warehouse.contacts)
        moved = round(count * CHANGED)
        print(f"\n{SYNC_DAG_ID}: {count:,} contacts of a SQLite warehouse into two segments", flush=True)
        whole = self._run("the whole audience")
        self.warehouse.move(moved)
        changed = self._run(f"{moved} contacts have changed to the other segment")
        self.airflow.request("PATCH", path, {"is_paused": True})
        return [whole, changed]

    def _run(self, what: str) -> dict[str, Any]:
        """Trigger a run, wait for its end, and return its figures; raise when it has not done its work."""
        dag_run = self.airflow.request("POST", f"/dags/{SYNC_DAG_ID}/dagRuns", {"logical_date": None})
        where = f"/dags/{SYNC_DAG_ID}/dagRuns/{quote(dag_run['dag_run_id'])}"

        def ended() -> dict[str, Any] | None:
            self.airflow.children.check()
            found: dict[str, Any] = self.airflow.get(where)
            self.airflow.check_run(found)
            return found if found["state"] == "success" else None

        dag_run = wait_until(ended, f"the sync of {what}", DEADLINE_S, every_s=0.5)
        report: dict[str, Any] = self.airflow.xcom(dag_run, "journey_run")
        self._check_service()
        print(
            f"  {dag_run['state']}  {dag_run['duration'] or 0:.1f} s  {what}: {report['calls']:,} calls",
            flush=True,
        )
        return {"report": report, "plan": self._plan(report["plan_hash"])}

    def _plan(self, plan_hash: str) -> PlanSummary:
        """Read from the ledger what the run had planned."""
        for file in (self.ledger / "runs").glob("*/summary.json"):
            summary = PlanSummary.from_dict(json.loads(file.read_text()))
            if summary.plan_hash == plan_hash:
                return summary
        raise DemoError(f"There is no run with the plan {plan_hash} in the ledger {self.ledger}.")

    def _check_service(self) -> None:
        """Raise unless the emulator has exactly the members that the warehouse names."""
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for segment, wanted in self.warehouse.members().items():
            asked = f"{self.emulator_url}/emulator/assignments?segment_id={segment}"
            with direct.open(asked, timeout=30) as answer:
                held = [json.loads(line) for line in answer]
            there = {each["external_contact_id"] for each in held if each["state"] == "Assigned"}
            if there != wanted:
                raise DemoError(
                    f"Segment {segment} differs: {len(wanted - there)} contacts of the warehouse are not "
                    f"in it, {len(there - wanted)} others are."
                )
