"""``make ui``: the demo's Airflow with its web UI, and the emulator, until interrupted."""

from __future__ import annotations

import time

from demo.airflow_home import COMPONENTS, USER
from demo.stage import DAG_ID, Stage, arguments, run


def main() -> int:
    """Run Airflow and the emulator until Ctrl-C."""
    given = arguments("Airflow's web UI over the demo's runs, and the emulator.", port=8080).parse_args()
    settings = {"core": {"test_connection": "Enabled"}}
    opened = Stage(given.folder).open(
        port=given.port,
        emulator_port=given.emulator_port,
        settings=settings,
        components=(*COMPONENTS, "triggerer"),
    )
    with opened as platform:
        airflow = platform.airflow
        airflow.wait_for_dag(DAG_ID)
        print(
            f"\n  {airflow.url}   user {USER}   password {airflow.password}\n\nCtrl-C stops it.", flush=True
        )
        while True:
            airflow.children.check()
            time.sleep(1)


if __name__ == "__main__":
    run(main)
