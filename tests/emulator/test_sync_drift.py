"""Verification: what is read back, what counts as drift, what is put right."""

import asyncio

import duckdb
import pytest

from airflow_provider_journey.api.async_client import JourneyAsyncClient
from airflow_provider_journey.api.credentials import TokenStore
from airflow_provider_journey.api.errors import PermissionDeniedError
from airflow_provider_journey.api.exchange import Exchange
from airflow_provider_journey.api.pacing import Governor
from airflow_provider_journey.segments.drift import Verification
from tests.emulator.asking import Asker
from tests.emulator.syncing import Sync, contacts, segments

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


def test_what_cannot_be_read_is_counted_and_what_may_not_be_read_ends_it(synced):
    both = segments(synced.emulator, 2)
    synced.emulator.script(*({"fault": "503", "operation": name, "times": 3} for name in READS))
    assert verify(synced, both) == {"verified": 47, "unverified": 3, "drifted": 0, "repaired": 0}
    synced.emulator.clear_script()
    synced.emulator.script(*({"fault": "403", "operation": name} for name in READS))
    with pytest.raises(PermissionDeniedError):
        verify(synced, both)


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
