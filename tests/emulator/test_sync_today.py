"""The sync operator on today's surface: people, segments, and a connection that names the wrong surface."""

from __future__ import annotations

import json
import threading

import pytest

from airflow_provider_journey.operators.segment_work import KilledError
from airflow_provider_journey.operators.segments import JourneySegmentSyncOperator
from airflow_provider_journey.segments.audience import FileAudience
from airflow_provider_journey.segments.lease import Lease
from demo.processes import wait_until
from tests.emulator.people import PeopleSync, email, emails
from tests.emulator.running import Failed, Skipped, context_of, run
from tests.emulator.syncing import UPDATES, contacts, segments

READS = ("getJourneyExternalcontactSegments", "getExternalcontactsContactJourneySegments")


@pytest.fixture
def operator(sync, connect):
    conn_id = connect(sync.emulator, segments_api="externalcontacts")

    def make(audience, mode="mirror", **options):
        options = {"segment_ids": segments(sync.emulator, 1), "journey_conn_id": conn_id} | options
        return JourneySegmentSyncOperator(
            task_id="sync", audience=audience, mode=mode, ledger=sync.path, **options
        )

    return make


def asked(emulator):
    """How many calls an emulator was asked for, tokens apart."""
    return sum(sum(each.values()) for name, each in emulator.calls().items() if name != "token")


def test_look_ups_are_counted_with_everything_else(sync, operator):
    given = [*emails(*range(10)), {"email": "nobody@nowhere.example"}]
    context = run(operator(given))
    report = context["ti"].xcoms["journey_run"]
    assert report["calls"] == asked(sync.emulator) == 1 + 11 + 10
    counts = {name: report["counts"][name] for name in ("people", "lookups", "unknown_people", "unresolved")}
    assert counts == {"people": 11, "lookups": 11, "unknown_people": 1, "unresolved": 0}
    assert report["counts"]["rejected"] == 0
    assert report["errors"] == {}, "that somebody is not known is no error"
    assert run(operator(given), "two")["ti"].xcoms["journey_run"]["calls"] == 1


def test_a_dry_run_looks_people_up_and_keeps_who_they_are(sync, operator):
    context = context_of(task := operator(emails(0, 1), dry_run=True))
    with pytest.raises(Skipped):
        task.execute(context)
    assert context["ti"].xcoms["journey_run"]["counts"]["lookups"] == 2
    assert run(operator(emails(0, 1)), "two")["result"]["lookups"] == 0
    assert sync.lookups() == 2


def test_a_budget_holds_for_look_ups_and_changes_together(sync, operator):
    given = emails(*range(40))
    nights = 0
    while sync.emulator.members(segments(sync.emulator, 1)[0]) != set(contacts(40)):
        nights += 1
        before = asked(sync.emulator)
        result = run(operator(given, max_calls=20), f"night{nights}")["result"]
        assert asked(sync.emulator) - before <= 20
        assert result["lookups"] <= 10
        if nights == 1:
            assert result["lookups"] == 10
            assert result["done"] == 9, "what look-ups and the list of segments have left"
    assert nights <= 6
    assert sync.lookups() == 40
    assert sync.updates() == {"2xx": 40}


def test_too_many_unknown_people_stop_it_before_the_first_change(sync, operator):
    given = [*emails(0, 1, 2), {"email": "nobody@nowhere.example"}]
    with pytest.raises(Failed, match="max_unknown_fraction"):
        run(operator(given, max_unknown_fraction=0.1))
    assert not sync.updates()
    run(operator(given, max_unknown_fraction=0.25), "two")
    assert sync.updates() == {"2xx": 3}


def test_people_may_be_known_by_a_key_of_ones_own(sync, operator, connect, monkeypatch):
    monkeypatch.setenv("AIRFLOW_VAR_PEOPLE_KEY", "a long text that nobody guesses")
    monkeypatch.setenv("AIRFLOW_VAR_SHORT", "short")
    task = operator(emails(0), identity_key="people_key")
    run(task)
    assert run(operator(emails(0), identity_key="people_key"), "two")["result"]["lookups"] == 0
    # Another client of the same organisation finds who was looked up before.
    assert run(operator(emails(0)), "three")["result"]["lookups"] == 1
    with pytest.raises(Failed, match="'short' is no key"):
        run(operator(emails(0), identity_key="short"), "four")


def test_a_kill_keeps_who_was_looked_up(start_journey_emulator, tmp_path, connect):
    emulator = start_journey_emulator(latency_ms=5)
    sync = PeopleSync(emulator, tmp_path)
    task = JourneySegmentSyncOperator(
        task_id="sync",
        audience=emails(*range(100)),
        segment_ids=segments(emulator, 1),
        mode="mirror",
        ledger=sync.path,
        concurrency=2,
        journey_conn_id=connect(emulator, segments_api="externalcontacts"),
    )

    def kill():
        wait_until(lambda: sync.lookups() >= 10, "ten look-ups", 30, every_s=0.005)
        task.on_kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(KilledError):
        run(task)
    killer.join()
    assert 10 <= sync.lookups() < 100
    assert not sync.updates()
    assert run(task)["result"]["done"] == 100
    assert sync.lookups() == 100, "what was in flight was awaited, and nobody asked for twice"


def test_the_lease_is_kept_while_people_are_looked_up(start_journey_emulator, tmp_path):
    emulator = start_journey_emulator(latency_ms=20)
    sync = PeopleSync(emulator, tmp_path)
    lease = Lease(sync.ledger.store, "one", clock=sync.clock)
    lease.acquire()
    [name] = [each for each in sync.ledger.store.sizes("runs") if each.startswith("lease")]
    ends = sync.ledger.store.read_json(f"runs/{name}")["expires"]
    # For the clock of the test the two seconds are some eight minutes.
    sync.plan_people(emails(*range(100)), segments(emulator, 1), lease=lease, concurrency=1)
    assert sync.ledger.store.read_json(f"runs/{name}")["expires"] > ends


def test_of_rows_airflow_is_shown_that_there_are_some(operator):
    rows = [{"email": "{{ name }}@example.com"}]
    for given in (rows, {"kind": "rows", "rows": rows}):
        task = operator(given)
        task.render_template_fields(context_of(task) | {"name": "canary"})
        assert "canary" not in str(task.audience)
        assert list(task.audience.rows) == [{"email": "canary@example.com"}]
    task = operator(FileAudience("file:///{{ name }}.csv"))
    task.render_template_fields(context_of(task) | {"name": "day"})
    assert task.audience["path"] == "file:///day.csv"


@pytest.mark.parametrize(
    "given",
    [
        "[{'email': '{{ name }}@example.com'}]",
        {"kind": "rows", "rows": "{{ name }}@example.com"},
    ],
)
def test_rows_that_a_template_has_made_a_text_are_shown_nowhere(operator, given):
    context = context_of(task := operator(given)) | {"name": "canary"}
    task.render_template_fields(context)
    assert "canary" not in str(task.audience)
    with pytest.raises(Failed, match="a list of rows is wanted, not str") as caught:
        task.execute(context)
    assert "canary" not in str(caught.value)


def test_of_one_row_that_is_no_list_nothing_is_shown(operator):
    context = context_of(task := operator([]))
    task.audience = {"email": "canary@example.com"}
    task.render_template_fields(context)
    assert "canary" not in str(task.audience)
    with pytest.raises(Failed, match="its kind is one of") as caught:
        task.execute(context)
    assert "canary" not in str(caught.value)


def test_segments_that_are_not_there_are_named_before_anybody_is_looked_up(sync, operator):
    [segment] = segments(sync.emulator, 1)
    given = [{"email": email(0), "segment_id": "gone-1"}]
    with pytest.raises(Failed, match="no segment gone-1, gone-2"):
        run(operator(given, segment_ids=["gone-2", segment, "gone-1"]))
    assert asked(sync.emulator) == 1
    assert sync.emulator.calls()["getJourneySegments"] == {"200": 1}


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ([], "audience is empty"),
        ([{"mail": "x"}], "no column"),
        ([{"email": "no address"}] * 9, "9 times email is no address"),
        ([{"external_contact_id": "no id"}] * 9, "9 times external_contact_id is no id"),
    ],
)
def test_nothing_is_asked_for_an_audience_of_no_use(sync, operator, given, complaint):
    with pytest.raises(Failed, match=complaint):
        run(operator(given))
    assert sync.emulator.calls() == {}


def test_segments_that_are_not_active_are_named_unless_they_are_only_taken_away(sync, operator):
    [retired] = sync.emulator.about()["inactive_segments"]
    state = {"segment_id": retired["id"], "state": "Assigned"}
    options = {"segment_ids": [retired["id"]], "mode": "changes"}
    with pytest.raises(Failed) as caught:
        run(operator([{"external_contact_id": contacts(1)[0]} | state], **options))
    assert retired["id"] in str(caught.value)
    assert retired["name"] in str(caught.value)
    assert not sync.updates()
    state["state"] = "Unassigned"
    with pytest.raises(Failed, match="max_reject_fraction"):
        run(operator([{"external_contact_id": contacts(1)[0]} | state], **options), "two")
    assert sync.updates() == {"400": 1}, "the service decides"


@pytest.mark.parametrize("fault", ["403", "404", "501"])
def test_where_segments_cannot_be_listed_the_sync_goes_on(sync, operator, fault, capsys):
    sync.emulator.script({"fault": fault, "operation": "getJourneySegments"})
    assert run(operator(emails(0)))["result"]["done"] == 1
    assert "are not checked" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("served", "chosen"), [("journey", "externalcontacts"), ("externalcontacts", "journey")]
)
def test_the_wrong_surface_is_found_out_at_once_and_nothing_is_lost(
    start_journey_emulator, tmp_path, connect, served, chosen
):
    emulator = start_journey_emulator(contacts=500, surface=served)
    sync = PeopleSync(emulator, tmp_path, segments_api=served)
    [segment] = segments(emulator, 1)
    options = {
        "audience": [{"external_contact_id": each} for each in contacts(500)],
        "segment_ids": [segment],
        "mode": "mirror",
        "ledger": sync.path,
        "concurrency": 8,
    }

    def task(surface):
        return JourneySegmentSyncOperator(
            task_id="sync", journey_conn_id=connect(emulator, segments_api=surface), **options
        )

    context = context_of(wrong := task(chosen))
    with pytest.raises(
        Failed, match=f"does not serve segments_api='{chosen}', it serves '{served}'"
    ) as caught:
        wrong.execute(context)
    assert "change the extra segments_api" in str(caught.value)
    # Eight in flight, two reads that decide, and the list of segments.
    assert asked(emulator) <= 8 + 2 + 1
    [(_, summary)] = sync.ledger.runs()
    assert summary.changes == 500
    assert sync.known() == sync.known("unknown") == set()
    result = run(task(served), "two")["result"]
    assert result["done"] == 500
    assert sync.ledger.runs()[-1][1].reasons == {"unfinished": 500}, "nobody counts as refused"


@pytest.mark.parametrize("surface", ["journey", "externalcontacts"])
def test_a_404_that_names_no_contact_leads_to_one_question_at_most(start_journey_emulator, tmp_path, surface):
    emulator = start_journey_emulator()
    sync = PeopleSync(emulator, tmp_path, segments_api=surface)
    plan = sync.plan({segments(emulator, 1)[0]: contacts(30)})
    emulator.script(*({"fault": "404", "operation": name, "times": 5} for name in UPDATES))
    sync.apply(plan)
    committed = sync.commit(plan)
    assert (committed.done, committed.rejected) == (25, 5)
    reads = {name: each for name, each in emulator.calls().items() if name in READS}
    assert sum(sum(each.values()) for each in reads.values()) <= 1


def test_a_404_that_names_its_contact_leads_to_no_question(sync):
    plan = sync.plan({segments(sync.emulator, 1)[0]: ["nobody", *contacts(3)]})
    sync.apply(plan, concurrency=1)
    assert sync.commit(plan).rejected == 1
    assert not [name for name in READS if name in sync.emulator.calls()]


def test_the_report_names_nobody(sync, operator, capsys):
    given = [*emails(*range(3)), {"email": "canary@nowhere.example"}, {"email": "canary no address"}]
    context = run(operator(given))
    log = capsys.readouterr().out
    shown = json.dumps(context["ti"].xcoms) + json.dumps(context["result"]) + log
    assert "@" not in shown
    assert "canary" not in shown
    assert "row 5" in log
