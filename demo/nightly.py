"""``make demo``: seven nights of journey aggregates, by ``airflow backfill``, and a segment sync twice."""

from __future__ import annotations

import datetime
import time
from typing import Any

from demo import report
from demo.airflow_home import AirflowHome
from demo.backfill import create_backfill
from demo.processes import DemoError
from demo.stage import DAG_ID, Stage, arguments, run
from demo.syncs import Syncs

DEADLINE_S = 300.0


class Backfill:
    """The runs of the last nights, made by ``airflow backfill create`` and watched through the REST API."""

    def __init__(self, airflow: AirflowHome, nights: int) -> None:
        self.airflow = airflow
        self.end = datetime.datetime.now(datetime.timezone.utc)
        # A daily schedule has exactly this many dates after the one moment and up to the other.
        self.start = self.end - datetime.timedelta(days=nights) + datetime.timedelta(seconds=1)

    def create(self) -> None:
        """Make the runs, also of nights that were done before."""
        create_backfill(self.airflow, DAG_ID, self.start, self.end)

    def runs(self) -> list[dict[str, Any]]:
        """Return the runs, oldest first."""
        found: list[dict[str, Any]] = self.airflow.get(
            f"/dags/{DAG_ID}/dagRuns",
            logical_date_gte=self.start.isoformat(),
            logical_date_lte=self.end.isoformat(),
            order_by="logical_date",
        )["dag_runs"]
        return found

    def watch(self) -> dict[str, dict[str, Any]]:
        """Print each night as it ends; return their ``journey_run`` by run id; raise on the first failure."""
        deadline = time.monotonic() + DEADLINE_S
        done: dict[str, dict[str, Any]] = {}
        while True:
            self.airflow.children.check()
            runs = self.runs()
            for dag_run in runs:
                self.airflow.check_run(dag_run)
                if dag_run["state"] == "success" and dag_run["dag_run_id"] not in done:
                    summary = self.airflow.xcom(dag_run, "journey_run")
                    done[dag_run["dag_run_id"]] = summary
                    print(f"  {len(done)}/{len(runs)}  {report.night(dag_run, summary)}", flush=True)
            if runs and len(done) == len(runs):
                return done
            if time.monotonic() > deadline:
                raise DemoError(f"The nights were not done after {DEADLINE_S:.0f} s.")
            time.sleep(0.5)


def back_fill(airflow: AirflowHome, nights: int) -> list[dict[str, Any]]:
    """Let the last nights be done; return what each of them says of itself."""
    airflow.wait_for_dag(DAG_ID)
    airflow.request("PATCH", f"/dags/{DAG_ID}", {"is_paused": False})
    print(f"airflow backfill create: {nights} nights of {DAG_ID} under a running scheduler", flush=True)
    backfill = Backfill(airflow, nights)
    backfill.create()
    summaries = backfill.watch()
    airflow.request("PATCH", f"/dags/{DAG_ID}", {"is_paused": True})
    return list(summaries.values())


def main() -> int:
    """Run the demo and print what came of it."""
    parser = arguments("Nights of journey aggregates, from the emulator into a lake; two syncs.", port=0)
    parser.add_argument("--nights", type=int, default=7)
    given = parser.parse_args()
    started = time.monotonic()
    stage = Stage(given.folder)
    # The nights come from the back-fill alone: the schedule would add runs of its own beside them.
    settings = {"scheduler": {"use_job_schedule": "False"}}
    with stage.open(port=given.port, emulator_port=given.emulator_port, settings=settings) as platform:
        summaries = back_fill(platform.airflow, given.nights)
        syncs = Syncs(stage, platform).twice()
    report.partitions(stage, summaries)
    report.first_rows(stage)
    report.syncs(*syncs)
    report.places(stage)
    print(f"\nDone in {time.monotonic() - started:.0f} s; everything that was started is stopped.")
    return 0


if __name__ == "__main__":
    run(main)
