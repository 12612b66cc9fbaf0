"""Intervals, partitions and requests, across clock changes in both directions."""

import pendulum
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_journey.aggregates import windows
from airflow_provider_journey.aggregates.calendars import Calendar, Period, Window

LATER = pendulum.datetime(2100, 1, 1)


def calendar(period="P1D", zone="UTC"):
    return Calendar(Period.of(period, windows.parse_period(period)), windows.parse_zone(zone))


def window(text, zone="UTC"):
    return windows.parse_interval(text, windows.parse_zone(zone))


def texts(parts, zone="UTC"):
    return [part.text(windows.parse_zone(zone)) for part in parts]


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2026-11-22/2026-11-23", "UTC", "2026-11-22T00:00:00Z/2026-11-23T00:00:00Z"),
        ("2026-11-22/P1D", "Europe/Berlin", "2026-11-21T23:00:00Z/2026-11-22T23:00:00Z"),
        ("2026-11-22T00:00:00+01:00/PT6H", "UTC", "2026-11-21T23:00:00Z/2026-11-22T05:00:00Z"),
        ("2026-11-22T10:00:00/2026-11-22T11:30:00Z", "UTC", "2026-11-22T10:00:00Z/2026-11-22T11:30:00Z"),
        ("20261122T000000/P1M", "UTC", "2026-11-22T00:00:00Z/2026-12-22T00:00:00Z"),
        ("2026-03-29/P1D", "Europe/Berlin", "2026-03-28T23:00:00Z/2026-03-29T22:00:00Z"),
        ("2026-03-29/PT24H", "Europe/Berlin", "2026-03-28T23:00:00Z/2026-03-29T22:00:00Z"),
        ("2026-03-29T00:00:00/PT23H", "Europe/Berlin", "2026-03-28T23:00:00Z/2026-03-29T22:00:00Z"),
        ("2026-10-25/P1D", "Europe/Berlin", "2026-10-24T22:00:00Z/2026-10-25T23:00:00Z"),
        # Where the clock goes forward over midnight the day begins at one; where it goes back, at the first of two.
        ("2026-03-29/P2D", "Atlantic/Azores", "2026-03-29T01:00:00Z/2026-03-31T00:00:00Z"),
        ("2026-10-25/P1D", "Atlantic/Azores", "2026-10-25T00:00:00Z/2026-10-26T01:00:00Z"),
    ],
)
def test_intervals_are_read(text, zone, expected):
    assert texts([window(text, zone)]) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22",
        "",
        "/",
        "None/None",
        "now/P1D",
        "12:00/13:00",
        "2026-11-23/2026-11-22",
        "2026-11-22/2026-11-22",
        "2026-11-22/P0D",
        "9999-12-31/P2D",
        "P1D/2026-11-22",
        "2026-13-01/P1D",
        "2026-11-22/2026-11-23/2026-11-24",
        None,
        5,
    ],
)
def test_what_is_no_interval_is_refused(text):
    with pytest.raises(ValueError, match=r".") as caught:
        windows.parse_interval(text, pendulum.UTC)
    assert repr(text)[1:-1].split("/")[0] in str(caught.value)


@pytest.mark.parametrize("text", ["P2D", "P1Y", "PT7M", "PT25H", "P1DT1H", "PT0.5S", "PT1.5S", "P2M"])
def test_what_is_no_partition_is_refused(text):
    with pytest.raises(ValueError, match="divides a day"):
        calendar(text)


@pytest.mark.parametrize(
    ("granularity", "period", "divides"),
    [
        ("PT15M", "P1D", True),
        ("PT15M", "PT1H", True),
        ("PT45M", "PT1H", False),
        ("PT45M", "P1M", True),
        ("P1D", "P1W", True),
        ("P1D", "P1M", True),
        ("P1D", "PT6H", False),
        ("P1W", "P1W", True),
        ("P1W", "P1M", False),
        ("P1M", "P1W", False),
        ("P1M", "P1D", False),
        ("PT1H", "PT1H", True),
    ],
)
def test_granularity_divides_the_partition_or_not(granularity, period, divides):
    assert calendar(granularity).period.divides(calendar(period).period) is divides


@pytest.mark.parametrize(
    ("period", "zone", "around", "hours", "keys"),
    [
        ("P1D", "Europe/Berlin", "2026-03-29/P1D", [23], ["2026-03-29"]),
        ("P1D", "Europe/Berlin", "2026-10-25/P1D", [25], ["2026-10-25"]),
        ("P1D", "Australia/Lord_Howe", "2026-04-05/P1D", [24.5], ["2026-04-05"]),
        ("P1D", "Atlantic/Azores", "2026-10-25/P1D", [25], ["2026-10-25"]),
        ("P1D", "Atlantic/Azores", "2026-03-29/P1D", [23], ["2026-03-29"]),
        # Samoa left out 30 December 2011.
        ("P1D", "Pacific/Apia", "2011-12-29/2012-01-01", [24, 24], ["2011-12-29", "2011-12-31"]),
        ("P1W", "Europe/Berlin", "2026-10-21/P1D", [24 * 7 + 1], ["2026-10-19"]),
        ("P1M", "Europe/Berlin", "2026-03-15/P1D", [24 * 31 - 1], ["2026-03-01"]),
        (
            "PT6H",
            "Europe/Berlin",
            "2026-03-29/P1D",
            [5, 6, 6, 6],
            ["2026-03-28T2300Z", "2026-03-29T0400Z", "2026-03-29T1000Z", "2026-03-29T1600Z"],
        ),
        (
            "PT1H",
            "Europe/Berlin",
            "2026-10-25T01:00:00+02:00/2026-10-25T04:00:00+01:00",
            [1, 1, 1, 1],
            ["2026-10-24T2300Z", "2026-10-25T0000Z", "2026-10-25T0100Z", "2026-10-25T0200Z"],
        ),
        (
            "PT1H",
            "Asia/Kolkata",
            "2026-10-25T01:00:00/PT2H",
            [1, 1],
            ["2026-10-24T1930Z", "2026-10-24T2030Z"],
        ),
    ],
)
def test_partitions_are_those_of_the_zone(period, zone, around, hours, keys):
    found = calendar(period, zone).split(window(around, zone))
    assert [part.seconds / 3600 for part in found] == hours
    assert [calendar(period, zone).key(part) for part in found] == keys


def test_a_day_may_go_back_over_midnight():
    # St. John's once changed its clocks at a minute past midnight: a minute of the next day came before its hour.
    days = calendar("P1D", "America/St_Johns")
    repeated = pendulum.datetime(2010, 11, 7, 2, 45)
    assert repeated.in_timezone("America/St_Johns").date().isoformat() == "2010-11-06"
    part = days.split(Window(repeated, repeated.add(minutes=1)))
    assert part[0].start <= repeated < part[0].end
    assert len(part) == 1


@settings(max_examples=150, deadline=None)
@given(
    zone=st.sampled_from(
        [
            "UTC",
            "Europe/Berlin",
            "Atlantic/Azores",
            "Australia/Lord_Howe",
            "America/Havana",
            "Africa/Casablanca",
        ]
    ),
    period=st.sampled_from(["P1D", "P1W", "P1M", "PT1H", "PT6H", "PT90M"]),
    start=st.datetimes(
        pendulum.naive(2025, 1, 1), pendulum.naive(2027, 1, 1), timezones=st.just(pendulum.UTC)
    ),
    hours=st.integers(1, 24 * 40),
)
def test_partitions_and_requests_cover_the_window_once(zone, period, start, hours):
    asked = Window.of(start, pendulum.instance(start).add(hours=hours))
    periods = calendar(period, zone)
    parts = periods.split(asked)
    assert parts[0].start <= asked.start < parts[0].end
    assert parts[-1].start < asked.end <= parts[-1].end
    assert [part.end for part in parts[:-1]] == [part.start for part in parts[1:]]
    assert all(periods.start_of(part.start) == part.start for part in parts)
    assert len({periods.key(part) for part in parts}) == len(parts)
    assert periods.before(parts[0].end) == parts[0].start
    whole = Window(parts[0].start, parts[-1].end)
    asks = windows.requests(whole, periods)
    assert [asks[0].start, *(ask.end for ask in asks)] == [*(ask.start for ask in asks), whole.end]
    starts = {part.start for part in parts}
    assert all(ask.start in starts for ask in asks)


def test_one_request_asks_for_the_whole_window():
    asked = window("2026-10-26/2026-11-23", "Europe/Berlin")
    assert windows.requests(asked, calendar("P1D", "Europe/Berlin")) == [asked]
    assert windows.requests(window("2026-01-01/2027-01-01"), calendar("PT1H")) == [
        window("2026-01-01/2027-01-01")
    ]


@pytest.mark.parametrize(
    ("granularity", "asked", "expected"),
    [
        (
            "P1D",
            "2026-10-20/2026-10-30",
            [
                "2026-10-20T00:00:00+02:00/2026-10-25T00:00:00+02:00",
                "2026-10-25T00:00:00+02:00/2026-10-26T00:00:00+01:00",
                "2026-10-26T00:00:00+01:00/2026-10-30T00:00:00+01:00",
            ],
        ),
        (
            "PT1H",
            "2026-03-28/2026-03-31",
            [
                "2026-03-28T00:00:00+01:00/2026-03-29T00:00:00+01:00",
                "2026-03-29T00:00:00+01:00/2026-03-30T00:00:00+02:00",
                "2026-03-30T00:00:00+02:00/2026-03-31T00:00:00+02:00",
            ],
        ),
        (
            "PT6H",
            "2026-03-29/2026-03-31",
            [
                "2026-03-29T00:00:00+01:00/2026-03-29T06:00:00+02:00",
                "2026-03-29T06:00:00+02:00/2026-03-30T00:00:00+02:00",
                "2026-03-30T00:00:00+02:00/2026-03-31T00:00:00+02:00",
            ],
        ),
        (
            "P1M",
            "2026-09-01/2027-01-01",
            [
                "2026-09-01T00:00:00+02:00/2026-10-01T00:00:00+02:00",
                "2026-10-01T00:00:00+02:00/2026-11-01T00:00:00+01:00",
                "2026-11-01T00:00:00+01:00/2027-01-01T00:00:00+01:00",
            ],
        ),
    ],
)
def test_the_day_of_a_clock_change_is_asked_alone(granularity, asked, expected):
    zone = "Europe/Berlin"
    found = windows.requests(window(asked, zone), calendar(granularity, zone))
    assert texts(found, zone) == expected


def test_halves_are_cut_between_buckets():
    week = window("2026-11-16/P7D")
    first, second = windows.halves(week, calendar("P1D"))
    assert texts([first, second]) == [
        "2026-11-16T00:00:00Z/2026-11-19T00:00:00Z",
        "2026-11-19T00:00:00Z/2026-11-23T00:00:00Z",
    ]
    assert windows.halves(window("2026-11-16/P1D"), calendar("P1D")) is None


def default(zone="UTC", **run):
    given_times = {"data_interval": (None, None), "logical_date": None, "run_after": None} | run
    found = windows.default_window(calendar("P1D", zone), **given_times)
    return texts([found], zone)[0]


NIGHT = pendulum.datetime(2026, 11, 23, 2)


def test_a_run_with_a_data_interval_means_it():
    assert (
        default(data_interval=(NIGHT, NIGHT.add(hours=6)), logical_date=NIGHT, run_after=NIGHT)
        == "2026-11-23T02:00:00Z/2026-11-23T08:00:00Z"
    )


@pytest.mark.parametrize(
    "run",
    [
        {"data_interval": (NIGHT, NIGHT), "logical_date": NIGHT, "run_after": NIGHT.add(days=9)},
        {"logical_date": NIGHT, "run_after": NIGHT.add(days=9)},
        {"run_after": NIGHT},
    ],
    ids=["cron", "logical date", "asset or REST"],
)
def test_a_run_without_one_means_the_last_whole_day(run):
    assert default(**run) == "2026-11-22T00:00:00Z/2026-11-23T00:00:00Z"


def test_the_last_whole_day_is_one_of_the_zone():
    assert (
        default("America/New_York", run_after=NIGHT) == "2026-11-21T00:00:00-05:00/2026-11-22T00:00:00-05:00"
    )
    midnight = pendulum.datetime(2026, 3, 30, tz="Europe/Berlin")
    assert (
        default("Europe/Berlin", run_after=midnight) == "2026-03-29T00:00:00+01:00/2026-03-30T00:00:00+02:00"
    )


def test_a_run_without_any_date_needs_an_interval():
    with pytest.raises(ValueError, match="give the operator an interval"):
        default()


def partitions(asked, now=LATER, zone="UTC", period="P1D", **options):
    periods = calendar(period, zone)
    return [
        periods.key(part) for part in windows.partitions(window(asked, zone), periods, now=now, **options)
    ]


def test_a_partial_window_is_widened():
    assert partitions("2026-11-21T23:00:00/2026-11-22T01:00:00") == ["2026-11-21", "2026-11-22"]


def test_lookback_goes_back_from_the_widened_window():
    assert partitions("2026-03-01/P1D", lookback=2) == ["2026-02-27", "2026-02-28", "2026-03-01"]
    assert partitions("2026-03-15/P1D", period="P1M", lookback=1) == ["2026-02-01", "2026-03-01"]


def test_an_open_partition_is_left_out_unless_it_is_wanted():
    now = pendulum.datetime(2026, 11, 22, 23, tz="UTC")
    asked = "2026-11-21/2026-11-25"
    assert partitions(asked, now) == ["2026-11-21"]
    assert partitions(asked, now, include_open=True) == ["2026-11-21", "2026-11-22"]
    # Midnight has passed in Berlin.
    assert partitions(asked, now, "Europe/Berlin") == ["2026-11-21", "2026-11-22"]
    assert partitions("2026-11-22/P1D", now) == []
    assert partitions("2026-11-22/P1D", now.add(hours=1)) == ["2026-11-22"]
