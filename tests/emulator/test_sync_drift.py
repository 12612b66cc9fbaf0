"""Verification: what is read back, what counts as drift, what is put right."""

import asyncio
from datetime import timedelta

import duckdb
import pytest

from airflow_provider_journey.api.async_client import JourneyAsyncClient
from airflow_provider_journey.api.credentials import TokenStore
from airflow_provider_journey.api.errors import PermissionDeniedError, ServerError
from airflow_provider_journey.api.exchange import Exchange
from airflow_provider_journey.api.pacing import Governor
from airflow_provider_journey.segments.allotment import Budget
from airflow_provider_journey.segments.drift import Verification
from airflow_provider_journey.segments.errors import LeaseError
from airflow_provider_journey.segments.lease import Lease
from tests.emulator.asking import Asker
from tests.emulator.syncing import UPDATES, Sync, contacts, segments

READS = ("getJourneyExternalcontactSegments", "getExternalcontactsContactJourneySegments")


@pytest.fixture(params=["journey", "externalcontacts"])
def synced(request, journey_emulator, tmp_path):
    """A ledger with fifty contacts in two segments, one of which was taken away from ten of them."""
    sync = Sync(journey_emulator, tmp_path, segments_api=request.param, max_retries=0)
    one, two = segments(journey_emulator, 2)
    for night, people in (("one", contacts(50)), ("two", contacts(50)[10:])):
        sync.plan_made = sync.plan({one: people, two: contacts(50)}, night)
        sync.apply(sync.plan_made)
        sync.commit(sync.plan_made)
    journey_emulator.reset_calls()
    return sync


def verify(sync, segment_ids, fraction=1.0, **options):
    client = JourneyAsyncClient(Exchange(sync.settings, sync.clock, TokenStore(), Governor()))
    verification = Verification(client, sync.ledger, sync.plan_made.run, segment_ids, fraction, **options)

    async def whole():
        try:
            return await verification.run(sync.lines.append)
        finally:
            await client.aclose()

    return asyncio.run(whole()).to_dict()


def table(sync):
    file = f"{sync.path.removeprefix('file://')}/{sync.plan_made.run.file('drift.parquet')}"
    return duckdb.sql(
        f"SELECT external_contact_id, segment_id, expected, found, repair FROM '{file}'"
    ).fetchall()


def reads(sync):
    return sum(sum(sync.emulator.calls().get(name, {}).values()) for name in READS)


def test_what_agrees_is_no_drift(synced):
    both = segments(synced.emulator, 2)
    assert verify(synced, both) == {"verified": 50, "unverified": 0, "drifted": 0, "repaired": 0}
    assert reads(synced) == 50
    assert table(synced) == []


def test_what_others_changed_is_found_and_put_right(synced):
    one, two, other = segments(synced.emulator, 3)
    people = contacts(50)
    asker = Asker(synced.emulator)
    asker.assign(people[0], one)
    asker.assign(people[20], one, two, state="Unassigned")
    # Nothing that the ledger has ever said anything about.
    asker.assign(people[30], other)
    expected = [
        (people[0], one, "unassigned", "assigned"),
        (people[20], one, "assigned", "unassigned"),
        (people[20], two, "assigned", "unassigned"),
    ]
    assert verify(synced, [one, two]) == {"verified": 50, "unverified": 0, "drifted": 3, "repaired": 0}
    assert table(synced) == sorted((*row, None) for row in expected)
    assert verify(synced, [two])["drifted"] == 1
    repaired = verify(synced, [one, two], repair=True)
    assert repaired == {"verified": 50, "unverified": 0, "drifted": 3, "repaired": 3}
    assert table(synced) == sorted((*row, "done") for row in expected)
    assert synced.held([one, two]) == synced.known()
    assert verify(synced, [one, two])["drifted"] == 0


def test_a_contact_that_is_gone_is_drift_that_nothing_puts_right(synced):
    one, two = segments(synced.emulator, 2)
    synced.emulator.script(*({"fault": "404", "operation": name} for name in READS))
    found = verify(synced, [one, two], repair=True, concurrency=1)
    assert (found["verified"], found["repaired"]) == (50, 0)
    assert {(row[3], row[4]) for row in table(synced)} == {("contact not found", None)}
    assert len({row[0] for row in table(synced)}) == 1


def test_a_sample_is_a_sample_and_another_one_each_run(synced):
    both = segments(synced.emulator, 2)
    found = verify(synced, both, 0.5)
    assert 10 <= found["verified"] <= 40
    assert reads(synced) == found["verified"]
    asked = {request["path"] for name in READS for request in synced.emulator.requests(name)}
    synced.emulator.reset_calls()
    synced.plan_made = synced.plan({both[0]: contacts(50)[10:], both[1]: contacts(50)}, "three")
    verify(synced, both, 0.5)
    assert {request["path"] for name in READS for request in synced.emulator.requests(name)} != asked


def strike(sync, operations, fault, **how):
    sync.emulator.script(*({"fault": fault, "operation": name, **how} for name in operations))


@pytest.mark.parametrize("fault", ["503", "500", "reset-before"])
def test_what_cannot_be_read_is_counted_and_keeps_nobody_else_from_it(synced, fault):
    one, two = segments(synced.emulator, 2)
    for contact in contacts(50):
        Asker(synced.emulator).assign(contact, two, state="Unassigned")
    strike(synced, READS, fault, times=3)
    assert verify(synced, [one, two]) == {"verified": 47, "unverified": 3, "drifted": 47, "repaired": 0}
    assert len(table(synced)) == 47


def test_what_may_not_be_read_ends_it_and_what_was_found_stays(synced):
    one, two = segments(synced.emulator, 2)
    for contact in contacts(50):
        Asker(synced.emulator).assign(contact, two, state="Unassigned")
    strike(synced, READS, "403", after=20)
    with pytest.raises(PermissionDeniedError):
        verify(synced, [one, two], concurrency=1)
    assert reads(synced) == 21
    assert len(table(synced)) == 20


@pytest.mark.parametrize(("fault", "code"), [("503", "service.unavailable"), ("400", "bad.request")])
def test_what_cannot_be_put_right_says_why_and_the_rest_is(synced, fault, code):
    one, two = segments(synced.emulator, 2)
    for contact in contacts(50)[20:25]:
        Asker(synced.emulator).assign(contact, two, state="Unassigned")
    strike(synced, UPDATES, fault)
    assert verify(synced, [one, two], repair=True, concurrency=1)["repaired"] == 4
    assert sorted(row[4] for row in table(synced)) == sorted([code, *["done"] * 4])


def test_what_may_not_be_put_right_ends_it_and_what_was_found_stays(synced):
    one, two = segments(synced.emulator, 2)
    for contact in contacts(50)[20:25]:
        Asker(synced.emulator).assign(contact, two, state="Unassigned")
    strike(synced, UPDATES, "403", after=1)
    with pytest.raises(PermissionDeniedError):
        verify(synced, [one, two], repair=True, concurrency=1)
    assert sorted(row[4] for row in table(synced)) == ["done", "missing.any.permissions"]


def test_an_outage_ends_it_instead_of_being_asked_by_everybody(journey_emulator, tmp_path):
    sync = Sync(journey_emulator, tmp_path, max_retries=0)
    [name] = segments(journey_emulator, 1)
    sync.plan_made = sync.plan({name: contacts(90)})
    sync.apply(sync.plan_made)
    sync.commit(sync.plan_made)
    sync.emulator.faults(**{"503": 1.0})
    with pytest.raises(ServerError):
        verify(sync, [name], concurrency=5)
    assert 50 <= reads(sync) < 60


def test_it_keeps_to_what_a_budget_has_left(synced):
    both = segments(synced.emulator, 2)
    found = verify(synced, both, budget=Budget(max_calls=10))
    assert found == {"verified": 10, "unverified": 40, "drifted": 0, "repaired": 0}
    assert reads(synced) == 10
    assert "max_calls=10 has ended it: 40 contacts" in synced.lines[-1]
    assert verify(synced, both, budget=Budget(max_duration=0))["verified"] == 0
    assert reads(synced) == 10


def test_it_tells_how_far_it_is_and_keeps_the_lease(start_journey_emulator, tmp_path):
    emulator = start_journey_emulator(latency_ms=20)
    sync = Sync(emulator, tmp_path)
    [name] = segments(emulator, 1)
    sync.plan_made = sync.plan({name: contacts(100)})
    sync.apply(sync.plan_made)
    sync.commit(sync.plan_made)
    lease = Lease(sync.ledger.store, "one", duration=timedelta(seconds=350), clock=sync.clock)
    lease.acquire()
    ends = sync.clock.time() + 350
    sync.lines.clear()
    verify(sync, [name], concurrency=1, clock=sync.clock, lease=lease)
    assert len(sync.lines) >= 10
    for words in ("of 100 contacts read back", "calls/s", "time left about", "drifted 0"):
        assert words in sync.lines[len(sync.lines) // 2]
    assert sync.clock.time() > ends
    with pytest.raises(LeaseError):
        Lease(sync.ledger.store, "two", clock=sync.clock).acquire()
    lease.release()
    Lease(sync.ledger.store, "two", clock=sync.clock).acquire()
    with pytest.raises(LeaseError, match="two holds it"):
        verify(sync, [name], concurrency=1, clock=sync.clock, lease=lease)


def test_an_empty_ledger_has_no_drift(journey_emulator, tmp_path):
    sync = Sync(journey_emulator, tmp_path)
    [name] = segments(journey_emulator, 1)
    sync.plan_made = sync.plan({name: contacts(3)})
    assert verify(sync, [name])["verified"] == 0
    assert table(sync) == []


def test_what_a_merged_contact_lost_is_not_taken_from_the_one_that_keeps_it(journey_emulator, tmp_path):
    sync = Sync(journey_emulator, tmp_path, segments_api="externalcontacts", max_retries=0)
    [one] = segments(journey_emulator, 1)
    merged, head = contacts(2)
    for run_id, people in (("one", [merged, head]), ("two", [head])):
        sync.plan_made = sync.plan({one: people}, run_id)
        sync.apply(sync.plan_made)
        sync.commit(sync.plan_made)
        if run_id == "one":
            sync.emulator.merge(merged, head)
    assert verify(sync, [one], repair=True) == {"verified": 2, "unverified": 0, "drifted": 0, "repaired": 0}
    assert head in sync.emulator.members(one)
