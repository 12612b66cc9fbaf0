"""Watchers: an event when something has changed, none when nothing has, also after a restart."""

import asyncio
import json

import pendulum
import pytest

from airflow_provider_journey.aggregates.errors import QueryError
from airflow_provider_journey.aggregates.query import AggregateQuery
from airflow_provider_journey.api.errors import InvalidRequestError
from airflow_provider_journey.triggers import changes
from airflow_provider_journey.triggers.changes import (
    JourneyAggregateChangeTrigger,
    JourneySegmentChangeTrigger,
)
from tests.emulator.asking import Asker
from tests.emulator.calling import connect
from tests.emulator.waiting import SEGMENTS, WatchedClock, again

INTERVAL = 300.0
GROUPED = AggregateQuery(
    metrics=["nJourneySessions", "nWebActionsOffered"],
    group_by=["journeySessionType"],
    time_zone="Europe/Berlin",
)


class Store:
    """Airflow's state store of an asset, as far as a trigger sees it: JSON in, JSON out."""

    def __init__(self):
        self.kept = {}

    async def aget(self, key, default=None):
        return json.loads(self.kept[key]) if key in self.kept else default

    async def aset(self, key, value):
        assert value is not None
        self.kept[key] = json.dumps(value)


class Over(BaseException):
    """Raised where a test has seen enough: a watcher never ends by itself."""


class EndingClock(WatchedClock):
    """Time that is over after so many sleeps, or with one of a certain length."""

    def __init__(self, emulator, sleeps, steps=(), last=None, since=None):
        super().__init__(emulator, steps)
        self.sleeps = sleeps
        self.last = last
        if since is not None:
            self.epoch = since - self.now

    def sleep(self, seconds):
        if len(self.seen) == self.sleeps or seconds == self.last:
            raise Over
        super().sleep(seconds)


def watch(trigger, clock, store):
    """Run a watcher for as long as its clock does, and return the payloads of its events."""
    payloads = []

    async def run():
        made = again(trigger)
        made.clock = clock
        made.asset_state_store = store
        try:
            async for event in made.run():
                payloads.append(json.loads(json.dumps(event.payload)))  # noqa: PERF401 - they are kept at the end
        except Over:
            pass

    asyncio.run(run())
    return payloads


@pytest.fixture
def conn_id(monkeypatch, journey_emulator):
    return connect(monkeypatch, journey_emulator)


@pytest.fixture
def segment(journey_emulator):
    return journey_emulator.examples["external_contact_id"], journey_emulator.examples["segment_id"]


@pytest.fixture
def watcher(conn_id, segment):
    def make(**options):
        return JourneySegmentChangeTrigger(
            external_contact_id=segment[0], journey_conn_id=conn_id, interval=INTERVAL, **options
        )

    return make


def test_segments_that_come_and_go_are_told_and_nobody_is_named(watcher, segment, journey_emulator):
    asker = Asker(journey_emulator)
    store = Store()
    steps = {
        3: lambda: asker.assign(*segment),
        6: lambda: asker.assign(*segment, state="Unassigned"),
    }
    clock = EndingClock(journey_emulator, 10, steps)
    payloads = watch(watcher(), clock, store)
    assert payloads == [
        {"assigned": [segment[1]], "unassigned": []},
        {"assigned": [], "unassigned": [segment[1]]},
    ]
    assert segment[0] not in json.dumps([payloads, store.kept])
    clock.check(INTERVAL)


def test_nothing_happens_where_nothing_changes_also_after_a_restart(watcher, journey_emulator):
    store = Store()
    asked = 0
    for _ in range(3):
        clock = EndingClock(journey_emulator, 4)
        journey_emulator.reset_calls()
        assert watch(watcher(), clock, store) == []
        clock.check(INTERVAL)
        asked += clock.asked()
    assert asked >= 9


def test_what_changes_while_no_triggerer_runs_is_told_by_the_next(watcher, segment, journey_emulator):
    store = Store()
    watch(watcher(), EndingClock(journey_emulator, 3), store)
    Asker(journey_emulator).assign(*segment)
    assert watch(watcher(), EndingClock(journey_emulator, 3), store) == [
        {"assigned": [segment[1]], "unassigned": []}
    ]
    assert watch(watcher(), EndingClock(journey_emulator, 3), store) == []


def test_event_that_was_not_written_down_is_fired_again(watcher, segment, journey_emulator):
    store = Store()
    watch(watcher(), EndingClock(journey_emulator, 3), store)
    Asker(journey_emulator).assign(*segment)
    # The triggerer dies when the event has been fired, in the moments in which Airflow stores it.
    assert len(watch(watcher(), EndingClock(journey_emulator, 9, last=changes._SETTLED), store)) == 1
    assert len(watch(watcher(), EndingClock(journey_emulator, 3), store)) == 1
    assert watch(watcher(), EndingClock(journey_emulator, 3), store) == []


def test_without_a_store_the_first_look_of_each_start_is_the_measure(watcher, segment, journey_emulator):
    asker = Asker(journey_emulator)
    watch(watcher(), EndingClock(journey_emulator, 3), None)
    asker.assign(*segment)
    clock = EndingClock(journey_emulator, 5, {3: lambda: asker.assign(*segment, state="Unassigned")})
    assert watch(watcher(), clock, None) == [{"assigned": [], "unassigned": [segment[1]]}]


def test_segments_that_do_not_matter_start_nothing(watcher, segment, journey_emulator):
    asker = Asker(journey_emulator)
    clock = EndingClock(journey_emulator, 6, {3: lambda: asker.assign(*segment)})
    assert watch(watcher(segment_ids=["another"]), clock, Store()) == []


@pytest.mark.parametrize(
    "fault",
    [
        "401",
        "403",
        "404",
        "429",
        "500",
        "503",
        "reset-after",
        "non-json",
        "wrong-shape",
        "token-401",
        "token-rate-limit",
    ],
)
def test_whatever_is_answered_it_goes_on_asking_once_per_interval(fault, watcher, segment, journey_emulator):
    store = Store()
    watch(watcher(), EndingClock(journey_emulator, 3), store)
    Asker(journey_emulator).assign(*segment)
    journey_emulator.reset_calls()
    journey_emulator.revoke_tokens()
    journey_emulator.script({"fault": fault, "times": 4})
    clock = EndingClock(journey_emulator, 12)
    assert watch(watcher(), clock, store) == [{"assigned": [segment[1]], "unassigned": []}]
    clock.check(INTERVAL)


def test_connection_that_airflow_cannot_give_is_asked_for_once_per_interval(journey_emulator):
    clock = EndingClock(journey_emulator, 3)
    trigger = JourneySegmentChangeTrigger(external_contact_id="somebody", journey_conn_id="never")
    assert watch(trigger, clock, Store()) == []
    assert clock.slept[1:] == [INTERVAL, INTERVAL]


def test_listing_that_broke_off_is_begun_anew(monkeypatch, watcher, segment, journey_emulator):
    from airflow_provider_journey.segments import membership

    monkeypatch.setattr(membership, "_JOURNEY_PAGE", 2)
    store = Store()
    pages = -(
        -len([m for m in journey_emulator.assignments() if m["external_contact_id"] == segment[0]]) // 2
    )
    assert pages >= 2
    watch(watcher(), EndingClock(journey_emulator, 12), store)
    journey_emulator.script({"fault": "400", "operation": SEGMENTS, "after": 1, "times": 1})
    clock = EndingClock(journey_emulator, 14)
    assert watch(watcher(), clock, store) == []
    requests = journey_emulator.requests(SEGMENTS)
    (refused,) = [number for number, request in enumerate(requests) if request["status"] == "400"]
    assert "after" in requests[refused]["query"]
    assert "after" not in requests[refused + 1]["query"]


@pytest.fixture
def noon():
    """Noon of today, as seconds since 1970: a watch of some minutes sees no day end, whatever time it is."""
    return pendulum.today("Europe/Berlin").add(hours=12).timestamp()


def test_only_the_partitions_that_changed_are_told(monkeypatch, start_journey_emulator, noon):
    # With late data the sums of a day grow until it is four days old.
    emulator = start_journey_emulator(late_data=True)
    conn_id = connect(monkeypatch, emulator)
    trigger = JourneyAggregateChangeTrigger(
        query=GROUPED, partitions=8, journey_conn_id=conn_id, interval=INTERVAL
    )
    emulator.set_clock(pendulum.from_timestamp(noon).to_iso8601_string())
    store = Store()
    clock = EndingClock(emulator, 4, since=noon)
    assert watch(trigger, clock, store) == []
    emulator.advance_clock(20 * 3600)
    clock = EndingClock(emulator, 4, since=clock.time())
    (payload,) = watch(trigger, clock, store)
    today = pendulum.from_timestamp(noon, tz="Europe/Berlin")
    days = [today.subtract(days=ago).to_date_string() for ago in range(1, 9)]
    assert set(payload["partitions"]) <= set(days)
    assert days[0] in payload["partitions"]
    assert days[-1] not in payload["partitions"]
    start = pendulum.parse(payload["partitions"][0], tz="Europe/Berlin").in_timezone("UTC")
    assert pendulum.parse(payload["start"]) == start
    assert pendulum.parse(payload["end"]) == today.start_of("day")
    assert watch(trigger, EndingClock(emulator, 4, since=clock.time()), store) == []


def test_day_that_has_ended_is_a_change_and_one_that_is_forgotten_is_none(conn_id, journey_emulator, noon):
    trigger = JourneyAggregateChangeTrigger(
        query=GROUPED, partitions=2, journey_conn_id=conn_id, interval=INTERVAL
    )
    store = Store()
    journey_emulator.advance_clock(3 * 86_400)
    assert watch(trigger, EndingClock(journey_emulator, 3, since=noon), store) == []
    tomorrow = EndingClock(journey_emulator, 4, since=noon + 86_400)
    (payload,) = watch(trigger, tomorrow, store)
    assert payload["partitions"] == [pendulum.from_timestamp(noon, tz="Europe/Berlin").to_date_string()]


def test_changed_query_begins_anew(conn_id, journey_emulator):
    store = Store()
    for metrics in (["nJourneySessions"], ["nWebActionsOffered"]):
        trigger = JourneyAggregateChangeTrigger(
            query={"metrics": metrics}, journey_conn_id=conn_id, interval=INTERVAL
        )
        assert watch(trigger, EndingClock(journey_emulator, 3), store) == []
    assert len(store.kept) == 2


def test_same_watcher_is_the_same_for_airflow(watcher):
    from airflow.triggers.base import BaseEventTrigger

    one, other = watcher(segment_ids=["b", "a"]), watcher(segment_ids=["a", "b"])
    assert BaseEventTrigger.hash(*one.serialize()) == BaseEventTrigger.hash(*other.serialize())
    assert BaseEventTrigger.hash(*again(one).serialize()) == BaseEventTrigger.hash(*one.serialize())


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"query": {"metrics": []}}, QueryError),
        ({"query": {"metrics": ["nJourneySessions"], "interval": "2026-11-01/P1D"}}, QueryError),
        ({"query": GROUPED, "period": "P2D"}, QueryError),
        ({"query": GROUPED, "partitions": 0}, QueryError),
        ({"query": GROUPED, "interval": 0.5}, ValueError),
        ({"query": GROUPED, "interval": float("nan")}, ValueError),
        ({"query": GROUPED, "interval": float("inf")}, ValueError),
        ({"query": {"metrics": ["{{ var.value.metric }}"]}}, InvalidRequestError),
    ],
)
def test_numbers_that_cannot_be_watched_are_refused_when_the_dag_is_parsed(options, error):
    with pytest.raises(error):
        JourneyAggregateChangeTrigger(**options)


def test_nobody_cannot_be_watched():
    with pytest.raises(InvalidRequestError, match="Whose segments"):
        JourneySegmentChangeTrigger(segment_ids=["a"])


@pytest.mark.parametrize(
    "options",
    [
        {"segment_ids": []},
        {"segment_ids": ["a", ""]},
        {"segment_ids": ["a", 7]},
        {"segment_ids": ["{{ var.value.segment }}"]},
        {"external_contact_id": "{{ var.value.contact }}"},
        {"external_contact_id": " "},
        {"journey_conn_id": "{{ var.value.conn_id }}"},
    ],
)
def test_segments_that_cannot_be_watched_are_refused_when_the_dag_is_parsed(options):
    with pytest.raises(InvalidRequestError):
        JourneySegmentChangeTrigger(**{"external_contact_id": "somebody", **options})


def test_one_segment_is_named_as_for_the_sensor(watcher):
    assert watcher(segment_ids="only").serialize() == watcher(segment_ids=["only"]).serialize()
