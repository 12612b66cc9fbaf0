"""How an apply ends before its work is done, and what is known then of what it had in hand."""

import asyncio
import threading

import pytest

from airflow_provider_journey.api.clock import SystemClock
from airflow_provider_journey.api.errors import (
    AuthenticationError,
    PermissionDeniedError,
    RateLimitedError,
    ServerError,
    UnsupportedOperationError,
)
from airflow_provider_journey.segments.allotment import Budget, Share
from tests.emulator.syncing import UPDATES, Sync, agree, asked, contacts, segments

MISSING = [f"00000000-0000-4000-8000-{number:012d}" for number in range(100)]


@pytest.fixture
def sync(journey_emulator, tmp_path, surface):
    return Sync(journey_emulator, tmp_path / "ledger", segments_api=surface)


@pytest.mark.parametrize(
    ("fault", "error"),
    [("403", PermissionDeniedError), ("501", UnsupportedOperationError), ("401", AuthenticationError)],
)
def test_what_every_call_would_be_answered_ends_it_at_once(impatient, fault, error):
    sync = impatient
    audience = {segments(sync.emulator, 1)[0]: contacts(100)}
    plan = sync.plan(audience)
    sync.emulator.script(
        *({"fault": fault, "operation": name, "after": 30, "times": 999} for name in UPDATES)
    )
    with pytest.raises(error):
        sync.apply(plan, concurrency=4)
    refused = sync.updates()[fault]
    assert 1 <= refused <= (8 if fault == "401" else 4), "only what was in flight"
    sync.emulator.clear_script()
    committed = sync.commit(plan)
    # A call that was refused once is held back when another has been refused with a new token as well.
    assert committed.failed == refused if fault != "401" else 1 <= committed.failed <= refused // 2
    assert committed.to_dict() | {"version": 0} == {
        "version": 0,
        "done": 30,
        "rejected": 0,
        "unknown": 0,
        "unprocessed": 0,
        "failed": committed.failed,
        "unsent": 70 - committed.failed,
        "to_do": 70,
    }
    assert sync.held(audience) == sync.known()
    applied = sync.apply(plan)
    assert applied.done == 100
    assert sync.updates()["2xx"] == 100, "nothing that was done is sent again"


def test_calls_are_limited_and_the_next_run_goes_on(sync):
    audience = {segments(sync.emulator, 1)[0]: contacts(100)}
    plan = sync.plan(audience)
    applied = sync.apply(plan, budget=Budget(max_calls=33))
    assert applied.stopped == "max_calls=33"
    assert sync.updates() == {"2xx": 33}
    committed = sync.commit(plan)
    assert (committed.done, committed.unsent, committed.to_do) == (33, 67, 67)
    assert sync.held(audience) == sync.known()
    assert "67 changes are left" in sync.lines[-1]
    plan = sync.plan(audience, "two")
    assert plan.summary.calls == 67
    assert sync.apply(plan).stopped is None
    sync.commit(plan)
    assert agree(sync, audience)


class LateClock(SystemClock):
    """An hour passes at once when the service has seen some updates, however slow or fast the machine is."""

    def __init__(self, sync, updates):
        self._sync = sync
        self._updates = updates
        self._later = 0.0
        self.seen = 0

    def monotonic(self):
        return super().monotonic() + self._later

    async def sleep_async(self, seconds):
        await (asyncio.to_thread(self._pass, seconds) if seconds > 60 else super().sleep_async(seconds))

    def _pass(self, seconds):
        asked(self._sync, self._updates)
        self._later += seconds
        # What is begun from now on is begun late.
        self.seen = self._sync.updates().total()


def test_time_is_limited(start_journey_emulator, tmp_path, surface):
    sync = Sync(start_journey_emulator(latency_ms=50), tmp_path, segments_api=surface)
    audience = {segments(sync.emulator, 1)[0]: contacts(100)}
    plan = sync.plan(audience)
    clock = LateClock(sync, updates=10)
    applied = sync.apply(plan, budget=Budget(max_duration=3600), concurrency=2, clock=clock)
    assert applied.stopped == "max_duration=3600 s"
    assert 10 <= applied.done <= clock.seen + 2 < 100, "only what was on its way"
    assert sync.commit(plan).done == applied.done == sync.updates()["2xx"]


def test_a_share_of_a_budget_is_a_whole_number_and_none_is_lost():
    shares = [Budget(10, 5.0).share(Share(number, 3)) for number in range(3)]
    assert [each.max_calls for each in shares] == [4, 3, 3]
    assert {each.max_duration for each in shares} == {5.0}
    assert Budget().share(Share(1, 3)).max_calls is None


def carried_out_until(sync, task, updates):
    """Carry out a task, and stop it when the service has seen some updates."""
    stopper = threading.Thread(target=lambda: (asked(sync, updates), task.stop("a test")))
    stopper.start()
    applied = asyncio.run(sync.carry_out(task))
    stopper.join()
    return applied


def test_stopped_in_mid_run_it_goes_on_behind_the_journal(start_journey_emulator, tmp_path, surface):
    sync = Sync(start_journey_emulator(latency_ms=5), tmp_path, segments_api=surface)
    audience = {segments(sync.emulator, 1)[0]: contacts(100)}
    plan = sync.plan(audience)
    for seen in (10, 30, 50, 70):
        task = sync.task(plan, concurrency=4, clock=SystemClock())
        assert carried_out_until(sync, task, seen).stopped == "a test"
    applied = sync.apply(plan)
    assert applied.stopped is None
    assert applied.done == 100
    assert sync.updates() == {"2xx": 100}, "in flight calls were awaited, and nothing was sent twice"


def test_cancelled_it_still_writes_down_what_is_known(start_journey_emulator, tmp_path, surface):
    sync = Sync(start_journey_emulator(latency_ms=5), tmp_path, segments_api=surface)
    audience = {segments(sync.emulator, 1)[0]: contacts(100)}
    plan = sync.plan(audience)

    async def cancelled():
        task = asyncio.ensure_future(sync.carry_out(sync.task(plan, concurrency=4, clock=SystemClock())))
        await asyncio.to_thread(asked, sync, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    committed = sync.commit(plan)
    assert committed.done > 0
    assert committed.unknown <= 4, "what was in flight"
    assert sync.known() <= sync.held(audience) <= sync.known() | sync.known("unknown")


def test_a_store_that_takes_no_journal_ends_it_and_loses_nothing(start_journey_emulator, tmp_path, surface):
    sync = Sync(start_journey_emulator(contacts=2000), tmp_path, segments_api=surface)
    audience = {segments(sync.emulator, 1)[0]: contacts(2000)}
    plan = sync.plan(audience)
    # A link to nowhere in the place of the outcomes' folder: claims are taken, outcomes are not.
    folder = tmp_path / plan.run.chunks
    folder.parent.mkdir()
    folder.symlink_to(tmp_path / "nowhere")
    with pytest.raises(OSError, match="outcomes"):
        sync.apply(plan)
    confirmed = sync.updates()["2xx"]
    assert 0 < confirmed < 2000
    folder.unlink()
    assert sync.apply(plan).done == 2000
    assert sync.updates()["2xx"] == 2000, "what was confirmed lay on local disk meanwhile"
    sync.commit(plan)
    assert agree(sync, audience)


def test_an_outage_ends_it_instead_of_being_asked_by_everybody(impatient):
    sync = impatient
    plan = sync.plan({segments(sync.emulator, 1)[0]: contacts(100)})
    sync.emulator.faults(**{"503": 1.0})
    with pytest.raises(ServerError):
        sync.apply(plan, concurrency=5)
    assert 50 <= sync.updates()["503"] < 60


def test_a_wait_longer_than_a_task_waits_is_left_to_airflow(impatient):
    sync = impatient
    plan = sync.plan({segments(sync.emulator, 1)[0]: contacts(100)})
    sync.emulator.script({"fault": "429", "retry_after": 3000, "after": 10})
    with pytest.raises(RateLimitedError):
        sync.apply(plan, concurrency=3)
    assert sync.updates()["2xx"] <= 13
    committed = sync.commit(plan)
    assert committed.done == sync.updates()["2xx"]
    assert committed.to_do == 100 - committed.done


@pytest.fixture
def crowded(start_journey_emulator, tmp_path, surface):
    """A window that is nearly used up, so that most of what is in hand waits for the next one."""
    emulator = start_journey_emulator(rate_limit=40, window=8)
    return Sync(emulator, tmp_path, segments_api=surface, max_retries=3)


def test_who_waits_for_a_place_sends_nothing_after_a_refusal_of_everything(crowded):
    sync = crowded
    plan = sync.plan({segments(sync.emulator, 1)[0]: contacts(100)})
    sync.emulator.script(
        *({"fault": "403", "operation": name, "after": 37, "times": 999} for name in UPDATES)
    )
    with pytest.raises(PermissionDeniedError):
        sync.apply(plan, clock=SystemClock())
    refused = sync.updates()["403"]
    assert 1 <= refused <= 4, "only what was on its way"
    committed = sync.commit(plan)
    assert (committed.done, committed.failed, committed.unsent) == (37, refused, 63 - refused)


@pytest.mark.parametrize("how", ["max_duration", "a signal"])
def test_who_waits_for_a_place_sends_nothing_when_time_is_up_and_is_not_in_doubt(crowded, how):
    sync = crowded
    sync.clock = clock = SystemClock()
    plan = sync.plan({segments(sync.emulator, 1)[0]: contacts(100)})
    task = sync.task(plan, clock=clock, budget=Budget(max_duration=4 if how == "max_duration" else None))
    stopper = threading.Timer(4, lambda: task.stop(how) if how == "a signal" else None)
    stopper.start()
    began = clock.monotonic()
    applied = asyncio.run(sync.carry_out(task))
    stopper.join()
    assert applied.stopped.startswith(how)
    assert clock.monotonic() - began < 6
    committed = sync.commit(plan)
    assert applied.requests == committed.done == sync.updates()["2xx"] <= 40
    assert committed.unsent == 100 - committed.done, "what has not left is not in doubt"


def test_what_waits_for_another_try_is_in_doubt_only_if_the_first_may_have_been_carried_out(
    start_journey_emulator, tmp_path, surface
):
    sync = Sync(start_journey_emulator(), tmp_path, segments_api=surface)
    sync.clock = SystemClock()
    plan = sync.plan({segments(sync.emulator, 1)[0]: contacts(2)})
    for name in UPDATES:
        sync.emulator.script(
            {"fault": "reset-after", "operation": name},
            {"fault": "429", "operation": name, "retry_after": 30},
        )
    task = sync.task(plan, clock=sync.clock, concurrency=2)
    carried_out_until(sync, task, 2)
    committed = sync.commit(plan)
    assert (committed.unknown, committed.failed) == (1, 1)
    assert len(sync.held(plan.summary.segment_ids)) == 1
