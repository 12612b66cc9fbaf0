"""Apply, judged by what the emulator was asked, who is in its segments, and what the ledger says."""

import asyncio
import threading

import duckdb
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
from airflow_provider_journey.segments.apply import Apply
from airflow_provider_journey.segments.errors import LeaseError, LedgerMovedError, PlanMismatchError
from airflow_provider_journey.segments.lease import Lease
from demo.processes import wait_until
from tests.emulator.syncing import UPDATES, Sync, contacts, pairs, rows, segments

MISSING = [f"00000000-0000-4000-8000-{number:012d}" for number in range(100)]


@pytest.fixture
def sync(journey_emulator, tmp_path, surface):
    return Sync(journey_emulator, tmp_path / "ledger", segments_api=surface)


@pytest.fixture
def impatient(journey_emulator, tmp_path, surface):
    """A connection whose client does not try again by itself."""
    return Sync(journey_emulator, tmp_path / "ledger", segments_api=surface, max_retries=0)


def agree(sync, audience):
    """Whether service, ledger and audience say the same."""
    return sync.held(audience) == sync.known() == pairs(audience)


def asked(sync, count):
    """Wait until the emulator has seen so many updates."""
    wait_until(lambda: sum(sync.updates().values()) >= count, f"{count} updates", 30, every_s=0.005)


def test_the_service_ends_with_the_audience_in_the_fewest_calls(start_journey_emulator, tmp_path, surface):
    emulator = start_journey_emulator(contacts=500)
    sync = Sync(emulator, tmp_path, segments_api=surface)
    names = segments(emulator, 10)
    audience = {name: contacts(300 - 20 * place) for place, name in enumerate(names)}
    plan = sync.plan(audience)
    applied = sync.apply(plan)
    assert sum(sync.updates().values()) == 300, "ten changes of a contact go in one call"
    assert applied.done == applied.total == len(pairs(audience))
    assert sync.commit(plan).done == applied.total
    assert agree(sync, audience)

    emulator.reset_calls()
    # Two contacts change; then nothing does.
    audience |= {names[0]: contacts(302)[2:], names[1]: contacts(280)}
    plan = sync.plan(audience, "two")
    sync.apply(plan)
    sync.commit(plan)
    assert sum(sync.updates().values()) == 4
    assert agree(sync, audience)
    plan = sync.plan(audience, "three")
    sync.apply(plan)
    assert sum(sync.updates().values()) == 4


@pytest.mark.parametrize("mode", ["upsert", "changes"])
def test_the_other_modes_need_the_fewest_calls_too(sync, mode):
    one, two = segments(sync.emulator, 2)
    first = sync.plan({one: contacts(40), two: contacts(20)})
    sync.apply(first)
    sync.commit(first)
    sync.emulator.reset_calls()
    given = [{"external_contact_id": c, "segment_id": s} for c in contacts(60)[30:] for s in (one, two)]
    if mode == "changes":
        given = [
            each | {"state": "Unassigned" if each["segment_id"] == one else "Assigned"} for each in given
        ]
    plan = sync.plan_rows(given, [one, two], mode, "second")
    sync.apply(plan)
    sync.commit(plan)
    # Thirty contacts are named; the first ten of them are in segment one already.
    assert sum(sync.updates().values()) == 30
    expected = {(c, one) for c in contacts(60 if mode == "upsert" else 30)}
    expected |= {(c, two) for c in (*contacts(20), *contacts(60)[30:])}
    assert sync.known() == sync.held({one: (), two: ()}) == expected


def test_every_row_is_accounted_for_when_everything_goes_wrong_at_once(
    start_journey_emulator, tmp_path, surface
):
    emulator = start_journey_emulator(contacts=1000)
    sync = Sync(emulator, tmp_path, segments_api=surface, max_retries=1)
    one, two = segments(emulator, 2)
    people = [*contacts(990), *MISSING[:10]]
    audience = {one: people, two: people[::2]}
    emulator.faults(
        **{
            "503": 0.05,
            "reset-before": 0.02,
            "reset-after": 0.01,
            "429": 0.01,
            "unprocessed": 0.01,
            "non-json": 0.01,
            "500": 0.01,
        }
    )
    given = [
        *rows(audience).rows,
        *({"external_contact_id": who, "segment_id": two} for who in people[:20:2]),
        *({"external_contact_id": who, "segment_id": one} for who in ("", "with a space", None)),
    ]
    plan = sync.plan_rows(given, [one, two], "mirror", "one")
    applied = sync.apply(plan)
    committed = sync.commit(plan)
    figures = plan.summary
    assert len(given) == figures.rows == figures.pairs + figures.invalid + figures.duplicates == 1513
    assert (figures.invalid, figures.duplicates) == (3, 10)
    assert figures.changes == committed.done + committed.rejected + committed.to_do == 1500
    missing = {pair for pair in pairs(audience) if pair[0] in MISSING}
    rejects = {row[:2] for row in sync.table(plan, "rejects")}
    assert rejects == missing
    assert committed.rejected == len(missing)
    assert committed.unknown > 0, "what was answered by 500 is not asked again, and may have been done"
    held, known, unknown = sync.held(audience), sync.known(), sync.known("unknown")
    assert known <= held <= known | unknown
    # Who is missing was refused; where an earlier try may have been carried out, the ledger does not trust it.
    assert len(unknown - missing) == committed.unknown
    assert applied.done == len(known) == committed.done

    emulator.faults()
    audience = {one: people[:900], two: people[1:500:3]}
    again = sync.plan(audience, "two")
    sync.apply(again)
    sync.commit(again)
    assert agree(sync, audience)


def test_one_bad_segment_takes_nobody_with_it(sync):
    good = segments(sync.emulator, 9)
    people = contacts(30)
    audience = dict.fromkeys((*good, "bad"), people)
    plan = sync.plan(audience)
    applied = sync.apply(plan, concurrency=1)
    committed = sync.commit(plan)
    assert (applied.done, applied.rejected) == (committed.done, committed.rejected) == (270, 30)
    assert sync.known() == {(c, s) for c in people for s in good} == sync.held(dict.fromkeys(good))
    [reject, *_] = sync.table(plan, "rejects")
    assert (reject[1], reject[2], reject[3], reject[4]) == ("bad", "assign", 400, "invalid.value")
    # The first is refused as a whole, and then tried change by change. The others' bad one goes apart.
    assert sync.updates() == {"400": 1 + 30, "2xx": 9 + 29}


def test_a_segment_that_was_refused_for_one_contact_alone_goes_with_the_others_again(sync):
    one, two = segments(sync.emulator, 2)
    plan = sync.plan({one: contacts(20), two: contacts(20)})
    # The first call, and its first change alone.
    for name in UPDATES:
        sync.emulator.script({"fault": "400", "operation": name, "times": 2})
    sync.apply(plan, concurrency=1)
    committed = sync.commit(plan)
    assert (committed.done, committed.rejected) == (39, 1)
    # One contact's changes were apart once more, to see; then all together.
    assert sync.updates() == {"400": 2, "2xx": 1 + 2 + 18}


def test_segments_are_not_sent_apart_because_of_a_contact_for_which_all_were_refused(sync):
    one, two = segments(sync.emulator, 2)
    plan = sync.plan({one: contacts(20), two: contacts(20)})
    for name in UPDATES:
        sync.emulator.script({"fault": "400", "operation": name, "times": 3})
    sync.apply(plan, concurrency=1)
    committed = sync.commit(plan)
    assert (committed.done, committed.rejected) == (38, 2)
    assert sync.updates() == {"400": 3, "2xx": 19}


def test_a_token_that_is_revoked_in_mid_run_loses_nothing(sync):
    audience = {segments(sync.emulator, 1)[0]: contacts(100)}
    plan = sync.plan(audience)
    task = sync.task(plan)

    other = threading.Thread(target=lambda: (asked(sync, 20), sync.emulator.revoke_tokens()))
    other.start()
    applied = asyncio.run(sync.carry_out(task))
    other.join()
    assert applied.done == 100
    assert sync.emulator.calls()["token"] == {"200": 2}
    sync.commit(plan)
    assert agree(sync, audience)


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


def test_time_is_limited(start_journey_emulator, tmp_path, surface):
    sync = Sync(start_journey_emulator(latency_ms=20), tmp_path, segments_api=surface)
    audience = {segments(sync.emulator, 1)[0]: contacts(100)}
    plan = sync.plan(audience)
    applied = sync.apply(plan, budget=Budget(max_duration=0.2), concurrency=2, clock=SystemClock())
    assert applied.stopped == "max_duration=0.2 s"
    assert 2 <= applied.done <= 24
    assert sync.commit(plan).done == applied.done == sync.updates()["2xx"]


def test_a_share_of_a_budget_is_a_whole_number_and_none_is_lost():
    shares = [Budget(10, 5.0).share(Share(number, 3)) for number in range(3)]
    assert [each.max_calls for each in shares] == [4, 3, 3]
    assert {each.max_duration for each in shares} == {5.0}
    assert Budget().share(Share(1, 3)).max_calls is None


def test_stopped_in_mid_run_it_goes_on_behind_the_journal(start_journey_emulator, tmp_path, surface):
    sync = Sync(start_journey_emulator(latency_ms=5), tmp_path, segments_api=surface)
    audience = {segments(sync.emulator, 1)[0]: contacts(100)}
    plan = sync.plan(audience)
    for seen in (10, 30, 50, 70):
        task = sync.task(plan, concurrency=4, clock=SystemClock())
        stopper = threading.Thread(
            target=lambda seen=seen, task=task: (asked(sync, seen), task.stop("a test"))
        )
        stopper.start()
        assert asyncio.run(sync.carry_out(task)).stopped == "a test"
        stopper.join()
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


def test_another_plan_than_the_approved_one_is_not_carried_out(sync):
    [name] = segments(sync.emulator, 1)
    approved = sync.plan({name: contacts(3)}, "one")
    other = sync.plan({name: contacts(5)}, "one")
    assert other.run == approved.run, "planned again before anything was sent"
    with pytest.raises(PlanMismatchError):
        sync.apply(approved)
    assert not sync.updates()
    assert not sync.ledger.unfolded({})


def test_a_plan_that_is_not_there_is_said_to_be_missing(sync):
    plan = sync.plan({segments(sync.emulator, 1)[0]: contacts(3)})
    sync.ledger.store.delete(plan.run.summary)
    with pytest.raises(PlanMismatchError, match="no plan"):
        sync.apply(plan)


def test_a_ledger_that_moved_before_apply_stops_it_and_one_that_moves_later_gets_both(sync):
    one, two = segments(sync.emulator, 2)
    first, second = sync.plan({one: contacts(5)}, "first"), sync.plan({two: contacts(5)}, "second")
    late = sync.plan({one: contacts(9)}, "late")
    sync.apply(second, budget=Budget(max_calls=2))
    sync.apply(first)
    sync.commit(first)
    with pytest.raises(LedgerMovedError):
        sync.apply(late)
    assert sum(sync.updates().values()) == 2 + 5
    # The second had begun before the ledger moved: it goes on, and both runs' outcomes are kept.
    sync.apply(second)
    sync.commit(second)
    assert sync.known() == {(c, s) for c in contacts(5) for s in (one, two)}
    assert sum(sync.updates().values()) == 10


def test_another_runs_lease_keeps_everybody_else_out(sync):
    plan = sync.plan({segments(sync.emulator, 1)[0]: contacts(3)})
    Lease(sync.ledger.store, "another").acquire()
    with pytest.raises(LeaseError, match="another"):
        sync.apply(plan, lease=Lease(sync.ledger.store, "one"))
    assert not sync.updates()


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


def test_a_reject_tells_how_often_it_was_sent(sync):
    [name] = segments(sync.emulator, 1)
    plan = sync.plan({name: MISSING[:2]})
    for operation in UPDATES:
        sync.emulator.script({"fault": "503", "operation": operation, "times": 2})
    sync.apply(plan, concurrency=1)
    sync.commit(plan)
    folder = sync.path.removeprefix("file://")
    sync.emulator.clear_script()
    file = f"{folder}/{plan.run.file('rejects')}.parquet"
    found = duckdb.sql(f"SELECT attempts FROM '{file}' ORDER BY attempts").fetchall()
    assert found == [(1,), (3,)]


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


def test_what_may_pass_is_tried_again_at_the_end(impatient):
    sync = impatient
    audience = {segments(sync.emulator, 1)[0]: contacts(20)}
    plan = sync.plan(audience)
    sync.emulator.script(*[{"fault": "503", "after": 3}, "reset-after", "reset-before", "502"], "503")
    applied = sync.apply(plan, concurrency=1)
    assert applied.done == 20
    assert applied.requests == 25
    assert applied.outcomes == {"done": 20, "unknown": 5}
    assert sync.commit(plan).to_do == 0
    assert agree(sync, audience)


def test_passes_are_bounded_and_the_rest_is_left_to_the_next_run(start_journey_emulator, tmp_path):
    emulator = start_journey_emulator()
    sync = Sync(emulator, tmp_path, segments_api="externalcontacts")
    names = segments(emulator, 4)
    audience = {name: contacts(5) for name in names}
    plan = sync.plan(audience)
    emulator.script({"fault": "unprocessed", "items": 0.25, "times": 999})
    applied = sync.apply(plan)
    # Four changes, one left undone; that one alone is left undone again, three times.
    assert (applied.done, applied.requests) == (15, 20)
    emulator.clear_script()
    committed = sync.commit(plan)
    assert (committed.done, committed.unprocessed, committed.to_do) == (15, 5, 5)
    assert sync.known() == sync.held(audience)
    plan = sync.plan(audience, "two")
    assert plan.summary.changes == 5
    sync.apply(plan)
    sync.commit(plan)
    assert agree(sync, audience)


def test_a_doubt_is_not_forgotten_when_the_last_try_was_answered(start_journey_emulator, tmp_path, surface):
    emulator = start_journey_emulator()
    sync = Sync(emulator, tmp_path, max_retries=1, segments_api=surface)
    audience = {segments(emulator, 1)[0]: contacts(1)}
    plan = sync.plan(audience)
    # Carried out without an answer; refused after that, so often that the run gives up.
    emulator.script("reset-after", *["429"] * 7)
    sync.apply(plan)
    assert sync.held(audience) == pairs(audience)
    assert sync.commit(plan).unknown == 1
    assert sync.known("unknown") == pairs(audience)
    nobody = sync.plan(dict.fromkeys(audience, ()), "two")
    assert nobody.summary.unassign == 1


def test_a_500_is_not_asked_again(impatient):
    sync = impatient
    plan = sync.plan({segments(sync.emulator, 1)[0]: contacts(5)})
    sync.emulator.script({"fault": "500", "times": 5})
    applied = sync.apply(plan)
    assert applied.requests == 5
    assert sync.commit(plan).unknown == 5


def test_several_tasks_share_a_plan_and_take_over_from_each_other(start_journey_emulator, tmp_path, surface):
    emulator = start_journey_emulator(contacts=1000)
    sync = Sync(emulator, tmp_path, segments_api=surface)
    audience = {segments(emulator, 1)[0]: contacts(1000)}
    plan = sync.plan(audience)
    tasks = [(sync.task(plan, share=Share(number, 3)), sync.client) for number in range(3)]

    async def together():
        done = await asyncio.gather(*(task.run() for task, _ in tasks))
        for _, client in tasks:
            await client.aclose()
        return done

    applied = asyncio.run(together())
    assert sum(each.outcomes["done"] for each in applied) == 1000
    assert sync.updates() == {"2xx": 1000}
    sync.commit(plan)
    assert agree(sync, audience)


def test_a_task_alone_does_the_share_of_one_that_never_came(start_journey_emulator, tmp_path, surface):
    emulator = start_journey_emulator(contacts=1000)
    sync = Sync(emulator, tmp_path, segments_api=surface)
    audience = {segments(emulator, 1)[0]: contacts(1000)}
    plan = sync.plan(audience)
    assert sync.apply(plan, share=Share(1, 2)).done == 1000


def test_the_log_says_how_far_it_is_and_names_few(start_journey_emulator, tmp_path, surface):
    emulator = start_journey_emulator(latency_ms=20)
    sync = Sync(emulator, tmp_path, segments_api=surface)
    people = [*contacts(60), *MISSING[:40]]
    plan = sync.plan({segments(emulator, 1)[0]: people})
    sync.apply(plan, concurrency=1)
    progress = [line for line in sync.lines if "changes done" in line]
    assert len(progress) >= 3
    for words in (
        "of 100 changes done",
        "applied",
        "rejected",
        "calls/s",
        "budget left in this window",
        "time left",
    ):
        assert words in progress[len(progress) // 2]
    named = [name for name in people for line in sync.lines if name in line]
    assert 1 <= len(named) <= 5
    assert progress[-1].startswith("100 of 100 changes done; applied 60; rejected 40")


def test_less_than_one_at_a_time_is_refused(sync):
    plan = sync.plan({segments(sync.emulator, 1)[0]: contacts(1)})
    with pytest.raises(ValueError, match="concurrency"):
        Apply(None, sync.ledger, plan.run, plan.summary.plan_hash, concurrency=0)


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
    stopper = threading.Timer(1, lambda: task.stop("a test"))
    stopper.start()
    asyncio.run(sync.carry_out(task))
    stopper.join()
    committed = sync.commit(plan)
    assert (committed.unknown, committed.failed) == (1, 1)
    assert len(sync.held(plan.summary.segment_ids)) == 1
