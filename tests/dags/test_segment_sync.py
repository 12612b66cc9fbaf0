"""Both example DAGs and syncs that do not end as planned, under a real scheduler.

What they did is read from the emulator and from the ledger, what they say from Airflow's REST API.
"""

from __future__ import annotations

import json
import sqlite3
from urllib.parse import quote

import duckdb
import pytest

from airflow_provider_journey.segments.ledger import Ledger
from demo.processes import wait_until
from tests.emulator.syncing import contacts
from tests.scheduling import RUN_S, SEGMENTS

pytestmark = pytest.mark.xdist_group("scheduler")

PEOPLE = contacts(300)


class Runs:
    """Starts runs of syncs and reads what became of them."""

    def __init__(self, platform):
        self.platform, self.airflow = platform, platform.airflow
        with sqlite3.connect(platform.warehouse) as warehouse:
            for table in ("segment_members", "campaign_members", "members"):
                warehouse.execute(f"CREATE TABLE IF NOT EXISTS {table} (external_contact_id, segment_id)")

    def fill(self, table, segment_id, people):
        with sqlite3.connect(self.platform.warehouse) as warehouse:
            warehouse.execute(f"DELETE FROM {table} WHERE segment_id = ?", [segment_id])
            warehouse.executemany(f"INSERT INTO {table} VALUES (?, ?)", [(who, segment_id) for who in people])

    def start(self, dag_id):
        self.airflow.wait_for_dag(dag_id)
        body = {"logical_date": None, "conf": {}}
        return self.airflow.request("POST", f"/dags/{dag_id}/dagRuns", body)

    def path(self, run):
        return f"/dags/{run['dag_id']}/dagRuns/{quote(run['dag_run_id'])}"

    def ended(self, run):
        """Wait for the end of a run; return its state and the states of its tasks, mapped ones as a list."""

        def ended():
            found = self.airflow.get(self.path(run))
            return found if found["state"] in ("success", "failed") else None

        state = wait_until(ended, f"the end of {run['dag_run_id']}", RUN_S)["state"]
        return state, self.states(run)

    def states(self, run):
        states = {}
        for task in self.airflow.get(f"{self.path(run)}/taskInstances")["task_instances"]:
            if task["map_index"] < 0:
                states[task["task_id"]] = task["state"]
            else:
                states.setdefault(task["task_id"], []).append(task["state"])
        return states

    def clear(self, run, task_id):
        """Clear one task, and nothing behind it."""
        clear = {
            "dry_run": False,
            "task_ids": [task_id],
            "dag_run_id": run["dag_run_id"],
            "only_failed": False,
        }
        self.airflow.request("POST", f"/dags/{run['dag_id']}/clearTaskInstances", clear)

    def tries(self, run, task_id):
        """Which try of a task it is, and its state."""
        task = self.airflow.get(f"{self.path(run)}/taskInstances/{task_id}")
        return task["try_number"], task["state"]

    def asked(self, run):
        """Wait for the question of a run."""
        wait_until(
            lambda: self.states(run).get("sync.approval") in ("awaiting_input", "deferred"),
            f"the approval of {run['dag_run_id']}",
            RUN_S,
        )
        # A person takes longer: Airflow fails the resumed task if the process that asked ends only then.
        finished = f"TaskInstance Finished: dag_id={run['dag_id']}, task_id=sync.approval, run_id={run['dag_run_id']}"
        log = self.airflow.home / "process-logs" / "scheduler.log"
        wait_until(lambda: finished in log.read_text(), "the end of the process that asked", RUN_S)

    def answer(self, run, choice, before=None):
        """Wait for the question of a run and answer it; return the question."""
        where = f"{self.path(run)}/taskInstances/sync.approval/-1/hitlDetails"
        self.asked(run)
        question = self.airflow.get(where)
        if before:
            before()
        self.airflow.request("PATCH", where, {"chosen_options": [choice], "params_input": {}})
        return question

    def report(self, run):
        return self.airflow.xcom(run, "journey_run")

    def xcoms(self, run):
        """All that the run has said, as one text."""
        values = []
        for entry in self.airflow.get(f"{self.path(run)}/taskInstances/~/xcomEntries", limit=100)[
            "xcom_entries"
        ]:
            where = f"{self.path(run)}/taskInstances/{entry['task_id']}/xcomEntries/{quote(entry['key'])}"
            values.append(self.airflow.get(where, map_index=entry["map_index"], stringify="false")["value"])
        return json.dumps(values)

    def members(self, segment_id):
        return self.platform.emulator.members(segment_id)

    def known(self, ledger, segment_id, state="assigned"):
        folder = self.platform.lake / ledger
        snapshot = Ledger.at(folder.as_uri()).head().snapshot
        query = "SELECT external_contact_id FROM read_parquet(?) WHERE segment_id = ? AND state = ?"
        found = duckdb.execute(query, [str(folder / snapshot), segment_id, state]).fetchall()
        return {row[0] for row in found}


@pytest.fixture(scope="module")
def runs(platform):
    return Runs(platform)


@pytest.fixture
def updates(platform):
    """How many updates the emulator was asked for since the test began."""

    def count():
        return sum(platform.emulator.calls().get("postJourneyExternalcontactSegments", {}).values())

    before = count()
    return lambda: count() - before


def test_the_one_task_example(runs, updates):
    one, two = SEGMENTS[:2]
    runs.fill("segment_members", one, PEOPLE[:100])
    runs.fill("segment_members", two, PEOPLE[50:150])
    # Switched on, it begins with last night.
    runs.platform.unpause("journey_segment_sync")
    [first] = runs.platform.ended_runs("journey_segment_sync", 1)
    assert runs.members(one) == runs.known("segment_ledger", one) == set(PEOPLE[:100])
    assert runs.members(two) == runs.known("segment_ledger", two) == set(PEOPLE[50:150])
    assert updates() == 150
    report = runs.report(first)
    assert (report["kind"], report["rows"], report["calls"]) == ("sync", 200, 150)
    assert report["counts"]["done"] == 200

    runs.fill("segment_members", one, PEOPLE[2:102])
    second = runs.start("journey_segment_sync")
    assert runs.ended(second)[0] == "success"
    assert updates() == 150 + 4
    assert runs.report(second)["counts"]["unchanged"] == 198
    assert runs.members(one) == runs.known("segment_ledger", one) == set(PEOPLE[2:102])

    # The query breaks.
    runs.fill("segment_members", one, PEOPLE[:10])
    third = runs.start("journey_segment_sync")
    assert runs.ended(third)[0] == "failed"
    assert updates() == 154
    [event, *_] = runs.airflow.get("/assets/events", order_by="-timestamp")["asset_events"]
    assert event["extra"]["plan_hash"] == runs.report(second)["plan_hash"]
    everything = runs.xcoms(first) + runs.xcoms(second) + json.dumps(event)
    assert not [who for who in PEOPLE if who in everything]


def test_the_approved_example(runs, updates):
    segment = SEGMENTS[2]
    runs.fill("campaign_members", segment, PEOPLE)
    runs.platform.unpause("journey_segment_sync_approved")
    [run] = wait_until(
        lambda: runs.airflow.get("/dags/journey_segment_sync_approved/dagRuns")["dag_runs"], "its run", RUN_S
    )

    def few_calls_for_each_client():
        assert updates() == 0
        # So that neither is done before the other begins.
        runs.platform.emulator.limits(rate_limit=20, window=4)

    def tokens():
        sent = runs.platform.emulator.requests("postJourneyExternalcontactSegments")
        return {request["token"] for request in sent[len(sent) - updates() :]}

    question = runs.answer(run, "Approve", before=few_calls_for_each_client)
    assert "assign 300" in question["body"]
    assert not [who for who in PEOPLE if who in question["body"]]
    wait_until(lambda: len(tokens()) == 2, "calls of each connection, with a token of its own", RUN_S)
    runs.platform.emulator.limits(rate_limit=100_000, window=60)
    state, states = runs.ended(run)
    assert state == "success"
    assert states["sync.apply"] == ["success"] * 2
    assert states["announce"] == "success"
    assert runs.members(segment) == runs.known("segment_ledger_approved", segment) == set(PEOPLE)
    assert updates() == 300
    report = runs.report(run)
    assert (report["calls"], report["conn_id"]) == (300, "journey_default, journey_second")
    assert report["plan_hash"][:12] in question["body"]
    assert len(tokens()) == 2, "each connection with a token of its own"
    assert not [who for who in PEOPLE if who in runs.xcoms(run)]


def test_a_rejection_sends_nothing_and_skips_what_follows(runs, updates):
    runs.fill("members", SEGMENTS[3], PEOPLE[:5])
    run = runs.start("sync_rejected")
    runs.answer(run, "Reject")
    state, states = runs.ended(run)
    assert state == "success"
    assert states == {
        "sync.plan": "success",
        "sync.approval": "success",
        "sync.apply": ["skipped"],
        "sync.commit": "skipped",
        "after": "skipped",
    }
    assert updates() == 0
    assert runs.report(run)["counts"]["assign"] == 5
    # The next one is approved: the rejected one's lease does not stand in its way.
    run = runs.start("sync_rejected")
    runs.answer(run, "Approve")
    assert runs.ended(run)[0] == "success"
    assert runs.members(SEGMENTS[3]) == runs.known("ledgers/sync_rejected", SEGMENTS[3]) == set(PEOPLE[:5])


def test_who_marks_the_question_as_done_has_not_approved_the_plan(runs, updates):
    runs.fill("members", SEGMENTS[9], PEOPLE[:5])
    run = runs.start("sync_marked")
    where = f"{runs.path(run)}/taskInstances/sync.approval"
    runs.asked(run)
    runs.airflow.request("PATCH", where, {"new_state": "success"})
    state, states = runs.ended(run)
    assert (state, states["sync.apply"], states["sync.commit"]) == ("failed", ["failed"], "failed")
    assert updates() == 0


def test_a_dry_run_ends_with_the_plan(runs, updates):
    run = runs.start("sync_dry")
    state, states = runs.ended(run)
    assert state == "success"
    assert states.pop("row") == ["success"] * 5, "its audience is the rows that these tasks return"
    assert states.pop("sync.plan") == "success"
    assert {json.dumps(each) for each in states.values()} <= {'"skipped"', '["skipped"]'}
    assert updates() == 0
    assert runs.report(run)["counts"]["assign"] == 5


def test_a_share_that_fails_leaves_the_run_failed_and_the_ledger_true(runs):
    runs.fill("members", SEGMENTS[5], PEOPLE)
    # So few calls that the work lasts until the broken connection has had a share of it.
    runs.platform.emulator.limits(rate_limit=20, window=4)
    run = runs.start("sync_half")
    wait_until(lambda: "failed" in runs.states(run).get("sync.apply", ()), "the share that fails", RUN_S)
    runs.platform.emulator.limits(rate_limit=100_000, window=60)
    state, states = runs.ended(run)
    assert state == "failed"
    assert sorted(states["sync.apply"]) == ["failed", "success"]
    assert (states["sync.commit"], states["after"]) == ("failed", "upstream_failed")
    # The other connection took its share over, but for what it had claimed.
    members = runs.members(SEGMENTS[5])
    assert members == runs.known("ledgers/sync_half", SEGMENTS[5])
    assert len(members) >= 200
    assert runs.report(run)["counts"]["done"] == len(members)


def test_a_plan_that_fails_fails_everything(runs, updates):
    run = runs.start("sync_empty")
    state, states = runs.ended(run)
    assert state == "failed"
    assert (states["sync.plan"], states["sync.commit"], states["after"]) == (
        "failed",
        "failed",
        "upstream_failed",
    )
    assert updates() == 0


def test_what_is_applied_is_what_was_approved_and_not_a_later_plan(runs, updates):
    segment = SEGMENTS[7]
    runs.fill("members", segment, PEOPLE[:5])
    run = runs.start("sync_changed")

    def another_plan():
        runs.fill("members", segment, PEOPLE[:50])
        runs.clear(run, "sync.plan")
        wait_until(lambda: runs.tries(run, "sync.plan") == (2, "success"), "the second plan", RUN_S)

    runs.answer(run, "Approve", before=another_plan)
    state, states = runs.ended(run)
    assert state == "failed"
    assert states["sync.apply"] == ["failed"]
    assert updates() == 0


def test_too_many_rejects_fail_the_commit_when_all_is_recorded(runs):
    segment = SEGMENTS[8]
    runs.fill("members", segment, [*PEOPLE[:5], "nobody"])
    run = runs.start("sync_refused")
    state, states = runs.ended(run)
    assert (state, states["sync.apply"], states["sync.commit"]) == ("failed", ["success"], "failed")
    assert runs.members(segment) == runs.known("ledgers/sync_refused", segment) == set(PEOPLE[:5])
    assert runs.report(run)["counts"]["rejected"] == 1
