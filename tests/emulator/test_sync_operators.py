"""The segment operators against the emulator: what is sent, recorded, reported, refused."""

import json
import threading
from datetime import timedelta

import pytest
from airflow.sdk import Asset

from airflow_provider_journey.api.errors import PartialUpdateError, ServerError
from airflow_provider_journey.operators.segment_work import KilledError
from airflow_provider_journey.operators.segments import (
    JourneySegmentAssignmentOperator,
    JourneySegmentSyncOperator,
)
from airflow_provider_journey.segments.audience import FileAudience
from airflow_provider_journey.segments.errors import LeaseError
from airflow_provider_journey.segments.lease import Lease
from airflow_provider_journey.task_groups.segment_steps import SegmentPlanOperator
from demo.processes import wait_until
from tests.emulator.asking import Asker
from tests.emulator.running import Failed, Skipped, context_of, run
from tests.emulator.syncing import UPDATES, Sync, contacts, pairs, rows, segments


@pytest.fixture
def sync(journey_emulator, tmp_path, surface):
    return Sync(journey_emulator, tmp_path / "ledger", segments_api=surface)


@pytest.fixture
def listings(surface):
    """How many calls it takes a plan to check its segments."""
    return 1 if surface == "externalcontacts" else 0


@pytest.fixture
def operator(sync, connect, surface):
    conn_id = connect(sync.emulator, segments_api=surface)

    def make(audience, mode="mirror", **options):
        given = rows(audience).rows if isinstance(audience, dict) else audience
        options = {"segment_ids": segments(sync.emulator, 2), "journey_conn_id": conn_id} | options
        return JourneySegmentSyncOperator(
            task_id="sync", audience=given, mode=mode, ledger=f"{sync.path}", **options
        )

    return make


@pytest.fixture
def audience(sync):
    one, two = segments(sync.emulator, 2)
    return {one: contacts(60), two: contacts(30)}


def test_a_night_is_planned_applied_committed_and_reported(sync, operator, audience, listings):
    asset = Asset(name="segments", uri="journey-test://segments")
    task = operator(audience, outlets=[asset])
    context = run(task)
    assert sync.held(audience) == sync.known() == pairs(audience)
    report = context["ti"].xcoms["journey_run"]
    assert report | {"duration_s": 0, "waited_s": 0, "plan_hash": "", "counts": {}} == {
        "v": 1,
        "kind": "sync",
        "conn_id": task.journey_conn_id,
        "plan_hash": "",
        "uri": sync.path,
        "rows": 90,
        "counts": {},
        "calls": 60 + listings,
        "waited_s": 0,
        "duration_s": 0,
        "errors": {},
    }
    assert report["counts"] == context["result"]
    assert report["counts"] == {
        "assign": 90,
        "unassign": 0,
        "renew": 0,
        "unchanged": 0,
        "invalid": 0,
        "duplicates": 0,
        "carried_forward": 0,
        "given_up": 0,
        "planned_calls": 60,
        "people": 0,
        "lookups": 0,
        "unknown_people": 0,
        "unresolved": 0,
        "rows_left_out": 0,
        "held_back": 0,
        "done": 90,
        "rejected": 0,
        "unknown": 0,
        "to_do": 0,
        "version": 1,
    }
    extra = context["outlet_events"][asset].extra
    assert extra["rows"] == 90
    assert extra["plan_hash"] == report["plan_hash"] == sync.ledger.runs()[0][1].plan_hash
    shown = json.dumps([report, extra, context["result"]])
    assert not [name for name in contacts(60) if name in shown]
    again = run(operator(audience), "two")
    assert again["result"]["unchanged"] == 90
    assert again["ti"].xcoms["journey_run"]["calls"] == listings


def test_guards_refuse_before_any_call(sync, operator, audience):
    run(operator(audience))
    sync.emulator.reset_calls()
    with pytest.raises(Failed, match="allow_empty"):
        run(operator([]), "two")
    fewer = {name: people[:40] for name, people in audience.items()}
    with pytest.raises(Failed, match="max_unassign_fraction"):
        run(operator(fewer), "three")
    assert not sync.updates()
    run(operator(fewer, max_unassign_fraction=0.5), "four")
    assert sync.held(audience) == sync.known() == pairs(fewer)
    run(operator([], allow_empty=True, max_unassign_fraction=1), "five")
    assert sync.held(audience) == set()


@pytest.mark.parametrize(
    "thresholds", [{"max_reject_fraction": 0.01}, {"max_rejects": 1, "max_reject_fraction": 1}]
)
def test_thresholds_fail_the_task_when_everything_is_recorded(sync, operator, audience, thresholds, capsys):
    one = next(iter(audience))
    people = [*contacts(50), "nobody-1", "nobody-2"]
    context = context_of(task := operator({one: people}, segment_ids=[one], **thresholds))
    with pytest.raises(Failed, match=next(iter(thresholds))) as caught:
        task.execute(context)
    # Whoever is on call is told what was answered, and where it says which rows: by the error and the log.
    [(made, _)] = sync.ledger.runs()
    log = capsys.readouterr().out
    for told in ("2 times 404 not.found", f"{sync.path}/{made.rejects}"):
        assert told in str(caught.value)
        assert told in log
    assert sync.known() == sync.held([one]) == {(c, one) for c in contacts(50)}
    assert context["ti"].xcoms["journey_run"]["counts"]["rejected"] == 2
    assert context["ti"].xcoms["journey_run"]["errors"] == {"404": 2}
    allowed = {"max_reject_fraction": 1.0}
    assert run(operator({one: people}, segment_ids=[one], **allowed), "two")["result"]["rejected"] == 2


def test_who_was_given_up_is_counted_night_for_night(sync, operator, audience):
    given = {segment: [*people, "nobody"] for segment, people in audience.items()}
    options = {"give_up_after": 1, "max_reject_fraction": 1}
    assert run(operator(given, **options), "one")["result"]["rejected"] == 2
    counts = run(operator(given, **options), "two")["result"]
    assert (counts["unchanged"], counts["given_up"], counts["planned_calls"]) == (len(pairs(audience)), 2, 0)


def test_every_row_is_somewhere_in_the_figures(sync, operator, audience, capsys):
    one, _ = audience
    people = [*contacts(10), "nobody-1", "nobody-2"]
    given = [
        *({"external_contact_id": who, "segment_id": one} for who in [*people, *contacts(3)]),
        {"external_contact_id": "", "segment_id": one},
        {"external_contact_id": contacts(1)[0], "segment_id": "another"},
    ]
    options = {"max_reject_fraction": 1.0, "give_up_after": 1}
    for night, left in (("one", 12), ("two", 0)):
        before = sync.ledger.head()
        counts = run(operator(given, **options), night)["result"]
        planned = counts["assign"] + counts["unassign"] + counts["renew"]
        assert planned == left == counts["done"] + counts["rejected"] + counts["to_do"]
        rows_of = (
            counts["unchanged"] + planned + counts["given_up"] + counts["invalid"] + counts["duplicates"]
        )
        assert rows_of == len(given) == 17
    assert (counts["unchanged"], counts["given_up"]) == (10, 2)
    log = capsys.readouterr().out
    assert "2 changes are not sent any more" in log
    assert f"{sync.path}/{before.pending}" in log


def test_what_is_left_to_do_is_said(sync, operator, audience, listings, capsys):
    run(operator(audience, max_calls=20 + listings))
    assert "changes are left to do, and the next run takes them up: 60 not sent" in capsys.readouterr().out


def test_a_log_names_no_more_than_five_contacts(sync, operator, capsys):
    one, two = segments(sync.emulator, 2)
    known, unknown = contacts(10), [f"nobody-{number}" for number in range(10)]
    given = [
        {"external_contact_id": who, "segment_id": one, "state": state}
        for who in known
        for state in ("Assigned", "Unassigned")
    ]
    given += [{"external_contact_id": who, "segment_id": two, "state": "Assigned"} for who in unknown]
    run(operator(given, "changes", max_reject_fraction=1.0))
    log = capsys.readouterr().out
    assert 1 <= len([who for who in (*known, *unknown) if who in log]) <= 5


def test_a_dry_run_sends_nothing_and_skips_what_follows(sync, operator, audience, listings):
    context = context_of(task := operator(audience, dry_run=True))
    with pytest.raises(Skipped):
        task.execute(context)
    assert context["ti"].xcoms["journey_run"]["counts"]["assign"] == 90
    assert sum(sync.emulator.calls().get("getJourneySegments", {}).values()) == listings
    assert not sync.updates()
    assert sync.ledger.head().version == 0


def test_an_outage_is_left_to_a_retry_which_goes_on_behind_the_journal(sync, operator, audience):
    # With renew_after=0 a plan made anew would send again what is done.
    task = operator(audience, renew_after=0, concurrency=4)
    sync.emulator.script(
        *({"fault": "503", "operation": name, "after": 30, "times": 1000} for name in UPDATES)
    )
    with pytest.raises(ServerError):
        run(task)
    done = sync.updates()["2xx"]
    assert 26 <= done <= 34
    sync.emulator.clear_script()
    result = run(task)["result"]
    assert (result["done"], result["planned_calls"]) == (90, 60)
    assert sync.updates()["2xx"] == 60, "nothing that was done is sent again"
    assert run(task)["result"]["renew"] == 90, "cleared after its end it plans anew"


def test_an_audience_that_changes_after_the_plan_is_for_the_next_run(sync, operator, tmp_path):
    one, _ = segments(sync.emulator, 2)
    file = tmp_path / "audience.csv"
    task = operator(FileAudience(f"file://{file}"), segment_ids=[one], max_unassign_fraction=1, concurrency=2)
    file.write_text("\n".join(["external_contact_id", *contacts(40)]))
    for name in UPDATES:
        sync.emulator.script({"fault": "503", "operation": name, "after": 10, "times": 1000})
    with pytest.raises(ServerError):
        run(task)
    sync.emulator.clear_script()
    file.write_text("\n".join(["external_contact_id", *contacts(50)[30:]]))
    # The retry carries out what was planned.
    assert run(task)["result"]["done"] == 40
    assert sync.known() == sync.held([one]) == {(who, one) for who in contacts(40)}
    run(task, "two")
    assert sync.known() == sync.held([one]) == {(who, one) for who in contacts(50)[30:]}


def test_what_lasts_fails_for_good_with_all_that_was_done_committed(sync, operator, audience):
    sync.emulator.script(
        *({"fault": "403", "operation": name, "after": 30, "times": 1000} for name in UPDATES)
    )
    context = context_of(task := operator(audience, concurrency=4))
    with pytest.raises(Failed, match="(?i)segmentassignment"):
        task.execute(context)
    assert sync.held(audience) == sync.known() != set()


def test_what_drifted_is_read_back_put_right_and_counted(sync, operator, audience, listings):
    run(operator(audience))
    one, two = audience
    Asker(sync.emulator).assign(contacts(1)[0], one, two, state="Unassigned")
    context = run(operator(audience, verify=1.0, repair=True), "two")
    counts = context["ti"].xcoms["journey_run"]["counts"]
    assert {name: counts[name] for name in ("verified", "drifted", "repaired")} == {
        "verified": 60,
        "drifted": 2,
        "repaired": 2,
    }
    assert context["ti"].xcoms["journey_run"]["calls"] == 61 + listings
    assert sync.held(audience) == sync.known() == pairs(audience)


def test_what_is_read_back_is_within_the_budget(sync, operator, audience, listings):
    context = run(operator(audience, verify=1.0, max_calls=70 + listings))
    assert sync.updates() == {"2xx": 60}
    assert (context["result"]["verified"], context["result"]["unverified"]) == (10, 50)
    assert context["ti"].xcoms["journey_run"]["calls"] == 70 + listings


def test_budgets_end_a_run_and_the_next_goes_on(sync, operator, audience, listings):
    result = run(operator(audience, max_calls=20 + listings))["result"]
    assert sync.updates() == {"2xx": 20}
    assert result["to_do"] == 90 - result["done"] > 0
    result = run(operator(audience, max_duration=timedelta(0)), "two")["result"]
    assert result["done"] == 0
    assert sync.updates() == {"2xx": 20}
    result = run(operator(audience), "three")["result"]
    assert result["to_do"] == 0
    assert sync.updates() == {"2xx": 60}
    assert sync.held(audience) == sync.known() == pairs(audience)


def test_a_kill_writes_down_what_is_known(start_journey_emulator, tmp_path, connect, surface):
    emulator = start_journey_emulator(latency_ms=5)
    sync = Sync(emulator, tmp_path, segments_api=surface)
    [name] = segments(emulator, 1)
    task = JourneySegmentSyncOperator(
        task_id="sync",
        audience=rows({name: contacts(100)}).rows,
        segment_ids=[name],
        mode="mirror",
        ledger=sync.path,
        concurrency=2,
        journey_conn_id=connect(emulator, segments_api=surface),
    )

    def kill():
        wait_until(lambda: sum(sync.updates().values()) >= 10, "ten updates", 30, every_s=0.005)
        task.on_kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(KilledError):
        run(task)
    killer.join()
    assert sync.updates()["2xx"] < 100
    assert run(task)["result"]["done"] == 100
    assert sync.updates() == {"2xx": 100}


def test_another_run_at_work_is_waited_for_by_retries(sync, operator, audience):
    Lease(sync.ledger.store, "another").acquire()
    with pytest.raises(LeaseError, match="another"):
        run(operator(audience))
    Lease(sync.ledger.store, "another").release()
    run(operator(audience))
    Lease(sync.ledger.store, "third").acquire()


def test_a_group_without_its_connection_leaves_the_ledger_to_others(sync, operator, audience, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_NO_SECRET", '{"conn_type": "journey", "host": "mypurecloud.de"}')
    plan = SegmentPlanOperator(
        task_id="plan", part="group", audience=[], segment_ids=["s"], mode="mirror", ledger=sync.path,
        journey_conn_id="no_secret",
    )  # fmt: skip
    with pytest.raises(Failed, match="no login and no password"):
        run(plan)
    assert run(operator(audience))["result"]["done"] == len(pairs(audience))


def test_templates_are_rendered_on_a_copy(sync, operator, audience, tmp_path):
    one, two = segments(sync.emulator, 2)
    for day, people in (("d1", contacts(3)), ("d2", contacts(5))):
        lines = "\n".join(["external_contact_id", *people])
        (tmp_path / f"{day}.csv").write_text(f"{lines}\n")
    template = operator(FileAudience(f"file://{tmp_path}/{{{{ day }}}}.csv"), segment_ids=["{{ segment }}"])
    # As Airflow does it: each run renders a copy of the DAG's task.
    first, second = template.prepare_for_execution(), template.prepare_for_execution()
    run(first, "d1", day="d1", segment=one)
    run(second, "d2", day="d2", segment=two)
    assert sync.known() == {(c, one) for c in contacts(3)} | {(c, two) for c in contacts(5)}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"audience": {"kind": "file", "path": "{{ day }}.csv", "conn_id": None}}, "audience.path"),
        ({"segment_ids": ["{{ day }}"]}, "segment_ids"),
        ({"ledger": "{{ day }}"}, "ledger"),
    ],
)
def test_what_was_not_rendered_is_refused(sync, operator, options, complaint):
    task = operator([])
    vars(task).update(options)
    with pytest.raises(Failed, match=complaint):
        task.execute(context_of(task))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"mode": "sideways"}, "mode"),
        ({"segment_ids": []}, "segment_ids"),
        ({"segment_ids": "abc"}, "segment_ids"),
        ({"segment_ids": ["a", "a"]}, "twice"),
        ({"max_unassign_fraction": 20}, "max_unassign_fraction"),
        ({"max_reject_fraction": -1}, "max_reject_fraction"),
        ({"renew_after": timedelta(days=-1)}, "renew_after"),
        ({"give_up_after": 0}, "give_up_after"),
        ({"concurrency": 0}, "concurrency"),
        ({"max_calls": -1}, "max_calls"),
        ({"max_calls": "100"}, "max_calls is a whole number, at least 0, not '100'"),
        ({"max_rejects": 0.5}, "max_rejects"),
        ({"max_duration": timedelta(seconds=-1)}, "max_duration"),
        ({"max_duration": "PT1H"}, "max_duration is a timedelta, or seconds"),
        ({"keep": 0}, "keep"),
        ({"segment_ids": ["{{ segment }}"], "give_up_after": 0}, "give_up_after"),
    ],
)
def test_what_cannot_be_right_fails_when_the_dag_is_parsed(operator, options, complaint):
    with pytest.raises(ValueError, match=complaint):
        operator([], **options)


@pytest.mark.parametrize("ledger", ["relative/path", "nowhere://x/y"])
def test_a_ledger_that_is_nowhere_is_said_to_be(operator, ledger):
    task = operator([])
    task.ledger = ledger
    with pytest.raises(Failed, match=ledger):
        task.execute(context_of(task))


def test_one_contact(sync, connect, surface):
    one, two = segments(sync.emulator, 2)
    [contact] = contacts(1)
    conn_id = connect(sync.emulator, segments_api=surface)
    given = {"external_contact_id": "{{ contact }}", "journey_conn_id": conn_id}
    run(JourneySegmentAssignmentOperator(task_id="one", assign=[one, two], **given), contact=contact)
    assert sync.held([one, two]) == {(contact, one), (contact, two)}
    run(JourneySegmentAssignmentOperator(task_id="one", unassign=[one], **given), contact=contact)
    assert sync.held([one, two]) == {(contact, two)}
    assert sum(sync.updates().values()) == 2


def test_one_contact_half_processed_is_no_success(sync, connect):
    one, two = segments(sync.emulator, 2)
    conn_id = connect(sync.emulator, segments_api="externalcontacts")
    task = JourneySegmentAssignmentOperator(
        task_id="one", external_contact_id=contacts(1)[0], assign=[one, two], journey_conn_id=conn_id
    )
    sync.emulator.script("unprocessed")
    with pytest.raises(PartialUpdateError) as caught:
        run(task)
    assert len(caught.value.unprocessed["assign"]) == 1
    run(task)
    assert len(sync.held([one, two])) == 2


@pytest.mark.parametrize(
    "given",
    [
        {"external_contact_id": "nobody", "assign": ["x"]},
        {"external_contact_id": "{{ '{{' }} x", "assign": ["x"]},
        {"external_contact_id": "a", "assign": "x"},
        {"external_contact_id": "a"},
        {"external_contact_id": "a", "assign": ["x"], "unassign": ["x"]},
    ],
)
def test_one_contact_that_cannot_be_right_fails_for_good(sync, connect, given):
    with pytest.raises(Failed):
        run(JourneySegmentAssignmentOperator(task_id="one", journey_conn_id=connect(sync.emulator), **given))
