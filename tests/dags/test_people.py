"""A canary: who people are is in nothing that is kept, said or shown of a sync, under a real scheduler."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import duckdb
import pytest

from demo.processes import ROOT, wait_until
from tests.emulator.people import email
from tests.emulator.syncing import contacts
from tests.scheduling import RUN_S, SEGMENTS

pytestmark = pytest.mark.xdist_group("scheduler")

SEGMENT = SEGMENTS[6]
NOT_KNOWN = ["canary-unknown@nowhere.example", "+49305550199"]
INVALID = ["canary-no-address", "0049305550198", "canary two@example.com"]
# What no file and no text may hold: whole, and in parts that would tell.
CANARIES = re.compile(rb"canary|5550199|5550198|customer\d+@|@nowhere\.example|\+1555|CRM-0000")


def fill(platform):
    """Put people of all kinds into the warehouse and into a file."""
    source = platform.emulator.about()["external_source_id"]
    rows = [
        *((email(number), None, None, None) for number in range(20)),
        *((None, f"+1555{number:07d}", None, None) for number in range(15, 30)),
        *((None, None, f"CRM-{number:07d}", source) for number in range(25, 40)),
        (NOT_KNOWN[0], None, None, None),
        (None, NOT_KNOWN[1], None, None),
        (INVALID[0], None, None, None),
        (None, INVALID[1], None, None),
        (email(1), "+15550000001", None, None),
    ]
    with sqlite3.connect(platform.warehouse) as warehouse:
        warehouse.execute("CREATE TABLE people (email, phone, external_id, external_source)")
        warehouse.executemany("INSERT INTO people VALUES (?, ?, ?, ?)", rows)
    lines = ["email;phone", *(f"{email(number)};" for number in range(10)), f"{INVALID[2]};", NOT_KNOWN[0]]
    platform.people.write_text("\n".join(lines) + "\n")


def texts(*folders: Path):
    """Every file below the folders, as it is, and Parquet also as the rows it holds."""
    for folder in folders:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            yield file, file.read_bytes()
            if file.suffix == ".parquet":
                found = duckdb.read_parquet(str(file))
                columns = ", ".join(f'CAST("{name}" AS VARCHAR)' for name in found.columns)
                yield file, repr(found.project(columns).fetchall()).encode()


def test_the_terminal_finds_a_connection_in_the_database_of_airflow(platform, tmp_path):
    airflow = platform.airflow
    airflow.cli("connections", "add", "kept_there", "--conn-uri", platform.emulator.connection_uri)
    ledger = ["forget", tmp_path.as_uri(), "--email", email(0), "--conn-id", "kept_there"]
    done = subprocess.run(
        [sys.executable, "-m", "airflow_provider_journey", "ledger", *ledger],
        env={**airflow.environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.endswith("removed from 0 objects\n"), done.stderr


def test_who_people_are_is_kept_and_shown_nowhere(platform):
    fill(platform)
    airflow = platform.airflow
    airflow.wait_for_dag("sync_people")
    run = airflow.request("POST", "/dags/sync_people/dagRuns", {"logical_date": None, "conf": {}})
    path = f"/dags/sync_people/dagRuns/{quote(run['dag_run_id'])}"
    state = wait_until(
        lambda: (found := airflow.get(path)["state"]) in ("success", "failed") and found, "its end", RUN_S
    )
    assert state == "success"
    # The file is a mirror of the ledger of its own, which takes nobody away.
    assert platform.emulator.members(SEGMENT) == set(contacts(40))
    where = f"{path}/taskInstances/{{}}/xcomEntries/journey_run"
    reports = [
        airflow.get(where.format(task), stringify="false")["value"] for task in ("sync.commit", "file")
    ]
    assert [each["counts"]["people"] for each in reports] == [52, 10]
    assert [each["calls"] for each in reports] == [1 + 52 + 40, 1 + 10 + 10]
    asked = platform.emulator.calls()["postExternalcontactsIdentifierlookupContacts"]
    assert asked == {"200": 50 + 10, "404": 2}, "two syncs, each with a ledger of its own"

    ledgers = [platform.lake / "ledgers" / name for name in ("people", "people_file")]
    kept = list(texts(*ledgers))
    names = {file.name.partition("-")[0] for file, _ in kept} | {file.suffix for file, _ in kept}
    assert {"unknown.parquet", "invalid.parquet", "plan.parquet", "summary.json", ".jsonl"} <= names
    airflow_keeps = list(texts(airflow.home))
    logs = b"".join(text for file, text in airflow_keeps if "logs" in file.parts)
    assert b"people are not known to the service" in logs
    assert b"more than one identity" in logs
    instances = airflow.get(f"{path}/taskInstances")["task_instances"]
    # One by one: Airflow 3.1 lists them without.
    places = [
        f"{each['task_id']}/{each['map_index']}" if each["map_index"] >= 0 else each["task_id"]
        for each in instances
    ]
    shown = [airflow.get(f"{path}/taskInstances/{place}")["rendered_fields"] for place in places]
    assert any("SELECT * FROM people" in json.dumps(each) for each in shown)
    events = airflow.get("/assets/events", order_by="-timestamp")["asset_events"]
    told = [*kept, *airflow_keeps, ("REST", json.dumps([shown, events, reports]).encode())]
    assert [(str(where), found[0]) for where, text in told if (found := CANARIES.search(text))] == []
