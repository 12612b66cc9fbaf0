"""Apply, judged by what the emulator was asked, who is in its segments, and what the ledger says."""

import asyncio
import threading

import duckdb
import pytest

from airflow_provider_journey.segments.allotment import Budget, Share
from airflow_provider_journey.segments.apply import Apply
from airflow_provider_journey.segments.errors import LeaseError, LedgerMovedError, PlanMismatchError
from airflow_provider_journey.segments.lease import Lease
from tests.emulator.syncing import UPDATES, Sync, agree, asked, contacts, pairs, rows, segments

MISSING = [f"00000000-0000-4000-8000-{number:012d}" for number in range(100)]


@pytest.fixture
def sync(journey_emulator, tmp_path, surface):
    return Sync(journey_emulator, tmp_path / "ledger", segments_api=surface)


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


@pytest.mark.parametrize(
    ("refusals", "accepted"),
    [
        # The first call, and its first change alone. Another contact's are apart once more, to see; then not.
        (2, 1 + 2 + 18),
        # Where all of a contact's changes are refused it is for its own sake.
        (3, 19),
    ],
)
def test_segments_that_were_refused_for_one_contact_alone_go_together_again(sync, refusals, accepted):
    one, two = segments(sync.emulator, 2)
    plan = sync.plan({one: contacts(20), two: contacts(20)})
    for name in UPDATES:
        sync.emulator.script({"fault": "400", "operation": name, "times": refusals})
    sync.apply(plan, concurrency=1)
    committed = sync.commit(plan)
    assert (committed.done, committed.rejected) == (41 - refusals, refusals - 1)
    assert sync.updates() == {"400": refusals, "2xx": accepted}


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
