"""Extracts by asynchronous jobs: the same files as by the query, whatever happens on the way."""

import asyncio
import json
from itertools import pairwise

import pytest

from airflow_provider_journey.aggregates import jobs
from airflow_provider_journey.aggregates.query import AggregateQuery
from airflow_provider_journey.api.errors import ConnectionFailedError, ServerError
from airflow_provider_journey.hooks.journey import JourneyHook
from airflow_provider_journey.operators.aggregate_extract import ExtractOperator
from airflow_provider_journey.triggers.jobs import AggregateJobsTrigger
from tests.emulator.deferring import (
    CANCEL,
    RESULTS,
    STATUS,
    SUBMIT,
    EmulatorClock,
    Task,
    another_process,
    states,
    submitted,
    wait,
)
from tests.emulator.extracting import QUERY, contents, report
from tests.emulator.waiting import again


def test_a_job_gives_the_files_that_the_query_gives(task, whole, lake, journey_emulator):
    journey_emulator.reset_calls()
    blocking = task(deferrable=False, page_size=2)
    assert len(blocking.start()) == 4
    assert contents(lake) == whole
    assert submitted(journey_emulator) == ["2026-03-07T00:00:00Z/2026-03-11T00:00:00Z"]
    calls = {name: sum(found.values()) for name, found in journey_emulator.calls().items() if name != "token"}
    assert calls.pop(RESULTS) > 2
    assert calls == {SUBMIT: 1, STATUS: 1}
    assert report(blocking.context)["calls"] == sum(calls.values()) + sum(
        journey_emulator.calls()[RESULTS].values()
    )
    assert blocking.store.kept == {}


def test_a_deferred_task_is_resumed_with_its_job_s_results(task, whole, lake, journey_emulator, clock):
    journey_emulator.limits(job_seconds=100)
    own = task(poll_interval=30.0)
    trigger = own.start()
    assert isinstance(trigger, AggregateJobsTrigger)
    before = sum(journey_emulator.calls()[STATUS].values())
    event = wait(trigger, clock)
    looks = sum(journey_emulator.calls()[STATUS].values()) - before
    assert looks == 4
    assert len(clock.slept) == looks
    assert all(seconds >= 30.0 for seconds in clock.slept)
    assert len(own.resume(event)) == 4
    assert contents(lake) == whole
    assert len(submitted(journey_emulator)) == 1
    found = {name: sum(by.values()) for name, by in journey_emulator.calls().items()}
    assert report(own.context)["calls"] == sum(found[name] for name in (SUBMIT, STATUS, RESULTS))
    assert own.store.kept == {}


def test_a_job_that_is_done_at_once_is_not_waited_for(task, whole, lake):
    assert len(task().start()) == 4
    assert contents(lake) == whole


def test_a_worker_waits_on_its_clock_and_asks_once_an_interval(
    task, to_files, journey_emulator, clock, monkeypatch
):
    journey_emulator.limits(job_seconds=100)
    monkeypatch.setattr(ExtractOperator, "_clock", clock)
    assert len(task(deferrable=False, poll_interval=30.0).start()) == 4
    assert clock.slept == [30.0] * 4
    assert sum(journey_emulator.calls()[STATUS].values()) == 5


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_wait_that_is_too_long_for_a_client_is_kept_all_the_same(
    task, whole, lake, journey_emulator, clock, monkeypatch, deferrable
):
    journey_emulator.limits(job_seconds=100)
    journey_emulator.script({"fault": "503", "operation": STATUS, "retry_after": 900})
    monkeypatch.setattr(ExtractOperator, "_clock", clock)
    own = task(deferrable=deferrable, poll_interval=30.0)
    found = own.start()
    if deferrable:
        own.resume(wait(found, clock))
    assert clock.slept[0] >= 900
    assert contents(lake) == whole


def test_a_killed_worker_s_next_try_finds_the_job(task, whole, lake, journey_emulator, clock):
    journey_emulator.limits(job_seconds=100)
    own = task()
    own.start()  # killed after it has submitted, and before Airflow knew of the deferral
    event = wait(own.start(), clock)
    own.resume(event)
    assert contents(lake) == whole
    assert len(submitted(journey_emulator)) == 1


def test_a_kill_between_two_submissions_leaves_the_first_to_be_found(task, to_files, journey_emulator, lake):
    # Berlin's clock changes on the second of the three days: it is asked alone.
    query = AggregateQuery(["nJourneySessions"], time_zone="Europe/Berlin", granularity="PT1H")
    options = {"query": query, "interval": "2026-03-28/P3D", "lookback": 0}
    journey_emulator.script({"fault": "reset-before", "operation": SUBMIT, "after": 2})
    own = task(deferrable=False, **options)
    with pytest.raises(ConnectionFailedError, match="broke"):
        own.start()
    found = list(own.store.get("journey_jobs")["submitted"]["jobs"].values())
    assert found == list(journey_emulator.jobs())
    assert len(found) == 2
    own.start()
    assert list(journey_emulator.jobs())[:2] == found
    asked = submitted(journey_emulator)
    assert len(asked) == len(set(asked)) > 2
    by_jobs = contents(lake)
    to_files_again = Task(lambda: to_files(**options))
    to_files_again.start()
    assert contents(lake) == by_jobs


def test_a_cleared_task_submits_anew(task, whole, lake, journey_emulator):
    journey_emulator.limits(job_seconds=100)
    own = task()
    own.start()
    own.max_tries += 1  # what clearing does
    own.start()
    assert states(journey_emulator) == ["CANCELLED", "QUEUED"]


def test_a_task_that_asks_something_else_now_submits_anew(task, to_files, journey_emulator, clock):
    journey_emulator.limits(job_seconds=100)
    own = task()
    event = wait(own.start(), clock)
    own.make = lambda: to_files(
        AggregateQuery(["nJourneySessions"]), use_jobs=True, deferrable=True, lookback=3
    )
    assert isinstance(own.resume(event), AggregateJobsTrigger)
    assert states(journey_emulator) == ["CANCELLED", "QUEUED"]


@pytest.mark.parametrize("state", ["expired", "cancelled"])
@pytest.mark.parametrize("where", [STATUS, RESULTS])
@pytest.mark.parametrize("deferrable", [True, False])
def test_a_job_that_is_gone_is_submitted_anew(
    task, whole, lake, journey_emulator, clock, state, where, deferrable
):
    # While it is waited for, or after the first of its pages was read.
    journey_emulator.script({"fault": f"job-{state}", "operation": where, "after": where == RESULTS})
    own = task(deferrable=deferrable, page_size=2)
    assert len(own.start()) == 4
    assert contents(lake) == whole
    assert states(journey_emulator) == [state.upper(), "FULFILLED"]


def test_results_that_expire_again_are_left_to_airflow_s_next_try(task, whole, lake, journey_emulator):
    journey_emulator.script({"fault": "job-expired", "operation": RESULTS, "times": 2})
    own = task()
    with pytest.raises(ServerError, match="EXPIRED before its results were read"):
        own.start()
    assert not lake.exists()
    assert len(own.start()) == 4
    assert contents(lake) == whole
    assert len(submitted(journey_emulator)) == 3


def test_a_cursor_that_expires_is_begun_anew_with_the_same_job(task, whole, lake, journey_emulator):
    journey_emulator.script({"fault": "cursor-expired", "after": 1})
    assert len(task(page_size=2).start()) == 4
    assert contents(lake) == whole
    assert states(journey_emulator) == ["FULFILLED"]


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_job_that_fails_says_why_and_the_next_try_submits_anew(
    task, whole, lake, journey_emulator, deferrable
):
    journey_emulator.script("job-failed")
    own = task(deferrable=deferrable)
    with pytest.raises(ServerError, match="it ran out of the memory that it is allowed"):
        own.start()
    assert not lake.exists()
    own.start()
    assert contents(lake) == whole
    assert states(journey_emulator) == ["FAILED", "FULFILLED"]


def test_a_window_too_large_becomes_jobs_of_half_of_it(task, whole, lake, journey_emulator, clock):
    journey_emulator.limits(max_buckets=48, job_seconds=100)
    own = task()
    own.resume(wait(own.start(), clock))
    assert contents(lake) == whole
    assert [interval.split("/")[0][:10] for interval in submitted(journey_emulator)] == [
        "2026-03-07",
        "2026-03-09",
    ]


def test_many_small_pieces_make_the_same_files(task, whole, lake, monkeypatch):
    monkeypatch.setattr(jobs, "_PIECE", 1000)
    task(page_size=1).start()
    assert contents(lake) == whole


def test_results_are_held_no_more_than_a_piece_and_a_page_at_a_time(
    conn_id, journey_emulator, tmp_path, monkeypatch
):
    monkeypatch.setattr(jobs, "_PIECE", 3000)
    with JourneyHook(conn_id) as hook:
        job_id = hook.submit_aggregates_job(
            {**QUERY.to_dict(), "interval": "2026-03-01/2026-03-11"}, page_size=1
        )
        largest = max(len(json.dumps(result)) for result in hook.iter_aggregates_job_results(job_id))
        pages = journey_emulator.calls()[RESULTS]["200"]
        journey_emulator.reset_calls()
        sizes, asked = [], []
        for spool in jobs._spooled(hook.client, job_id, tmp_path):
            sizes.append(spool.stat().st_size)
            asked.append(journey_emulator.calls()[RESULTS]["200"])
    assert len(sizes) > 3
    assert max(sizes) < 3000 + largest + 100
    # No page is asked for before the one before it was used up.
    assert all(after - before <= 3 for before, after in pairwise(asked))
    assert asked[0] <= 3 < asked[-1] == pages


def test_a_trigger_that_fails_by_itself_leaves_the_job_for_the_next_try(
    task, whole, lake, journey_emulator, clock
):
    journey_emulator.limits(job_seconds=100)
    own = task()
    own.start()
    with pytest.raises(Exception, match="Trigger failure"):
        own.fail("Trigger failure")
    own.resume(wait(own.start(), clock))
    assert contents(lake) == whole
    assert len(submitted(journey_emulator)) == 1


def test_a_trigger_restarted_goes_on_with_the_same_job(task, whole, lake, journey_emulator, clock):
    journey_emulator.limits(job_seconds=100)
    own = task()
    trigger, running = own.start(), None

    class Stopping(EmulatorClock):
        async def sleep_async(self, seconds):
            if len(self.slept) == 2:
                running.cancel()
                await asyncio.sleep(0)
            self.sleep(seconds)

    async def fired():
        return [event async for event in trigger.run()]

    async def stopped():
        nonlocal running
        another_process()
        trigger.clock = Stopping(journey_emulator)
        running = asyncio.create_task(fired())
        with pytest.raises(asyncio.CancelledError):
            await running
        await trigger.cleanup()

    asyncio.run(stopped())
    assert CANCEL not in journey_emulator.calls()
    own.resume(wait(again(trigger), clock))
    assert contents(lake) == whole
    assert len(submitted(journey_emulator)) == 1


def test_what_a_user_ends_while_it_waits_is_cancelled(task, journey_emulator):
    journey_emulator.limits(job_seconds=100)
    trigger, other = task().start(), task().start()
    asyncio.run(trigger.on_kill())
    assert states(journey_emulator) == ["CANCELLED", "QUEUED"]
    # A service that fails then has its say in the log, and nowhere else.
    journey_emulator.script({"fault": "500", "operation": CANCEL})
    asyncio.run(other.on_kill())


def test_two_tasks_that_wait_for_the_same_query_have_a_job_each(task, whole, lake, journey_emulator, clock):
    journey_emulator.limits(job_seconds=100)
    one, two = task(), task()
    first, second = one.start(), two.start()
    asyncio.run(first.on_kill())
    two.resume(wait(second, clock))
    assert contents(lake) == whole
    assert states(journey_emulator) == ["CANCELLED", "FULFILLED"]


def test_on_kill_cancels_the_job_and_ends_the_wait(task, journey_emulator, clock, monkeypatch):
    journey_emulator.limits(job_seconds=100)
    own = task(deferrable=False)
    operator = own.make()
    own.make = lambda: operator

    def sleep(seconds):
        operator.on_kill()

    clock.sleep = sleep
    monkeypatch.setattr(ExtractOperator, "_clock", clock)
    with pytest.raises(ServerError, match="was ended"):
        own.start()
    assert states(journey_emulator) == ["CANCELLED"]
    operator.on_kill()


def test_a_task_that_waits_for_nothing_has_nothing_to_cancel(to_files, journey_emulator):
    to_files().on_kill()
    assert CANCEL not in journey_emulator.calls()
