"""Waiting in the triggerer: at most one request per interval, whatever the service answers."""

import asyncio
import json
import os
import threading
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from airflow_provider_journey.api import operations
from airflow_provider_journey.api.errors import ResponseError
from airflow_provider_journey.emulator.emulator import connection_uri
from airflow_provider_journey.emulator.options import ClientSpec
from airflow_provider_journey.triggers.aggregates import AggregateTotalTrigger
from airflow_provider_journey.triggers.outcome import DONE, FAILED, GRACE, TIMEOUT
from airflow_provider_journey.triggers.polling import Asking
from airflow_provider_journey.triggers.segments import SegmentAssignmentTrigger
from airflow_provider_journey.triggers.sharing import sharing
from tests.emulator.asking import Asker
from tests.emulator.calling import connect
from tests.emulator.waiting import QUERY, SEGMENTS, WatchedClock, again, fire

INTERVAL = 300.0
BODY = {"interval": "2026-03-01T00:00:00Z/2026-03-02T00:00:00Z", "metrics": ["nJourneySessions"]}


@pytest.fixture
def conn_id(monkeypatch, journey_emulator):
    return connect(monkeypatch, journey_emulator)


@pytest.fixture
def segment(journey_emulator):
    """A segment, and a contact that is not in it."""
    contact = journey_emulator.examples["external_contact_id"]
    segment = journey_emulator.examples["segment_id"]
    assert contact not in journey_emulator.members(segment)
    return contact, segment


def waiting(conn_id, segment, **options):
    contact, segment_id = segment
    arguments = {"holder": {"external_contact_id": contact}, "segment_ids": [segment_id], "deadline": 3600.0}
    return SegmentAssignmentTrigger(
        **{"journey_conn_id": conn_id, "interval": INTERVAL, **arguments, **options}
    )


def totalling(conn_id, condition="> 0", **options):
    arguments = {"body": BODY, "metric": "nJourneySessions", "stat": "count", "deadline": 3600.0}
    return AggregateTotalTrigger(
        journey_conn_id=conn_id, interval=INTERVAL, condition=condition, **arguments | options
    )


def test_segment_that_is_assigned_while_it_waits(conn_id, segment, journey_emulator):
    asker = Asker(journey_emulator)
    clock = WatchedClock(journey_emulator, {3: lambda: asker.assign(*segment)})
    journey_emulator.reset_calls()
    outcome = fire(waiting(conn_id, segment), clock)
    assert (outcome.status, outcome.result) == (DONE, [segment[1]])
    # Two looks in vain, the assignment, and a look that finds it.
    assert journey_emulator.calls()[SEGMENTS] == {"200": 3}


def test_first_request_leaves_an_interval_after_the_start_and_token_is_asked_once(conn_id, journey_emulator):
    clock = WatchedClock(journey_emulator)
    outcome = fire(totalling(conn_id, "< 0"), clock)
    assert outcome.status == TIMEOUT
    assert INTERVAL <= clock.slept[0] <= 1.1 * INTERVAL
    clock.check(INTERVAL)
    assert 10 <= clock.asked() <= 11
    assert sum(journey_emulator.calls()["token"].values()) == 1
    assert clock.now - clock.began == pytest.approx(3600)


RIDDEN_OUT = [
    "429",
    "429-date",
    "429-no-header",
    "500",
    "502",
    "502-html",
    "503",
    "504",
    "504-empty",
    "408",
    "reset-before",
    "reset-after",
    "truncated",
    "cut-json",
    "non-json",
    "wrong-shape",
    "empty-body",
    "token-rate-limit",
    "token-html",
    "token-garbage",
    "token-no-expiry",
]


@pytest.mark.parametrize("fault", RIDDEN_OUT)
@pytest.mark.parametrize("kind", [waiting, totalling])
def test_what_can_get_better_is_ridden_out_with_one_request_per_interval(
    kind, fault, conn_id, segment, journey_emulator
):
    Asker(journey_emulator).assign(*segment)
    journey_emulator.reset_calls()
    journey_emulator.script({"fault": fault, "times": 3})
    clock = WatchedClock(journey_emulator)
    trigger = waiting(conn_id, segment) if kind is waiting else totalling(conn_id, ">= 0")
    outcome = fire(trigger, clock)
    assert outcome.status == DONE, outcome.message
    clock.check(INTERVAL)
    tokens = sum(journey_emulator.calls()["token"].values())
    tried = 1 if fault == "token-no-expiry" else 4
    assert (tokens, clock.asked()) == ((tried, 1) if fault.startswith("token") else (1, 4))


@pytest.mark.parametrize("fault", ["400", "403", "404", "413", "501"])
@pytest.mark.parametrize("kind", [waiting, totalling])
def test_what_cannot_get_better_ends_the_wait_at_once(kind, fault, conn_id, segment, journey_emulator):
    journey_emulator.script({"fault": fault, "times": 9})
    clock = WatchedClock(journey_emulator)
    outcome = fire(kind(conn_id, segment) if kind is waiting else totalling(conn_id), clock)
    assert outcome.status == FAILED
    assert fault in outcome.message
    assert clock.asked() == 1


def test_wrong_secret_ends_the_wait_and_is_not_shown(monkeypatch, journey_emulator):
    monkeypatch.setattr(journey_emulator, "client_secret", "another-secret")
    clock = WatchedClock(journey_emulator)
    outcome = fire(totalling(connect(monkeypatch, journey_emulator)), clock)
    assert outcome.status == FAILED
    assert "client id or the secret is wrong" in outcome.message
    assert "another-secret" not in outcome.message
    assert clock.asked() == 0
    assert sum(journey_emulator.calls()["token"].values()) == 1


def test_revoked_token_costs_one_interval(conn_id, journey_emulator):
    clock = WatchedClock(journey_emulator, {2: journey_emulator.revoke_tokens})
    trigger = totalling(conn_id, "< 0", deadline=4.5 * INTERVAL)
    assert fire(trigger, clock).status == TIMEOUT
    assert journey_emulator.calls()[QUERY] == {"200": 3, "401": 1}
    clock.check(INTERVAL)


def test_token_that_is_refused_again_ends_the_wait(conn_id, journey_emulator):
    journey_emulator.script({"fault": "401", "times": 9})
    clock = WatchedClock(journey_emulator)
    assert fire(totalling(conn_id), clock).status == FAILED
    assert journey_emulator.calls()[QUERY] == {"401": 2}
    clock.check(INTERVAL)


def test_secret_that_is_changed_while_it_waits_is_taken_up(monkeypatch, start_journey_emulator):
    from airflow_provider_journey.emulator.options import ClientSpec

    emulator = start_journey_emulator(clients=(ClientSpec("rotated", "new-secret"),))
    conn_id = connect(monkeypatch, emulator)

    def rotate():
        name = f"AIRFLOW_CONN_{conn_id.upper()}"
        fields = {**json.loads(os.environ[name]), "login": "rotated", "password": "new-secret"}
        monkeypatch.setenv(name, json.dumps(fields))
        emulator.revoke_tokens()
        emulator.script({"fault": "token-401", "times": 1})

    clock = WatchedClock(emulator, {3: rotate})
    assert fire(totalling(conn_id, "< 0", deadline=6.5 * INTERVAL), clock).status == TIMEOUT
    # Before: two; refused with the old token, then no token with the old secret; with the new one: two.
    assert emulator.calls()[QUERY] == {"200": 4, "401": 1}
    assert emulator.requests(QUERY)[-1]["token"] != emulator.requests(QUERY)[0]["token"]
    clock.check(INTERVAL)


def test_retry_after_longer_than_the_interval_is_honoured(conn_id, journey_emulator):
    journey_emulator.script({"fault": "429", "operation": QUERY, "times": 1, "retry_after": 500})
    clock = WatchedClock(journey_emulator)
    assert fire(totalling(conn_id, ">= 0"), clock).status == DONE
    times = [elapsed for elapsed, asked in clock.seen if asked == 1]
    assert clock.now - clock.began - times[0] >= 500


def test_connection_that_airflow_cannot_give_is_asked_for_again(monkeypatch, conn_id, journey_emulator):
    uri = journey_emulator.connection_uri
    clock = WatchedClock(journey_emulator, {3: lambda: monkeypatch.setenv("AIRFLOW_CONN_LATER", uri)})
    assert fire(totalling("later", ">= 0"), clock).status == DONE
    assert len(clock.slept) == 3
    outcome = fire(totalling("never", ">= 0"), WatchedClock(journey_emulator))
    assert outcome.status == TIMEOUT
    assert "The Airflow connection 'never' could not be read" in outcome.message


def test_time_out_says_what_was_last_wrong(conn_id, journey_emulator):
    journey_emulator.script({"fault": "503", "times": 99})
    clock = WatchedClock(journey_emulator)
    outcome = fire(totalling(conn_id, deadline=700.0), clock)
    assert outcome.status == TIMEOUT
    assert "503" in outcome.message
    assert clock.now - clock.began == pytest.approx(700)


def test_airflows_own_deadline_counts_where_there_is_one(conn_id, journey_emulator):
    """The worker that wrote the deadline may be ten minutes behind the triggerer."""
    clock = WatchedClock(journey_emulator)
    trigger = totalling(conn_id, "< 0", deadline=clock.time() - 600)
    trigger.clock = clock
    trigger.timeout_after = datetime.fromtimestamp(clock.time() + GRACE + 1000, tz=timezone.utc)
    (event,) = asyncio.run(_all(trigger))
    assert event.payload["status"] == TIMEOUT
    assert clock.now - clock.began == pytest.approx(1000)
    assert clock.asked() == 3


@pytest.mark.parametrize("minutes", [-10, 10])
def test_services_clock_ten_minutes_off(minutes, conn_id, segment, journey_emulator):
    journey_emulator.advance_clock(minutes * 60)
    Asker(journey_emulator).assign(*segment)
    journey_emulator.script({"fault": "429-date", "times": 1, "retry_after": 400})
    clock = WatchedClock(journey_emulator)
    assert fire(waiting(conn_id, segment), clock).status == DONE
    clock.check(INTERVAL)
    # A date is as far away as it was meant to be, by whatever clock.
    assert 399 <= clock.now - clock.began - clock.slept[0] <= 410


def test_restarted_triggerer_waits_an_interval_before_it_asks(conn_id, segment, journey_emulator):
    asker = Asker(journey_emulator)
    clock = WatchedClock(journey_emulator)

    async def stop_after(requests):
        task = asyncio.create_task(_all(trigger))
        for _ in range(100_000):
            if clock.asked() >= requests:
                break
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    for requests in (2, 4):
        trigger = again(waiting(conn_id, segment, deadline=None))
        trigger.clock = clock
        asyncio.run(stop_after(requests))
        clock.check(INTERVAL)
    asker.assign(*segment)
    assert fire(waiting(conn_id, segment), clock).status == DONE
    clock.check(INTERVAL)


def test_triggers_of_a_connection_share_client_and_token_and_the_last_closes_it(conn_id, journey_emulator):
    clock = WatchedClock(journey_emulator)

    async def wait():
        async with sharing(conn_id, clock) as outer:
            client = await outer.client()
            await asyncio.gather(
                *(_all(_on(clock, totalling(conn_id, ">= 0", deadline=None))) for _ in range(40))
            )
            assert await outer.client() is client
            assert client.statistics.calls == 40
            session = client._carrier._session
            assert not session.closed
        assert session.closed
        async with sharing(conn_id, clock) as later:
            assert await later.client() is not client

    asyncio.run(wait())
    assert sum(journey_emulator.calls()["token"].values()) == 1


def test_failing_token_endpoint_is_asked_once_per_interval_by_all_triggers_together(
    conn_id, journey_emulator
):
    journey_emulator.script({"fault": "token-html", "times": 99})
    clock = WatchedClock(journey_emulator)
    outcomes = []

    async def wait():
        # They look one after the other, within one interval.
        async with sharing(conn_id, clock) as connection:
            for _ in range(20):
                with pytest.raises(ResponseError) as caught:
                    await Asking(connection, INTERVAL).ask(operations.query_aggregates(BODY))
                outcomes.append(caught.value)
                await clock.sleep_async(INTERVAL / 10)

    asyncio.run(wait())
    assert sum(journey_emulator.calls()["token"].values()) == 2
    assert all(error.transient and "/oauth/token" in str(error) for error in outcomes)


def test_merged_contact_is_followed_for_one_request_per_interval(monkeypatch, journey_emulator):
    conn_id = connect(monkeypatch, journey_emulator, segments_api="externalcontacts")
    contact, other = sorted(journey_emulator.members(next(iter(_populated(journey_emulator)))))[:2]
    journey_emulator.merge(contact, other)
    journey_emulator.reset_calls()
    clock = WatchedClock(journey_emulator)
    trigger = SegmentAssignmentTrigger(
        journey_conn_id=conn_id,
        interval=INTERVAL,
        deadline=5.5 * INTERVAL,
        holder={"external_contact_id": contact},
        segment_ids=["nothing"],
    )
    assert fire(trigger, clock).status == TIMEOUT
    clock.check(INTERVAL)
    statuses = journey_emulator.calls()["getExternalcontactsContactJourneySegments"]
    assert sum(count for status, count in statuses.items() if status != "200") == 1
    assert statuses["200"] >= 3


class GoingInCircles(BaseHTTPRequestHandler):
    """A service whose contacts ``a`` and ``b`` were each merged into the other, as far as it says."""

    def do_GET(self):
        self.server.asked += 1
        there, here = ("/a/", "/b/") if "/b/" in self.path else ("/b/", "/a/")
        self.send_response(301)
        self.send_header("Location", self.path.replace(here, there))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self):
        body = b'{"access_token": "one", "token_type": "bearer", "expires_in": 86400}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def test_contacts_that_are_merged_into_each_other_do_not_stop_the_loop(monkeypatch, journey_emulator):
    outcomes = []
    with ThreadingHTTPServer(("127.0.0.1", 0), GoingInCircles) as server:
        server.asked = 0
        threading.Thread(target=server.serve_forever).start()
        uri = connection_uri(f"http://127.0.0.1:{server.server_port}", ClientSpec("client", "secret"))
        monkeypatch.setenv("AIRFLOW_CONN_CIRCLES", f"{uri}?segments_api=externalcontacts")
        trigger = waiting("circles", ("a", "nothing"), deadline=8.5 * INTERVAL)
        run = threading.Thread(
            target=lambda: outcomes.append(fire(trigger, WatchedClock(journey_emulator))), daemon=True
        )
        run.start()
        run.join(20)
        server.shutdown()
    assert [outcome.status for outcome in outcomes] == [TIMEOUT]
    assert 6 <= server.asked <= 8


@pytest.mark.parametrize("segments_api", ["journey", "externalcontacts"])
@pytest.mark.parametrize("who", ["external_contact_id", "session_id", "customer_id"])
def test_everybody_on_both_surfaces(who, segments_api, monkeypatch, journey_emulator):
    conn_id = connect(monkeypatch, journey_emulator, segments_api=segments_api)
    examples = journey_emulator.examples
    holder = {who: examples[who]}
    if who == "customer_id":
        holder["customer_id_type"] = examples["customer_id_type"]
    clock = WatchedClock(journey_emulator)
    trigger = SegmentAssignmentTrigger(
        journey_conn_id=conn_id, interval=INTERVAL, holder=holder, segment_ids=["none"], state="Unassigned"
    )
    assert fire(trigger, clock).status == DONE
    clock.check(INTERVAL)


def test_who_a_customer_is_is_looked_up_once(monkeypatch, journey_emulator):
    conn_id = connect(monkeypatch, journey_emulator, segments_api="externalcontacts")
    examples = journey_emulator.examples
    trigger = SegmentAssignmentTrigger(
        journey_conn_id=conn_id,
        interval=INTERVAL,
        deadline=6.5 * INTERVAL,
        holder={name: examples[name] for name in ("customer_id_type", "customer_id")},
        segment_ids=["none"],
    )
    assert fire(trigger, WatchedClock(journey_emulator)).status == TIMEOUT
    calls = journey_emulator.calls()
    assert calls["postExternalcontactsIdentifierlookupContacts"] == {"200": 1}
    assert calls["getExternalcontactsContactJourneySegments"]["200"] >= 4


def test_listing_of_many_pages_is_read_page_by_interval_and_begun_anew_when_its_cursor_is_gone(
    monkeypatch, conn_id, segment, journey_emulator
):
    from airflow_provider_journey.segments import membership

    monkeypatch.setattr(membership, "_JOURNEY_PAGE", 1)
    contact, _ = segment
    held = [m["segment_id"] for m in journey_emulator.assignments() if m["external_contact_id"] == contact]
    assert len(held) >= 3
    # The second page is refused, once, as a cursor that is too old would be.
    journey_emulator.script({"fault": "400", "after": 1, "times": 1})
    clock = WatchedClock(journey_emulator)
    trigger = waiting(conn_id, (contact, "nothing"), state="Unassigned", deadline=None)
    assert fire(trigger, clock).status == DONE
    assert journey_emulator.calls()[SEGMENTS]["400"] == 1
    clock.check(INTERVAL)


def _on(clock, trigger):
    trigger.clock = clock
    return trigger


def _populated(emulator):
    return {entry["segment_id"] for entry in emulator.assignments() if entry["state"] == "Assigned"}


async def _all(trigger):
    return [event async for event in trigger.run()]
