"""Merged and vanished contacts in a sync: one contact is one contact, whatever the ledger and the audience call it."""

from __future__ import annotations

import json

import duckdb
import pytest

from airflow_provider_journey.segments.forgetting import forget
from tests.emulator.people import KEY, LOOKUP, email, emails
from tests.emulator.syncing import UPDATES, Sync, contacts, pairs, segments

ANN, BOB, CY = contacts(3)


def changes(sync):
    """What was sent since the last look, as contact and action; what led on to another contact is not counted."""
    sent = [
        (request["path"].split("/")[5], *sorted(json.loads(request["body"])))
        for request in sync.emulator.requests(UPDATES[1])
        if request["status"] == "200"
    ]
    sync.emulator.reset_calls()
    return sorted(sent)


def merged_later(sync, contact, into):
    """Let the service merge a contact, and so much time pass that people are looked up again."""
    sync.emulator.merge(contact, into)
    sync.days_pass(31)
    changes(sync)


def test_identifiers_of_merged_contacts_are_one_contact(sync, segment):
    sync.emulator.merge(ANN, BOB)
    plan = sync.night(emails(0, 1), [segment])
    assert (plan.summary.pairs, plan.summary.duplicates) == (1, 1)
    assert sync.known() == {(BOB, segment)}
    assert sync.emulator.members(segment) == {BOB}
    assert changes(sync) == [(BOB, "assign")]


def test_identifiers_of_one_contact_that_contradict_each_other_are_invalid(sync, segment):
    sync.emulator.merge(ANN, BOB)
    given = [
        {"email": email(0), "state": "Assigned"},
        {"email": email(1), "state": "Unassigned"},
        {"email": email(2), "state": "Assigned"},
        {"phone": "+15550000002", "state": "Unassigned"},
    ]
    plan = sync.night(given, [segment], "one", "changes")
    assert plan.summary.changes == 0
    wrong = "both Assigned and Unassigned"
    assert sync.rows(plan, "invalid", "external_contact_id, reason, times") == sorted(
        [(BOB, wrong, 2), (CY, wrong, 2)]
    )


def test_a_contact_merged_after_it_was_assigned_moves_to_the_one_that_speaks_for_it(sync, segment):
    sync.night(emails(0, 2), [segment])
    merged_later(sync, ANN, BOB)
    plan = sync.night(emails(0, 2), [segment], "two")
    assert plan.summary.merged_contacts == 1
    # Sent to Ann it would be Bob who is taken away.
    assert changes(sync) == [(BOB, "assign")]
    assert sync.known() == {(BOB, segment), (CY, segment)}
    assert BOB in sync.emulator.members(segment)
    assert sync.known("unassigned") == sync.known("unknown") == set()
    again = sync.night(emails(0, 2), [segment], "three")
    assert (again.summary.changes, again.summary.unchanged, again.summary.merged_contacts) == (0, 2, 0)


def test_when_both_were_assigned_nothing_is_sent(sync, segment):
    sync.night(emails(0, 1), [segment])
    merged_later(sync, ANN, BOB)
    plan = sync.night(emails(0, 1), [segment], "two")
    assert changes(sync) == []
    assert (plan.summary.unchanged, plan.summary.duplicates) == (1, 1)
    assert sync.known() == {(BOB, segment)}


def test_who_was_taken_away_by_a_merged_contact_is_assigned_again_when_the_merge_is_heard_of(sync, segment):
    sync.night(emails(0, 1), [segment])
    sync.emulator.merge(ANN, BOB)
    # Ann's answer is kept, and nothing says yet that what is sent to her reaches Bob.
    sync.night(emails(1), [segment], "two")
    sync.days_pass(31)
    changes(sync)
    plan = sync.night(emails(1), [segment], "three")
    assert plan.summary.reasons == {"unknown": 1}
    assert changes(sync) == [(BOB, "assign")]
    assert sync.known() == {(BOB, segment)}
    assert BOB in sync.emulator.members(segment)
    assert sync.night(emails(1), [segment], "four").summary.changes == 0


def test_who_is_named_by_a_merged_contact_is_assigned_again_when_the_merge_is_heard_of(sync, segment):
    sync.night(emails(0, 1), [segment])
    sync.emulator.merge(ANN, BOB)
    sync.night(emails(0), [segment], "two")
    sync.days_pass(31)
    changes(sync)
    sync.night(emails(0), [segment], "three")
    assert changes(sync) == [(BOB, "assign")]
    assert sync.known() == {(BOB, segment)}
    assert BOB in sync.emulator.members(segment)


@pytest.mark.parametrize("named", ["contacts", "people"])
class TestMergedSinceTheyWereAssigned:
    """Nothing has told the ledger of the merge: the first to speak of it is the service, when a change is sent."""

    @pytest.fixture
    def night(self, sync, segment, named):
        def night(*numbers, run_id="one"):
            given = emails(*numbers)
            if named == "contacts":
                given = [{"external_contact_id": contacts(3)[number]} for number in numbers]
            return sync.night(given, [segment], run_id)

        return night

    def test_the_one_that_speaks_for_both_stays_where_the_audience_names_it(self, sync, segment, night):
        night(0, 1)
        sync.emulator.merge(ANN, BOB)
        changes(sync)
        night(1, run_id="two")
        assert changes(sync) == []
        assert BOB in sync.emulator.members(segment)
        assert sync.known() == {(BOB, segment)}
        assert sync.known("unassigned") == {(ANN, segment)}
        assert night(1, run_id="three").summary.changes == 0

    def test_it_is_assigned_where_the_audience_names_it_for_the_first_time(self, sync, segment, night):
        night(0)
        sync.emulator.merge(ANN, BOB)
        changes(sync)
        night(1, run_id="two")
        assert changes(sync) == [(BOB, "assign")]
        assert BOB in sync.emulator.members(segment)
        assert sync.known() == {(BOB, segment)}

    def test_it_is_taken_away_where_the_audience_names_neither(self, sync, segment, night):
        night(0, 2)
        sync.emulator.merge(ANN, BOB)
        changes(sync)
        night(2, run_id="two")
        assert changes(sync) == [(BOB, "unassign")]
        assert BOB not in sync.emulator.members(segment)
        assert sync.known() == {(CY, segment)}


def test_of_several_changes_of_a_merged_contact_only_what_the_other_keeps_is_left_out(sync):
    one, two, three = segments(sync.emulator, 3)
    for run_id, audience in (
        ("one", {one: [ANN, BOB], two: [ANN], three: []}),
        ("two", {one: [BOB], two: [], three: [ANN]}),
    ):
        changes(sync)
        plan = sync.plan(audience, run_id)
        sync.apply(plan)
        sync.commit(plan)
        if run_id == "one":
            sync.emulator.merge(ANN, BOB)
    assert changes(sync) == [(BOB, "assign", "unassign")]
    assert [BOB in sync.emulator.members(name) for name in (one, two, three)] == [True, False, True]
    assert sync.known() == {(BOB, one), (ANN, three)}


def test_who_is_left_of_a_merge_is_taken_away_once(sync):
    one, two = segments(sync.emulator, 2)
    both = [each | {"segment_id": name} for each in emails(0, 1) for name in (one, two)]
    sync.night(both, [one, two])
    merged_later(sync, ANN, BOB)
    sync.night([{"email": email(0), "segment_id": two}], [one, two], "two")
    assert changes(sync) == [(BOB, "unassign")]
    assert sync.known() == {(BOB, two)}
    assert BOB not in sync.emulator.members(one)


def test_a_merge_that_is_heard_of_moves_whom_the_audience_names_by_the_old_id(sync, segment):
    sync.night([{"external_contact_id": ANN}, *emails(2)], [segment])
    merged_later(sync, ANN, BOB)
    plan = sync.night([{"external_contact_id": ANN}, *emails(1, 2)], [segment], "two")
    assert (plan.summary.pairs, plan.summary.duplicates, plan.summary.merged_contacts) == (2, 1, 1)
    assert changes(sync) == [(BOB, "assign")]
    assert sync.known() == {(BOB, segment), (CY, segment)}


def test_a_merge_of_a_merge_ends_at_its_head(sync, segment):
    sync.night(emails(0), [segment])
    merged_later(sync, ANN, BOB)
    sync.night(emails(0), [segment], "two")
    merged_later(sync, BOB, CY)
    sync.night(emails(0), [segment], "three")
    assert changes(sync) == [(CY, "assign")]
    assert sync.known() == {(CY, segment)}


def test_a_plan_that_heard_of_a_merge_and_was_never_applied_has_moved_nothing(sync, segment):
    sync.night(emails(0), [segment])
    merged_later(sync, ANN, BOB)
    sync.plan_people(emails(0), [segment], "dry")
    assert sync.known() == {(ANN, segment)}
    sync.night(emails(0), [segment], "three")
    assert changes(sync) == [(BOB, "assign")]
    assert sync.known() == {(BOB, segment)}


def test_a_kill_between_apply_and_commit_does_not_forget_the_move(sync, segment):
    sync.night(emails(0), [segment])
    merged_later(sync, ANN, BOB)
    sync.apply(sync.plan_people(emails(0), [segment], "killed"))
    assert sync.known() == {(ANN, segment)}
    plan = sync.night(emails(0), [segment], "three")
    assert changes(sync) == [(BOB, "assign")]
    assert plan.summary.unchanged == 1
    assert sync.known() == {(BOB, segment)}


def test_what_was_left_open_for_a_merged_contact_is_open_for_the_one_that_speaks_for_it(sync, segment):
    sync.emulator.script({"fault": "500", "operation": UPDATES[1]})
    sync.night(emails(0), [segment])
    assert sync.known("unknown") == {(ANN, segment)}
    merged_later(sync, ANN, BOB)
    plan = sync.night(emails(0), [segment], "two")
    assert plan.summary.reasons == {"unknown": 1}
    assert sync.known() == {(BOB, segment)}
    assert sync.known("unknown") == set()


@pytest.mark.parametrize("surface", ["journey", "externalcontacts"])
def test_contacts_that_vanish_or_are_merged_in_mid_sync_concern_their_own_rows(
    start_journey_emulator, tmp_path, surface
):
    emulator = start_journey_emulator(contacts=200)
    sync = Sync(emulator, tmp_path, segments_api=surface)
    people = contacts(200)
    audience = dict.fromkeys(segments(emulator, 2), people)
    plan = sync.plan(audience)
    emulator.vanish(*people[:30])
    emulator.merge(people[40], people[50])
    sync.apply(plan)
    committed = sync.commit(plan)
    assert (committed.rejected, committed.to_do) == (60, 0)
    assert {row[0] for row in sync.table(plan, "rejects")} == set(people[:30])
    # What was sent to the merged one has reached the other.
    there = pairs({name: [*people[30:40], *people[41:]] for name in audience})
    assert sync.held(audience) == there
    assert sync.known() == there | {(people[40], name) for name in audience}


@pytest.mark.parametrize(
    "given", [([BOB], []), ([ANN], []), ([], [KEY.identity("phone", None, "+15550000001")])]
)
def test_a_person_is_forgotten_with_all_contacts_that_are_merged(sync, segment, tmp_path, given):
    sync.night([*emails(0, 2), {"phone": "+15550000001"}], [segment])
    merged_later(sync, ANN, BOB)
    sync.night(emails(0, 2), [segment], "two")
    assert forget(sync.ledger, *given) > 0
    for file in tmp_path.rglob("*.parquet"):
        found = duckdb.read_parquet(str(file))
        columns = ", ".join(f'CAST("{name}" AS VARCHAR)' for name in found.columns)
        assert not {ANN, BOB} & {value for row in found.project(columns).fetchall() for value in row}, file
    assert sync.known() == {(CY, segment)}


def test_look_ups_lead_to_the_head_of_the_merge_that_the_service_names(sync, segment):
    sync.emulator.merge(ANN, CY)
    sync.emulator.merge(BOB, CY)
    sync.night(emails(0, 1, 2), [segment])
    assert sync.known() == {(CY, segment)}
    assert sync.emulator.calls()[LOOKUP] == {"200": 3}
