"""Aggregates are really aggregated: parts add up to the whole, and what is distinct does not."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta, timezone
from itertools import pairwise

import pytest

from airflow_provider_journey.emulator.clock import Clock
from airflow_provider_journey.emulator.emulator import Emulator
from airflow_provider_journey.emulator.metrics import METRICS
from airflow_provider_journey.emulator.options import Options
from tests.emulator.asking import QUERY, Asker, entries, totals

ADDITIVE = [name for name in METRICS if not name.startswith("nDistinct")]
DAY = "2026-03-10T00:00:00Z/2026-03-11T00:00:00Z"


@pytest.fixture
def journey_emulator(start_journey_emulator):
    return start_journey_emulator(events=60_000)


@pytest.fixture
def asker(journey_emulator):
    return Asker(journey_emulator)


@pytest.mark.parametrize("granularity", ["PT15M", "PT1H", "PT7H"])
def test_buckets_sum_to_the_day(asker, granularity):
    day, parts = asker.query(DAY, *ADDITIVE), asker.query(DAY, *ADDITIVE, granularity=granularity)
    assert len(parts[0]["data"]) > 1
    assert totals(parts) == totals(day)
    assert totals(parts, "sum") == totals(day, "sum")
    assert set(totals(day)) == set(ADDITIVE)


def test_a_bucket_holds_what_its_own_interval_holds(asker):
    (day,) = asker.query(DAY, *ADDITIVE, granularity="PT1H")
    for data in day["data"][::5]:
        assert asker.query(data["interval"], *ADDITIVE) == [{"data": [data]}]


def test_adjacent_windows_sum_to_the_whole(asker):
    halves = ["2026-03-10T00:00:00Z/2026-03-10T12:34:56Z", "2026-03-10T12:34:56Z/2026-03-11T00:00:00Z"]
    parts = [asker.query(half, *ADDITIVE) for half in halves]
    assert totals(parts[0]) + totals(parts[1]) == totals(asker.query(DAY, *ADDITIVE))


@pytest.mark.parametrize(
    "group_by",
    [
        ["journeyActionMapId"],
        ["journeyDeviceCategory", "journeySegmentId"],
        ["touchpointQueueId", "journeyOutcomeId"],
    ],
)
def test_groups_sum_to_the_total(asker, group_by):
    grouped = asker.query(DAY, *ADDITIVE, groupBy=group_by)
    assert len(grouped) > 1
    assert totals(grouped) == totals(asker.query(DAY, *ADDITIVE))


def test_a_filter_and_its_opposites_partition_the_total(asker):
    devices = {
        e["group"]["journeyDeviceCategory"]
        for e in entries(asker.query(DAY, *ADDITIVE, groupBy=["journeyDeviceCategory"]))
    }
    assert len(devices) == 3
    parts = [
        asker.query(DAY, *ADDITIVE, filter=_matches("journeyDeviceCategory", device))
        for device in sorted(devices)
    ]
    assert sum(map(totals, parts), start=totals([])) == totals(asker.query(DAY, *ADDITIVE))
    assert all(parts)


def test_present_and_absent_partition_the_total(asker):
    both = [
        asker.query(
            DAY,
            *ADDITIVE,
            filter=_predicates("and", {"dimension": "journeyActionMapId", "operator": operator}),
        )
        for operator in ("exists", "notExists")
    ]
    assert totals(both[0]) + totals(both[1]) == totals(asker.query(DAY, *ADDITIVE))
    assert not set(totals(both[0])) & set(totals(both[1]))


def test_distinct_counts_do_not_add_up(asker):
    names = ["nDistinctJourneySessions", "nDistinctJourneyActions"]
    month = "2026-03-01T00:00:00Z/2026-04-01T00:00:00Z"
    day, groups = asker.query(month, *names), asker.query(month, *names, groupBy=["journeySegmentId"])
    days = asker.query(month, *names, granularity="P1D")
    assert totals(groups)["nDistinctJourneySessions"] > totals(day)["nDistinctJourneySessions"]
    assert totals(days)["nDistinctJourneySessions"] > totals(day)["nDistinctJourneySessions"]
    sessions = asker.query(month, "nJourneySessions", groupBy=["journeySessionId"])
    assert totals(day)["nDistinctJourneySessions"] == len(sessions)
    actions = asker.query(
        month, "nWebActionsQualified", "nJourneyActionsBlocked", groupBy=["journeyActionId"]
    )
    assert totals(day)["nDistinctJourneyActions"] >= len(actions) > 0


def test_clauses_nest_one_level(asker):
    first, second = _matches("journeyDeviceCategory", "mobile"), _matches("journeyDeviceCategory", "tablet")
    either = asker.query(DAY, *ADDITIVE, filter={"type": "or", "clauses": [first, second]})
    assert totals(either) == totals(asker.query(DAY, *ADDITIVE, filter=first)) + totals(
        asker.query(DAY, *ADDITIVE, filter=second)
    )
    assert asker.query(DAY, *ADDITIVE, filter={"type": "and", "clauses": [first, second]}) == []


def test_a_range_on_a_dimension_and_on_a_metric(asker):
    low = _predicates("and", {"dimension": "journeyActionMapVersion", "range": {"lt": 3}})
    versions = {
        e["group"]["journeyActionMapVersion"]
        for e in entries(
            asker.query(DAY, "nWebActionsOffered", groupBy=["journeyActionMapVersion"], filter=low)
        )
    }
    assert versions == {"1", "2"}
    dear = _predicates("and", {"type": "metric", "metric": "oJourneyOutcomeValue", "range": {"gte": 100}})
    (value,) = entries(asker.query(DAY, "oJourneyOutcomeValue", filter=dear))
    (every,) = entries(asker.query(DAY, "oJourneyOutcomeValue"))
    assert value["stats"]["min"] >= 100 > every["stats"]["min"]
    assert value["stats"]["count"] < every["stats"]["count"]


def test_views_count_what_lies_in_their_range(asker):
    views = [
        {"target": "oJourneyOutcomeValue", "name": name, "function": "rangeBound", "range": bounds}
        for name, bounds in (("cheap", {"lt": 100}), ("dear", {"gte": 100}))
    ]
    ((data,),) = [result["data"] for result in asker.query(DAY, "oJourneyOutcomeValue", views=views)]
    assert {view["name"] for view in data["views"]} == {"cheap", "dear"}
    assert sum(view["stats"]["count"] for view in data["views"]) == data["metrics"][0]["stats"]["count"]


def test_a_multivalued_dimension_is_flattened_only_when_asked(asker):
    apart = asker.query(DAY, "nJourneySessions", groupBy=["journeySessionSegmentId"])
    flat = asker.query(
        DAY, "nJourneySessions", groupBy=["journeySessionSegmentId"], flattenMultivaluedDimensions=True
    )
    total = totals(asker.query(DAY, "nJourneySessions"))
    assert totals(flat) == total
    assert totals(apart)["nJourneySessions"] > total["nJourneySessions"]
    assert any("," in group["group"].get("journeySessionSegmentId", "") for group in flat)
    assert not any("," in group["group"].get("journeySessionSegmentId", "") for group in apart)


def test_a_null_dimension_is_a_missing_key(asker):
    groups = [
        g["group"]
        for g in asker.query(DAY, "nJourneySessions", "nWebActionsOffered", groupBy=["journeyActionMapId"])
    ]
    assert {} in groups
    assert all(group.get("journeyActionMapId", "x") for group in groups)
    assert "group" not in asker.query(DAY, "nJourneySessions")[0]


def test_event_time_moves_events_between_buckets_but_not_between_days(asker):
    names = ["nWebActionsEngaged", "nWebActionsRejected"]
    reported = asker.query(DAY, *names, granularity="PT15M")
    happened = asker.query(DAY, *names, granularity="PT15M", alternateTimeDimension="eventTime")
    assert totals(reported) == totals(happened)
    assert reported != happened


def test_days_at_a_clock_change_have_23_and_25_hours(asker):
    def hours(interval):
        results = asker.query(interval, "nJourneySessions", granularity="P1D", timeZone="Europe/Berlin")
        return [(end - start) / timedelta(hours=1) for start, end in map(_ends, results[0]["data"])]

    assert hours("2026-03-28T00:00:00+01:00/2026-03-31T00:00:00+02:00") == [24, 23, 24]
    assert hours("2026-10-24T00:00:00+02:00/2026-10-27T00:00:00+01:00") == [24, 25, 24]


def test_a_local_day_is_that_of_the_offset(asker):
    local = asker.query("2026-03-10T00:00:00+05:30/2026-03-11T00:00:00+05:30", "nJourneySessions")
    same = asker.query("2026-03-09T18:30:00Z/2026-03-10T18:30:00.000Z", "nJourneySessions")
    assert local == same
    assert local[0]["data"][0]["interval"] == "2026-03-09T18:30:00.000Z/2026-03-10T18:30:00.000Z"


def test_months_and_weeks_follow_the_calendar(asker):
    quarter = "2026-01-01T00:00:00Z/2026-04-01T00:00:00Z"
    months = asker.query(quarter, "nJourneySessions", granularity="P1M")[0]["data"]
    assert [data["interval"][5:7] for data in months] == ["01", "02", "03"]
    weeks = asker.query(quarter, "nJourneySessions", granularity="P1W")
    assert len(weeks[0]["data"]) == 13
    assert totals(weeks)["nJourneySessions"] == sum(d["metrics"][0]["stats"]["count"] for d in months)


def test_a_window_of_nothing_is_an_empty_list(asker):
    assert asker.query("2099-01-01T00:00:00Z/2099-01-02T00:00:00Z", "nJourneySessions") == []


def test_what_is_still_to_come_does_not_exist(journey_emulator, asker):
    day = "2026-03-10T00:00:00Z/2026-03-11T00:00:00Z"
    whole = totals(asker.query(day, "nJourneySessions"))
    journey_emulator.set_clock("2026-03-10T12:00:00Z")
    assert 0 < totals(asker.query(day, "nJourneySessions"))["nJourneySessions"] < whole["nJourneySessions"]
    assert asker.query("2026-03-10T12:01:00Z/2026-03-11T00:00:00Z", "nJourneySessions") == []


def test_late_data_grows_until_a_day_is_four_days_old(start_journey_emulator):
    late, complete = start_journey_emulator(late_data=True), start_journey_emulator()
    asker = Asker(late)
    seen = []
    for day in range(11, 17):
        late.set_clock(f"2026-03-{day}T01:00:00Z")
        assert asker.query(DAY, *ADDITIVE) == asker.query(DAY, *ADDITIVE)
        seen.append(totals(asker.query(DAY, *ADDITIVE)))
    counts = [sum(found.values()) for found in seen]
    assert counts[0] < counts[1] < counts[2] < counts[3] == counts[4] == counts[5]
    assert all(now[name] >= before[name] for before, now in pairwise(seen) for name in now)
    assert seen[-1] == totals(Asker(complete).query(DAY, *ADDITIVE))


def test_a_day_is_the_same_whenever_the_emulator_was_started():
    def answer(started, contacts=50, seed=1):
        clock = Clock(lambda: datetime.fromisoformat(started).replace(tzinfo=timezone.utc).timestamp())
        emulator = Emulator(Options(contacts=contacts, events=9000, seed=seed), clock)
        query = {
            "interval": DAY,
            "metrics": list(METRICS),
            "groupBy": ["journeySessionId", "journeyActionMapId"],
        }
        try:
            return json.loads(asyncio.run(emulator.aggregates.answer(query)))
        finally:
            emulator.close()

    kept, made_on_request = answer("2026-03-11T05:00:00"), answer("2026-11-20T23:59:00")
    assert kept["results"]
    assert kept == made_on_request
    assert answer("2026-03-11T05:00:00", seed=2) != kept


def test_another_emulator_of_the_same_seed_answers_alike(start_journey_emulator):
    first, second = Asker(start_journey_emulator()), Asker(start_journey_emulator())
    more = {"granularity": "PT1H", "groupBy": ["journeySessionId", "journeyIpGeolocationCountry"]}
    assert first.query(DAY, *METRICS, **more) == second.query(DAY, *METRICS, **more) != []


def test_one_day_grouped_gives_thousands_of_rows_at_the_default_size(start_journey_emulator):
    asker = Asker(start_journey_emulator(contacts=1000, events=30_000))
    by = ["journeyActionMapId", "journeyDeviceCategory", "journeySegmentId", "journeyIpGeolocationCountry"]
    assert len(entries(asker.query(DAY, *METRICS, granularity="PT1H", groupBy=by))) > 2000


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"metrics": []}, "metrics"),
        ({"metrics": ["nWebActionsOfered"]}, "metrics"),
        ({"metrics": None}, "metrics"),
        ({"interval": None}, "interval"),
        ({"interval": "2026-03-10"}, "interval"),
        ({"interval": "2026-03-10/2026-03-09"}, "interval"),
        ({"interval": "2026-03-10T00:00:00Z/2026-13-09T00:00:00Z"}, "interval"),
        ({"granularity": "1 day"}, "granularity"),
        ({"granularity": "P0D"}, "granularity"),
        ({"granularity": "PT"}, "granularity"),
        ({"granularity": "PT1S", "interval": "2020-01-01/2026-01-01"}, "granularity"),
        ({"timeZone": "Europe/Atlantis"}, "timeZone"),
        ({"groupBy": ["journeyColour"]}, "groupBy"),
        ({"alternateTimeDimension": "arrival"}, "alternateTimeDimension"),
        ({"flattenMultivaluedDimensions": "yes"}, "flattenMultivaluedDimensions"),
        ({"filter": {"type": "xor", "predicates": []}}, "filter.type"),
        ({"filter": {"type": "and"}}, "filter"),
        (
            {"filter": {"type": "and", "predicates": [{"dimension": "journeyColour", "value": "x"}]}},
            "filter.dimension",
        ),
        ({"filter": {"type": "and", "predicates": [{"dimension": "journeySegmentId"}]}}, "filter.value"),
        (
            {
                "filter": {
                    "type": "and",
                    "predicates": [{"dimension": "journeySegmentId", "operator": "like"}],
                }
            },
            "filter.operator",
        ),
        (
            {"filter": {"type": "and", "clauses": [{"type": "or", "clauses": [{"type": "or"}]}]}},
            "filter.clauses",
        ),
        ({"views": [{}] * 11}, "views"),
        (
            {"views": [{"name": "v", "target": "oJourneyOutcomeValue", "function": "rangeBound"}]},
            "views.range",
        ),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_bad_query_names_its_field(asker, change, field):
    body = {"interval": DAY, "metrics": ["nJourneySessions"]} | change
    response = asker.ask("POST", QUERY, json=body)
    assert response.status_code == 400
    assert [detail["fieldName"] for detail in response.json()["details"]] == [field]


def test_too_many_buckets_are_refused_where_a_limit_is_set(journey_emulator, asker):
    journey_emulator.limits(max_buckets=23)
    body = {"interval": DAY, "metrics": ["nJourneySessions"], "granularity": "PT1H"}
    refused = asker.ask("POST", QUERY, json=body)
    assert (refused.status_code, refused.json()["limit"]["value"]) == (413, 23)
    half = "2026-03-10T00:00:00Z/2026-03-10T12:00:00Z"
    assert asker.ask("POST", QUERY, json=body | {"interval": half}).status_code == 200


def _ends(data):
    return [datetime.fromisoformat(text.replace("Z", "+00:00")) for text in data["interval"].split("/")]


def _predicates(kind, *predicates):
    return {"type": kind, "predicates": list(predicates)}


def _matches(dimension, value):
    return _predicates(
        "and", {"type": "dimension", "dimension": dimension, "operator": "matches", "value": value}
    )
