"""Audiences that know people by e-mail, phone or external id: who is looked up, who is not, and what is done."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest

from airflow_provider_journey.__main__ import main
from airflow_provider_journey.api.errors import PermissionDeniedError, ServerError, UnsupportedOperationError
from airflow_provider_journey.segments.allotment import Budget
from airflow_provider_journey.segments.errors import AudienceError, GuardError
from airflow_provider_journey.segments.forgetting import forget
from airflow_provider_journey.segments.guards import check_guards
from airflow_provider_journey.segments.identity_cache import IdentityKey
from airflow_provider_journey.segments.lookups import Person
from tests.emulator.people import KEY, LOOKUP, PeopleSync, email, emails
from tests.emulator.syncing import contacts, segments

STRANGER = "nobody@nowhere.example"


def members(sync, segment):
    """The contacts in a segment, and that the ledger says the same."""
    held = sync.emulator.members(segment)
    assert {contact for contact, name in sync.known() if name == segment} == held
    return held


def test_whatever_people_are_known_by_each_is_one_contact(sync, segment):
    source = sync.emulator.about()["external_source_id"]
    people = contacts(6)
    given = [
        {"email": f" {email(0)}\n"},
        {"phone": "+15550000001"},
        {"external_id": "CRM-0000002", "external_source": source},
        {"external_contact_id": people[3]},
        {"email": email(4), "phone": "", "external_contact_id": None},
        # The second identifier of contacts that are named above.
        {"phone": "+15550000000"},
        {"email": email(3)},
    ]
    plan = sync.night(given, [segment])
    assert members(sync, segment) == set(people[:5])
    summary = plan.summary
    assert (summary.rows, summary.pairs, summary.duplicates, summary.invalid) == (7, 5, 2, 0)
    assert (summary.people, summary.lookups, summary.lookup_calls, sync.lookups()) == (6, 6, 6, 6)
    sent = {json.loads(request["body"])["type"] for request in sync.emulator.requests(LOOKUP)}
    assert sent == {"Email", "Phone", "ExternalId"}


def test_a_row_that_cannot_be_about_one_person_is_invalid_and_its_value_is_kept_nowhere(sync, segment):
    wrong = [
        ({"email": "canary-two@example.com", "phone": "+4930123456"}, "more than one identity"),
        (
            {"email": "canary-three@example.com", "external_contact_id": contacts(1)[0]},
            "more than one identity",
        ),
        ({"email": "canary-four"}, "email is no address"),
        ({"email": "canary four@example.com"}, "email is no address"),
        ({"phone": "030 canary"}, "phone is no number as E.164 has it"),
        ({"phone": "004930123456"}, "phone is no number as E.164 has it"),
        ({"external_id": "canary-five"}, "external_id has no external_source"),
        ({"external_id": "canary" * 50, "external_source": "x"}, "external_id is too long"),
        ({"email": " "}, "nothing says who this is"),
        (
            {"external_contact_id": "canary-six@example.com"},
            "external_contact_id is an e-mail address or a phone number",
        ),
        (
            {"external_contact_id": "+49 (30) 123456"},
            "external_contact_id is an e-mail address or a phone number",
        ),
        (
            {"external_contact_id": "(030) 123456"},
            "external_contact_id is an e-mail address or a phone number",
        ),
        (
            {"external_contact_id": "030\u00a0123456"},
            "external_contact_id is an e-mail address or a phone number",
        ),
        ({"email": email(1), "segment_id": "another"}, "segment_id is not one of those listed"),
        ({"email": email(1), "segment_id": "canary@example.com"}, "segment_id is not one of those listed"),
        ({"email": email(1), "segment_id": "+4930123456"}, "segment_id is not one of those listed"),
        ({"email": email(1), "segment_id": "4930123456"}, "segment_id is not one of those listed"),
    ]
    plan = sync.night([{"email": email(0)}, *(row for row, _ in wrong)], [segment])
    assert members(sync, segment) == set(contacts(1))
    assert sync.lookups() == 1, "nobody is looked up for a row that is never sent"
    assert plan.summary.invalid == len(wrong)
    named = dict(sync.rows(plan, "invalid", "row, segment_id"))
    assert [named[row] for row in range(15, 19)] == ["another", None, None, None]
    kept = sync.rows(plan, "invalid", "row, reason, external_contact_id, kind, identity")
    assert [(row, reason) for row, reason, *_ in kept] == [(n, why) for n, (_, why) in enumerate(wrong, 2)]
    assert {contact for _, _, contact, _, _ in kept} == {None}
    named = {row: (kind, identity) for row, _, _, kind, identity in kept}
    assert named[4] == ("email", KEY.identity("email", None, "canary-four"))
    assert named[6] == ("phone", KEY.identity("phone", None, "030 canary"))
    assert named[9] == ("external_id", KEY.identity("external_id", "x", "canary" * 50))
    assert named[10] == (None, None)
    assert "row 2" in plan.offenders
    assert not re.search("canary|4930123456", plan.offenders)
    assert not [name for name in sync.lines if "canary" in name]


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ([{"mail": "x"}], "no email, phone, external_id either"),
        ([{"external_id": "x"}], "no column external_source, which external_id needs"),
    ],
)
def test_an_audience_without_a_column_that_says_who_is_refused(sync, segment, given, complaint):
    with pytest.raises(AudienceError, match=complaint):
        sync.plan_people(given, [segment])


def test_a_file_without_a_header_shows_nobody_in_the_error(sync, segment, tmp_path):
    from airflow_provider_journey.segments.audience import FileAudience
    from airflow_provider_journey.segments.plan import PlanRequest, make_plan

    (tmp_path / "people.csv").write_text("canary@example.com,+4930123456,x\n")
    with pytest.raises(AudienceError, match="not a name") as caught:
        make_plan(
            sync.ledger, "one", FileAudience(str(tmp_path / "people.csv")), PlanRequest([segment], "mirror")
        )
    assert "canary" not in str(caught.value)
    assert "+49" not in str(caught.value)


def test_lines_that_are_no_rows_are_kept_without_what_they_say(sync, segment, tmp_path):
    from airflow_provider_journey.segments.audience import FileAudience
    from airflow_provider_journey.segments.plan import PlanRequest, make_plan

    (tmp_path / "people.csv").write_text(f"email,name\n{email(0)},x\ncanary@example.com\n{email(1)},y\n")
    audience = FileAudience(str(tmp_path / "people.csv"))
    plan = make_plan(sync.ledger, "one", audience, PlanRequest([segment], "mirror"), resolver=sync.resolver())
    kept = sync.rows(plan, "invalid", "external_contact_id, reason, row")
    assert kept == [(None, "unreadable: missing columns", 3)]
    assert plan.summary.pairs == 2


def test_a_state_or_a_line_that_names_somebody_is_not_kept(sync, segment, tmp_path):
    from airflow_provider_journey.segments.audience import FileAudience
    from airflow_provider_journey.segments.plan import PlanRequest, make_plan

    lines = [
        "external_contact_id,state,mail",
        "a,canary@example.com,x",
        "b,Assigned",
        "c,+49 30 123456",
        "d,no,x",
    ]
    (tmp_path / "ids.csv").write_text("\n".join([*lines, "canary@example.com"]) + "\n")
    plan = make_plan(
        sync.ledger, "one", FileAudience(str(tmp_path / "ids.csv")), PlanRequest([segment], "changes")
    )
    kept = sync.rows(plan, "invalid", "external_contact_id, state, row")
    assert sorted(kept, key=str) == [
        ("a", None, None),
        ("b,Assigned", None, 3),
        ("d", "no", None),
        (None, None, 4),
        (None, None, 6),
    ]
    assert "canary" not in plan.offenders


def test_each_is_looked_up_once_and_again_when_the_answer_is_too_old(sync, segment):
    given = [*emails(*range(20)), *emails(*range(20)), {"email": STRANGER}]
    sync.night(given, [segment])
    assert sync.lookups() == 21
    sync.night([*given, *emails(20)], [segment], "two")
    assert sync.lookups() == 22, "neither who is known nor who is unknown is looked up again"
    sync.days_pass(8)
    plan = sync.plan_people(given, [segment], "three")
    assert (sync.lookups(), plan.summary.unknown_people) == (23, 1), "an unknown person may have come"
    sync.days_pass(23)
    sync.plan_people(given, [segment], "four")
    assert sync.lookups() == 23 + 21


def test_answers_do_not_all_grow_too_old_in_one_night(sync, segment):
    sync.night(emails(*range(100)), [segment])
    sync.days_pass(7 * 0.9)
    sync.plan_people(emails(*range(100)), [segment], "two", lifetime=timedelta(days=7))
    assert 100 + 20 < sync.lookups() < 100 + 90


def test_ten_thousand_people_by_e_mail_and_two_percent_more(start_journey_emulator, tmp_path):
    emulator = start_journey_emulator(contacts=10_200, events=10, rate_limit=0)
    sync = PeopleSync(emulator, tmp_path)
    [segment] = segments(emulator, 1)
    sync.night(emails(*range(10_000)), [segment])
    assert sync.lookups() == sync.updates()["2xx"] == 10_000
    emulator.reset_calls()
    plan = sync.night(emails(*range(200, 10_200)), [segment], "two")
    assert sync.lookups() == plan.summary.lookups == 200, "those who were never seen"
    assert sync.updates() == {"2xx": 400}
    assert members(sync, segment) == set(contacts(10_200)[200:])


def test_people_whom_nobody_knows_are_a_table_of_their_own(sync, segment):
    given = [*emails(0, 1), {"email": STRANGER}, {"phone": "+4930000000"}, {"email": STRANGER}]
    plan = sync.night(given, [segment])
    assert (plan.summary.unknown_people, plan.summary.rows_left_out, plan.summary.rows) == (2, 3, 5)
    assert sync.committed.rejected == 0
    stranger = KEY.identity("email", None, STRANGER)
    assert sync.rows(plan, "unknown", "row, kind, identity, segment_id") == [
        (3, "email", stranger, segment),
        (4, "phone", KEY.identity("phone", None, "+4930000000"), segment),
        (5, "email", stranger, segment),
    ]
    assert sync.rows(plan, "invalid") == []
    check_guards(plan)
    check_guards(plan, max_unknown_fraction=0.5)
    with pytest.raises(GuardError, match="2 of the audience's 4 people.*max_unknown_fraction allows it"):
        check_guards(plan, max_unknown_fraction=0.4)


def test_an_audience_of_strangers_is_an_empty_one(sync, segment):
    plan = sync.plan_people([{"email": STRANGER}], [segment])
    with pytest.raises(GuardError, match="1 rows, 0 of them invalid, 1 about people who were not found"):
        check_guards(plan)


def test_an_audience_of_people_who_could_not_be_looked_up_yet_is_not_an_empty_one(sync, segment):
    sync.emulator.script({"fault": "500", "operation": LOOKUP})
    plan = sync.plan_people(emails(0), [segment])
    assert (plan.summary.pairs, plan.summary.unresolved) == (0, 1)
    check_guards(plan)


def test_a_blank_that_only_python_knows_ends_nothing_but_its_own_row(sync, segment):
    plan = sync.night([*emails(0), {"external_id": "\u3000", "external_source": "x"}], [segment])
    assert sync.rows(plan, "invalid", "row, reason, external_contact_id") == [
        (2, "its look-up was refused: InvalidRequestError", None)
    ]
    assert members(sync, segment) == set(contacts(1))


def test_columns_of_rows_are_known_in_upper_and_lower_case(sync, segment):
    sync.night([{" EMAIL": email(0)}, {"Email": email(1)}], [segment])
    assert members(sync, segment) == set(contacts(2))


def test_a_failure_that_may_pass_is_tried_again_and_then_left_and_nobody_is_taken_away(sync, segment):
    sync.night(emails(0, 1, 2), [segment])
    sync.emulator.script({"fault": "503", "operation": LOOKUP}, {"fault": "reset-after", "operation": LOOKUP})
    plan = sync.night(emails(0, 1, 3), [segment], "two", concurrency=1)
    assert (plan.summary.unresolved, plan.summary.lookups, plan.summary.lookup_calls) == (0, 1, 3)
    assert members(sync, segment) == {contacts(4)[n] for n in (0, 1, 3)}

    sync.emulator.script({"fault": "503", "operation": LOOKUP, "times": 99})
    plan = sync.night(emails(0, 3, 4), [segment], "three")
    assert (plan.summary.unresolved, plan.summary.unknown_people, plan.summary.held_back) == (1, 0, 1)
    assert members(sync, segment) == {contacts(4)[n] for n in (0, 1, 3)}, "the fourth may be the second"
    assert sync.committed.rejected == 0
    sync.emulator.clear_script()
    plan = sync.night(emails(0, 3, 4), [segment], "four")
    assert (plan.summary.unresolved, plan.summary.held_back) == (0, 0)
    assert members(sync, segment) == {contacts(5)[n] for n in (0, 3, 4)}


def test_only_segments_of_people_who_were_not_found_in_time_are_held(sync):
    one, two = segments(sync.emulator, 2)
    both = [{"email": email(n), "segment_id": name} for n in (0, 1) for name in (one, two)]
    sync.night(both, [one, two])
    sync.emulator.script({"fault": "500", "operation": LOOKUP})
    given = [{"email": email(0), "segment_id": name} for name in (one, two)]
    sync.night([*given, {"email": email(2), "segment_id": one}], [one, two], "two")
    assert members(sync, one) == set(contacts(2))
    assert members(sync, two) == set(contacts(1))


@pytest.mark.parametrize("budget", [Budget(max_calls=7), Budget(max_duration=0.0)])
def test_a_budget_ends_look_ups_and_nobody_is_taken_away_until_all_are_known(sync, segment, budget):
    sync.night(emails(*range(5)), [segment])
    asked = sync.lookups()
    plan = sync.night(emails(*range(3, 20)), [segment], "two", budget=budget)
    made = budget.max_calls or 0
    assert sync.lookups() - asked == plan.summary.lookups == made
    assert (plan.summary.unresolved, plan.summary.held_back) == (15 - made, 3)
    assert members(sync, segment) >= set(contacts(5))
    assert len(members(sync, segment)) == 5 + made
    assert "are left for the next run" in sync.lines[-1] or any("are left for" in line for line in sync.lines)
    plan = sync.night(emails(*range(3, 20)), [segment], "three")
    assert sync.lookups() - asked == 15, "what was asked before is known"
    assert members(sync, segment) == set(contacts(20)[3:])


@pytest.mark.parametrize("mode", ["mirror", "upsert", "changes"])
def test_who_could_not_be_looked_up_again_is_who_he_was(sync, segment, mode):
    state = {"state": "Assigned"} if mode == "changes" else {}
    given = [each | state for each in emails(0, 1)]
    sync.night(given, [segment], "one", mode)
    sync.days_pass(31)
    plan = sync.night(given, [segment], "two", mode, budget=Budget(max_calls=0))
    assert (plan.summary.unresolved, plan.summary.held_back, plan.summary.unchanged) == (0, 0, 2)
    assert members(sync, segment) == set(contacts(2))


def test_who_is_found_no_more_is_not_taken_away_by_a_mirror_that_names_him(sync, segment):
    sync.night(emails(0, 1, 2), [segment])
    sync.emulator.vanish(contacts(2)[1])
    sync.days_pass(31)
    plan = sync.night(emails(0, 1), [segment], "two")
    assert (plan.summary.unknown_people, plan.summary.held_back) == (1, 1)
    assert sync.known() == {(contact, segment) for contact in contacts(2)}
    assert sync.updates() == {"2xx": 3 + 1}, "the third is taken away, the second left alone"
    # The answer that he is unknown has not made anybody forget who he was.
    sync.days_pass(31)
    assert sync.plan_people(emails(0, 1), [segment], "three").summary.held_back == 1


def test_whose_contact_is_gone_is_looked_up_by_the_next_plan(sync):
    one, two = segments(sync.emulator, 2)
    sync.night(emails(0, 1), [one])
    sync.emulator.vanish(contacts(1)[0])
    sync.night(emails(0, 1), [two], "two")
    assert (sync.lookups(), sync.committed.rejected) == (2, 1)
    plan = sync.night(emails(0, 1), [two], "three")
    assert (plan.summary.lookups, plan.summary.unknown_people, plan.summary.changes) == (1, 1, 0)
    assert sync.night(emails(0, 1), [two], "four").summary.lookups == 0


def test_what_the_service_refuses_to_look_up_is_invalid_and_asked_again_next_time(sync, segment):
    sync.emulator.script({"fault": "400", "operation": LOOKUP})
    plan = sync.night(emails(0, 1), [segment], concurrency=1)
    [(row, reason, contact)] = sync.rows(plan, "invalid", "row, reason, external_contact_id")
    assert reason == "its look-up was refused: bad.request"
    assert contact is None
    assert members(sync, segment) == {contacts(2)[2 - row]}
    sync.night(emails(0, 1), [segment], "two")
    assert sync.lookups() == 3
    assert members(sync, segment) == set(contacts(2))


def test_another_key_looks_everybody_up_anew_and_says_so(sync, segment):
    sync.night(emails(0, 1), [segment])
    assert not any("another one than before" in line for line in sync.lines)
    sync.key = IdentityKey.derived("another secret")
    plan = sync.night(emails(0, 1), [segment], "two")
    assert any("another one than before" in line for line in sync.lines)
    assert (sync.lookups(), plan.summary.unchanged) == (4, 2)
    sync.key = KEY
    sync.night(emails(0, 1), [segment], "three")
    assert sync.lookups() == 4, "who shares a ledger does not take the other's answers away"
    sync.key = IdentityKey.derived("another secret")
    sync.days_pass(61)
    sync.night(emails(0, 1), [segment], "four")
    assert {name.partition("-")[0] for name in sync.files()} == {sync.key.mark}


def test_where_nobody_can_be_looked_up_nothing_is_asked(journey_emulator, tmp_path):
    sync = PeopleSync(journey_emulator, tmp_path, segments_api="journey")
    with pytest.raises(UnsupportedOperationError, match="segments_api='externalcontacts'"):
        sync.plan_people(emails(0), segments(journey_emulator, 1))
    assert journey_emulator.calls() == {}


def test_what_every_look_up_would_be_answered_ends_it_and_keeps_what_was_found(sync, segment):
    sync.emulator.script({"fault": "403", "operation": LOOKUP, "after": 5, "times": 99})
    with pytest.raises(PermissionDeniedError, match="externalContacts:contact:view"):
        sync.plan_people(emails(*range(50)), [segment], concurrency=2)
    assert 6 <= sync.lookups() <= 7
    sync.emulator.clear_script()
    sync.plan_people(emails(*range(50)), [segment])
    assert sync.emulator.calls()[LOOKUP]["200"] == 50


def test_an_outage_is_left_to_airflow(sync, segment):
    sync.emulator.faults(**{"503": 1.0})
    with pytest.raises(ServerError):
        sync.plan_people(emails(*range(90)), [segment], concurrency=4)
    assert 50 <= sync.lookups() <= 60


def test_many_nights_leave_few_objects_and_nobody_who_left_long_ago(sync, segment):
    for night in range(12):
        sync.plan_people(emails(0, night + 1), [segment], f"night{night}")
        sync.days_pass(0.1)
    assert len(sync.files()) < 10
    sync.days_pass(70)
    sync.plan_people(emails(0), [segment], "late")
    assert sync.lookups() == 13 + 1
    assert len(sync.files()) == 1
    found = [name for number in range(12) if (name := KEY.identity("email", None, email(number)))]
    kept = (sync.ledger.store.root / "identities" / sync.files()[0]).path
    import duckdb

    assert duckdb.sql(f"SELECT identity FROM '{kept}'").fetchall() == [(found[0],)]


def test_a_person_is_forgotten_with_all_identities(sync, segment):
    given = [*emails(0, 1), {"phone": "+15550000000"}, {"email": STRANGER}, {"email": "not an address"}]
    plan = sync.night(given, [segment])
    assert forget(sync.ledger, [contacts(1)[0]]) > 0
    assert sync.known() == {(contacts(2)[1], segment)}
    sync.plan_people(given, [segment], "two")
    assert sync.lookups() == 4 + 2, "both identities of that person, and nobody else"
    assert forget(sync.ledger, [], [KEY.identity("email", None, STRANGER)]) > 0
    assert sync.rows(plan, "unknown") == []
    assert forget(sync.ledger, [], [KEY.identity("email", None, email(1))]) > 0
    assert sync.known() == set()
    assert forget(sync.ledger, [], [KEY.identity("email", None, "not an address")]) > 0
    assert sync.rows(plan, "invalid", "reason") == [("duplicate",)] or sync.rows(plan, "invalid") == []


def test_the_terminal_forgets_people_by_what_audiences_know_them_by(sync, segment, connect, capsys):
    conn_id = connect(sync.emulator)
    sync.key = IdentityKey.derived(sync.emulator.client_secret)
    source = sync.emulator.about()["external_source_id"]
    external = {"external_id": "CRM-0000002", "external_source": source}
    sync.night([*emails(0), {"phone": "+15550000001"}, external], [segment])
    for arguments in (
        ["--email", f" {email(0)}"],
        ["--phone", "+15550000001"],
        ["--external-id", "CRM-0000002", "--external-source", source],
    ):
        before = len(sync.known())
        assert main(["ledger", "forget", sync.path, "--conn-id", conn_id, *arguments]) == 0
        assert len(sync.known()) == before - 1
    assert "removed from" in capsys.readouterr().out
    assert main(["ledger", "forget", sync.path, "--conn-id", conn_id, "--email", "x@y.z"]) == 0
    assert capsys.readouterr().out == "removed from 0 objects\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--conn-id", "nowhere"], "nowhere.*--conn-id"),
        (["--identity-key", "nothing"], "(?i)nothing.*--identity-key"),
    ],
)
def test_the_terminal_says_which_key_it_lacks(sync, connect, capsys, arguments, complaint):
    known = [] if "--conn-id" in arguments else ["--conn-id", connect(sync.emulator)]
    assert main(["ledger", "forget", sync.path, "--email", email(0), *known, *arguments]) == 1
    assert re.search(complaint, capsys.readouterr().err)


def test_the_terminal_imports_nobody_by_what_would_have_to_be_looked_up(sync, segment, tmp_path, capsys):
    (tmp_path / "members.csv").write_text(f"email\n{email(0)}\n")
    assert main(["ledger", "import", sync.path, str(tmp_path / "members.csv"), "--segment", segment]) == 1
    assert "by external_contact_id alone" in capsys.readouterr().err
    assert sync.ledger.head().version == 0


def test_the_terminal_says_that_a_ledger_is_nowhere(capsys):
    assert main(["ledger", "show", "nowhere://x"]) == 1
    assert "nowhere" in capsys.readouterr().err


def test_what_is_shown_of_a_person_and_of_a_key_tells_nothing():
    person = Person("hmac", "email", None, "canary@example.com", None)
    assert "canary" not in repr(person)
    assert "secret" not in repr(IdentityKey(b"secret"))


@pytest.mark.parametrize(("kind", "source"), [("email", None), ("external_id", "s1"), ("external_id", "s2")])
def test_the_engine_and_python_make_the_same_hmacs(sync, segment, kind, source):
    row = {kind: "ümläut-x@y.z", "external_source": source or ""}
    plan = sync.plan_people([row], [segment])
    [(identity,)] = sync.rows(plan, "unknown", "identity")
    assert identity == KEY.identity(kind, source, "ümläut-x@y.z")
