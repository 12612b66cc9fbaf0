"""Waiting and watching under a real scheduler and triggerer, judged at the emulator."""

from __future__ import annotations

import math
import time
from urllib.parse import quote

import duckdb
import pendulum
import pytest

from airflow_provider_journey.emulator.targets import PATH as TARGETS_PATH
from airflow_provider_journey.triggers import changes
from demo.processes import wait_until
from tests.emulator.asking import Asker
from tests.scheduling import HABITS, LOOK_S, RUN_S, TARGETS, WATCHED

pytestmark = pytest.mark.xdist_group("scheduler")

LISTING = "getJourneyExternalcontactSegments"
CHANGE = "patchJourneyActiontarget"


@pytest.fixture(scope="module")
def asker(platform):
    # What starts with the scheduler goes first: on SQLite, runs that are started meanwhile may wait for long.
    for dag_id in ("cron", "cron_interval"):
        platform.ended_runs(dag_id, 3)
    return Asker(platform.emulator)


@pytest.fixture
def outsider(platform):
    """A contact in neither of the two segments."""
    members = set().union(*map(platform.emulator.members, HABITS[:2]))
    contacts = {entry["external_contact_id"] for entry in platform.emulator.assignments()}
    return sorted(contacts - members - {WATCHED})[0]


def start(platform, dag_id, run_id, **conf):
    platform.unpause(dag_id)
    body = {"dag_run_id": run_id, "logical_date": None, "conf": conf}
    return platform.airflow.request("POST", f"/dags/{dag_id}/dagRuns", body)


def wait_for_state(platform, dag_id, run_id, state, task_id="wait"):
    path = f"/dags/{dag_id}/dagRuns/{quote(run_id)}/taskInstances/{task_id}"
    wait_until(lambda: platform.airflow.get(path)["state"] == state, f"{dag_id}.{task_id} {state}", RUN_S)


def listings(platform, contact):
    """How often a contact's segments were asked for."""
    return sum(contact in request["path"] for request in platform.emulator.requests(LISTING))


def test_wait_for_a_segment_ends_when_it_is_assigned(platform, asker, outsider):
    start(platform, "journey_wait_for_segment", "one", external_contact_id=outsider)
    wait_for_state(platform, "journey_wait_for_segment", "one", "up_for_reschedule")
    assert outsider not in platform.emulator.members(HABITS[1])
    asker.assign(outsider, HABITS[0])
    platform.ended_runs("journey_wait_for_segment", 1)
    assert outsider in platform.emulator.members(HABITS[1])


def test_waits_and_watches_ask_once_per_interval_and_outlive_their_triggerer(platform, asker, outsider):
    watched = WATCHED
    segment = next(name for name in HABITS if watched not in platform.emulator.members(name))

    def looks(contact, count):
        reached = listings(platform, contact) + count
        wait_until(lambda: listings(platform, contact) >= reached, "a look in the triggerer", RUN_S)

    def watched_runs():
        return platform.airflow.get("/dags/watching/dagRuns")["total_entries"]

    def told(count):
        runs = platform.ended_runs("watching", count)
        return [payload for run in runs for payload in platform.airflow.xcom(run, "return_value")]

    began = time.monotonic()
    start(platform, "wait_deferred", "one", contact=outsider)
    wait_for_state(platform, "wait_deferred", "one", "deferred")
    looks(outsider, 2)
    looks(watched, 2)
    assert watched_runs() == 0
    asker.assign(watched, segment)
    assert told(1) == [{"assigned": [segment], "unassigned": []}]
    looks(watched, math.ceil(changes._SETTLED / LOOK_S) + 1)  # by then it is noted what was told
    platform.airflow.restart("triggerer")
    looks(outsider, 2)
    looks(watched, 2)
    assert watched_runs() == 1
    wait_for_state(platform, "wait_deferred", "one", "deferred")
    # The worker's look is one more.
    assert listings(platform, outsider) <= 1 + math.ceil((time.monotonic() - began) / LOOK_S)
    asker.assign(outsider, HABITS[0])
    asker.assign(watched, segment, state="Unassigned")
    (run,) = platform.ended_runs("wait_deferred", 1)
    assert platform.airflow.xcom(run, "return_value") == [HABITS[0]]
    assert told(2)[1:] == [{"assigned": [], "unassigned": [segment]}]


@pytest.mark.usefixtures("asker")
def test_days_that_an_event_names_are_extracted_and_no_others(platform):
    platform.unpause("journey_on_change")
    (asset,) = platform.airflow.get("/assets", name_pattern="journey_outcome_changes")["assets"]
    days = set()
    for count, ago in enumerate((5, 3), start=1):
        days.add(platform.day(ago))
        payload = {"start": f"{platform.day(ago)}T00:00:00Z", "end": f"{platform.day(ago - 1)}T00:00:00Z"}
        event = {"asset_id": asset["id"], "extra": {"payload": payload}}
        platform.airflow.request("POST", "/assets/events", event)
        platform.ended_runs("journey_on_change", count)
        assert platform.partitions("journey_outcomes").keys() == days


def test_yesterday_is_extracted_when_it_has_sessions(platform, asker):
    platform.unpause("journey_wait_for_data")
    platform.ended_runs("journey_wait_for_data", 1)
    ((day, manifest),) = platform.partitions("journey_sessions").items()
    assert day == platform.day(1)
    file = platform.lake / "journey_sessions" / f"dt={day}" / "part-0.parquet"
    found = duckdb.sql(f"SELECT sum(count)::BIGINT FROM '{file}'").fetchall()
    results = asker.query(manifest["window"], "nJourneySessions")
    assert found == [(results[0]["data"][0]["metrics"][0]["stats"]["count"],)]


def test_service_levels_follow_the_hours_and_are_changed_once(platform, asker):
    def level():
        now = pendulum.now("Europe/Berlin")
        is_open = now.isoweekday() <= 5 and 8 <= now.hour < 18
        return (0.8, 20_000) if is_open else (0.5, 120_000)

    def levels():
        found = [asker.get(f"{TARGETS_PATH}/{name}").json()["serviceLevel"] for name in TARGETS]
        return {(each["percentage"], each["durationMs"]) for each in found}

    for name in TARGETS:
        body = {"serviceLevel": {"percentage": 0.33, "durationMs": 1000}}
        asker.ask("PATCH", f"{TARGETS_PATH}/{name}", json=body)
    before = level()
    platform.unpause("journey_action_targets")
    platform.ended_runs("journey_action_targets", 1)
    assert levels() <= {before, level()}
    sent = platform.emulator.calls()[CHANGE]["200"]
    assert sent == 2 * len(TARGETS)
    start(platform, "journey_action_targets", "again")
    platform.ended_runs("journey_action_targets", 2)
    assert platform.emulator.calls()[CHANGE]["200"] == sent
