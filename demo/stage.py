"""What ``make demo`` and ``make ui`` stand on: a folder, the emulator, and an Airflow connected to it."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from demo.airflow_home import COMPONENTS, AirflowHome
from demo.emulator import CALLS_PER_MINUTE, start_emulator
from demo.processes import ROOT, Children, DemoError, terminate_like_interrupt
from demo.warehouse import Warehouse

DAG_ID = "journey_nightly_aggregates"
SYNC_DAG_ID = "journey_segment_sync"


@dataclass(frozen=True)
class Platform:
    """What runs while a stage is open.

    :param airflow: an Airflow connected to the emulator and to the warehouse.
    :param emulator_url: where the emulator answers.
    :param warehouse: a database that says who belongs to which segment.
    """

    airflow: AirflowHome
    emulator_url: str
    warehouse: Warehouse


class Stage:
    """The demo's folder and what lies in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.lake = self.folder / "lake"
        self.home = self.folder / "airflow"
        self.logs = self.folder / "logs"
        self.ledger = self.lake / "segment_ledger"

    @contextlib.contextmanager
    def open(
        self,
        *,
        port: int,
        emulator_port: int,
        settings: Mapping[str, Mapping[str, str]] | None = None,
        components: Sequence[str] = COMPONENTS,
    ) -> Iterator[Platform]:
        """Run the emulator and Airflow until the block ends; one of these at a time in a folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._alone(), Children(self.logs) as children:
            self._forget_interrupted_runs()
            self._forget_ledgers()
            print(f"Starting the emulator, Airflow's {', '.join(components)} ...", flush=True)
            about = start_emulator(children, os.environ, emulator_port)
            warehouse = Warehouse(self.folder / "warehouse.db", about)
            environment = {
                "AIRFLOW_CONN_JOURNEY_DEFAULT": about["connection_uri"],
                "AIRFLOW_CONN_JOURNEY_SECOND": about["connection_uri"],
                "JOURNEY_LAKE": self.lake.as_uri(),
                **warehouse.environment(),
            }
            airflow = AirflowHome(
                self.home,
                ROOT / "dags",
                environment=environment,
                settings=settings,
                port=port,
                components=components,
            )
            with airflow:
                print(
                    f"The emulator answers at {about['base_url']}, Airflow at {airflow.url}.\n"
                    f"It allows {CALLS_PER_MINUTE:,} calls a minute; Genesys Cloud allows 300.",
                    flush=True,
                )
                yield Platform(airflow, about["base_url"], warehouse)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DemoError(
                    f"Another make demo or make ui is running in {self.folder}: let it end, or stop it."
                ) from None
            yield

    def _forget_ledgers(self) -> None:
        """Remove what says who is in which segment: an emulator that begins has nobody in them."""
        ledgers = list(self.lake.glob(f"{self.ledger.name}*"))
        if ledgers:
            print("The last emulator's segments ended with it: beginning with a fresh ledger.", flush=True)
        for ledger in ledgers:
            shutil.rmtree(ledger)

    def _forget_interrupted_runs(self) -> None:
        """Begin with a fresh Airflow home when the last one was stopped in the middle of a run.

        Its scheduler would wait five minutes for a heartbeat of tasks which ended with it.
        """
        database = self.home / "airflow.db"
        if not database.exists():
            return
        with contextlib.closing(sqlite3.connect(database)) as connection:
            try:
                query = "SELECT count(*) FROM dag_run WHERE state IN ('queued', 'running')"
                (unfinished,) = connection.execute(query).fetchone()
            except sqlite3.Error:
                unfinished = 1  # A migration that was interrupted is no better.
        if unfinished:
            print("The last Airflow here was stopped during a run: beginning with a fresh one.", flush=True)
            shutil.rmtree(self.home)


def arguments(description: str, port: int) -> argparse.ArgumentParser:
    """Return the command line that ``make demo`` and ``make ui`` share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--folder", type=Path, default=ROOT / ".demo", help="where everything goes")
    parser.add_argument("--port", type=int, default=port, help="Airflow's port; 0: a free one")
    parser.add_argument("--emulator-port", type=int, default=0, help="the emulator's port; 0: a free one")
    return parser


def run(main: Callable[[], int]) -> None:
    """Run a program of the demo; end it as a person expects, with a plain message and an exit code."""
    terminate_like_interrupt()
    try:
        code = main()
    except DemoError as error:
        print(f"\n{error}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        print("\nStopped, and everything that was started with it.", file=sys.stderr)
        code = 130
    raise SystemExit(code)
