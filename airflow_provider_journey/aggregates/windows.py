"""Which stretch of time is asked for: intervals, periods, partitions and requests, in the days of a zone.

Instants are kept in UTC throughout: two datetimes of one zone compare by what the clock on the wall says,
which is wrong on a day with a repeated hour. The zone comes in where a calendar is needed, for what a day is
and for how a window is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime

import pendulum
from pendulum import Date, DateTime, Duration, Timezone

from airflow_provider_journey.aggregates.calendars import Calendar, Period, Window, midnight

_DAY = Period("P1D", days=1)
_NO_COLON = re.compile(r"T(\d\d)(\d\d)(?!\d)")
# What a partition key names by what it leaves out, in the words of Airflow's mappers too.
_NAMED = (
    (re.compile(r"\d{4}"), Duration(years=1)),
    (re.compile(r"\d{4}-\d\d"), Duration(months=1)),
    (re.compile(r"\d{4}-?W\d\d|.+ \(W\d\d\)"), Duration(weeks=1)),
    (re.compile(r"\d{4}-\d\d-\d\d|\d{8}"), Duration(days=1)),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d"), Duration(hours=1)),
)


def parse_zone(name: str) -> Timezone:
    """Return the time zone called ``name``.

    :param name: an IANA name such as ``Europe/Berlin``.
    :raises ValueError: there is no such zone.
    """
    try:
        if isinstance(name, str):  # of a number it would make an offset
            return pendulum.timezone(name)
        raise ValueError
    except (ValueError, OSError):  # a part of a name is a folder
        raise ValueError(f"{name!r} is not an IANA time zone such as 'Europe/Berlin'.") from None


def parse_period(text: str) -> Duration:
    """Return the length that an ISO-8601 period such as ``PT1H`` or ``P1D`` means.

    :raises ValueError: it is not a period, or not longer than nothing.
    """
    parsed = _parse(text)
    if not isinstance(parsed, Duration):
        raise ValueError(f"{text!r} is not an ISO-8601 period such as 'PT1H' or 'P1D'.")
    begin = pendulum.datetime(2000, 1, 1)
    try:
        end = begin + parsed
    except OverflowError:
        raise ValueError(f"the period {text!r} leaves the calendar.") from None
    if end <= begin:
        raise ValueError(f"the period {text!r} is not longer than nothing.")
    return parsed


def parse_interval(text: str, zone: Timezone) -> Window:
    """Return the window that an ISO-8601 interval means.

    :param text: ``start/end`` or ``start/period``; a date, or a time without an offset, is meant in ``zone``.
    :param zone: the query's time zone.
    :raises ValueError: it is no interval, or ends before it begins.
    """
    start_text, slash, end_text = text.partition("/") if isinstance(text, str) else ("", "", "")
    if not slash:
        raise ValueError(f"{text!r} is not an ISO-8601 interval 'start/end' or 'start/period'.")
    start, end = _parse(start_text, zone), _parse(end_text, zone)
    if not isinstance(start, Date):
        raise ValueError(f"{start_text!r}, the start of {text!r}, is not an ISO-8601 date or time.")
    if not isinstance(end, Date | Duration):
        raise ValueError(f"{end_text!r}, the end of {text!r}, is not an ISO-8601 date, time or period.")
    try:
        window = Window.of(_instant(start, zone), _instant(_after(start, end, zone), zone))
    except OverflowError:
        raise ValueError(f"{text!r} leaves the calendar.") from None
    if window.end <= window.start:
        raise ValueError(f"{text!r} does not end after it begins.")
    return window


def partitions_of(key: str, calendar: Calendar) -> Window:
    """Return what an asset's partition key means: one partition, unless it names a longer stretch.

    :param key: a date, a week, a month, a year or a time, such as ``2026-11-22``, ``2026-11`` or
        ``2026-11-22T06:00:00``; one without an offset is meant in the calendar's zone. What follows in
        brackets, as in ``2026-11-16 (W47)``, names the week that begins then.
    :raises ValueError: it is none.
    """
    # Parts of a day are called by a time without a colon, which not every store takes in a name.
    point = _parse(_NO_COLON.sub(r"T\1:\2", key.partition(" (")[0]), calendar.zone)
    if not isinstance(point, Date):
        raise ValueError(f"the run's partition key {key!r} is not a date or time.")
    start = calendar.start_of(pendulum.instance(_instant(point, calendar.zone)))
    end = calendar.after(start)
    for form, length in _NAMED:
        if form.fullmatch(key):
            named = _instant(_after(point, length, calendar.zone), calendar.zone)
            while end < named:
                end = calendar.after(end)
    return Window(start, end)


def default_window(
    calendar: Calendar,
    *,
    data_interval: tuple[datetime | None, datetime | None],
    logical_date: datetime | None,
    run_after: datetime | None,
) -> Window:
    """Return the window that a run means which was given none.

    The run's data interval where it has one that is not empty. Otherwise, as for Airflow 3's cron schedules
    and for runs by hand, through REST or by an asset, the last whole period that ends at or before the
    logical date (before ``run_after`` where a run has none).

    :param calendar: periods and zone, for the last whole period.
    :raises ValueError: the run has neither a data interval nor a date.
    """
    start, end = data_interval
    if start is not None and end is not None and start < end:
        return Window.of(start, end)
    at = logical_date or run_after
    if at is None:
        raise ValueError("the run has neither a data interval nor a date: give the operator an interval.")
    end_of_last = calendar.start_of(pendulum.instance(at))
    return Window(calendar.before(end_of_last), end_of_last)


def partitions(
    window: Window, calendar: Calendar, *, now: datetime, lookback: int = 0, include_open: bool = False
) -> list[Window]:
    """Return the partitions to extract for ``window``, oldest first and without a gap.

    :param window: widened outwards to whole partitions.
    :param calendar: what a partition is.
    :param now: a partition that ends after this instant is open.
    :param lookback: how many partitions before the window are taken along.
    :param include_open: whether a partition that has begun but not ended is taken.
    """
    whole = calendar.split(window)
    for _ in range(lookback):
        whole.insert(0, Window(calendar.before(whole[0].start), whole[0].start))
    return [part for part in whole if (part.start < now if include_open else part.end <= now)]


def requests(window: Window, granularity: Calendar) -> list[Window]:
    """Return the windows of the requests that together ask for ``window``: one, wherever possible.

    A day (week, month) in which the clock changes is asked alone, and so is a bucket in it of a length of its
    own: nothing then hangs on where the service ends a bucket when the clock changes.

    :param window: begins and ends with a bucket of ``granularity``.
    """
    days = Calendar(_DAY, granularity.zone)
    units = granularity if granularity.period.in_days else days
    length = granularity.period.seconds
    found: list[Window] = []
    for unit in _joined(units.split(window), lambda unit: not _clock_changes(unit, days)):
        part = Window(max(unit.start, window.start), min(unit.end, window.end))
        if granularity.period.in_days or not _clock_changes(unit, days):
            found.append(part)
        else:
            found += _joined(granularity.split(part), lambda bucket: bucket.seconds == length)
    return found


def halves(window: Window, granularity: Calendar) -> tuple[Window, Window] | None:
    """Return ``window`` cut between two buckets near its middle, or ``None`` where it is a single one."""
    buckets = granularity.split(window)
    if len(buckets) < 2:
        return None
    middle = buckets[len(buckets) // 2].start
    return Window(window.start, middle), Window(middle, window.end)


def _joined(parts: list[Window], regular: Callable[[Window], bool]) -> list[Window]:
    """Return ``parts`` with neighbours made one where both are ``regular``."""
    found: list[Window] = []
    open_end = False
    for part in parts:
        joins = regular(part)
        if joins and open_end:
            found[-1] = Window(found[-1].start, part.end)
        else:
            found.append(part)
        open_end = joins
    return found


def _clock_changes(window: Window, days: Calendar) -> bool:
    """Return whether the zone's UTC offset changes between two midnights of ``window``."""
    offsets = {
        instant.in_timezone(days.zone).utcoffset()
        for day in days.split(window)
        for instant in (day.start, day.end)
    }
    return len(offsets) > 1


def _parse(text: str, zone: Timezone = pendulum.UTC) -> Date | Duration | None:
    # pendulum also reads "now" and bare times of day, which mean another instant whenever they are read, and
    # whole intervals, which it takes for a period.
    if not isinstance(text, str) or not text[:1].isalnum() or text.lower() == "now" or "/" in text:
        return None
    try:
        parsed = pendulum.parse(text, tz=zone, exact=True)
    except (ValueError, OverflowError):
        return None
    return parsed if isinstance(parsed, Date | Duration) else None


def _instant(point: Date, zone: Timezone) -> DateTime:
    return point if isinstance(point, DateTime) else midnight(zone, point)


def _after(start: Date, end: Date | Duration, zone: Timezone) -> Date:
    if not isinstance(end, Duration):
        return end
    # Whole days after a date end with a date: the days of a zone do not all begin at the same hour.
    whole_days = not end.hours and not end.minutes and not end.remaining_seconds
    return (
        start + end
        if whole_days and not isinstance(start, DateTime)
        else _instant(start, zone).in_timezone(zone) + end
    )
