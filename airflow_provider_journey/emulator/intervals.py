"""Intervals and granularities: from the request's texts to the edges of buckets."""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from airflow_provider_journey.emulator.clock import parse_instant
from airflow_provider_journey.emulator.errors import bad_request

_PERIOD = re.compile(
    r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?\Z"
)
_MOST_EDGES = 200_000


@dataclass(frozen=True)
class Period:
    """An ISO-8601 period: months and days go by the calendar of a zone, seconds by the clock.

    :param months: whole months.
    :param days: whole days.
    :param seconds: seconds.
    """

    months: int
    days: int
    seconds: int


def parse_interval(text: object) -> tuple[datetime, datetime]:
    """Read ``start/end``.

    :param text: the request's value.
    :returns: two aware datetimes, the first with the offset it was written with.
    :raises ServiceError: 400 when it is none, or ends before it begins.
    """
    parts = text.split("/") if isinstance(text, str) else []
    try:
        if len(parts) != 2:
            raise ValueError("an interval has a start and an end")
        start, end = parse_instant(parts[0]), parse_instant(parts[1])
    except ValueError as error:
        message = f"The interval is not start/end in ISO-8601: {error}"
        raise bad_request(message, "interval", "invalid.date") from error
    if end <= start:
        raise bad_request("The interval must end after it begins.", "interval", "invalid.date")
    return start, end


def parse_period(text: object) -> Period:
    """Read a granularity.

    :param text: the request's value.
    :returns: the period.
    :raises ServiceError: 400 when it is none, or lasts no time.
    """
    found = _PERIOD.match(text) if isinstance(text, str) else None
    years, months, weeks, days, hours, minutes, seconds = (
        (int(v or 0) for v in found.groups()) if found else [0] * 7
    )
    period = Period(years * 12 + months, weeks * 7 + days, hours * 3600 + minutes * 60 + seconds)
    if period == Period(0, 0, 0) or str(text).endswith("T"):
        raise bad_request(f"The granularity {text!r} is no ISO-8601 period.", "granularity", "invalid.value")
    return period


def parse_zone(text: object, fallback: tzinfo | None) -> tzinfo:
    """Read a time zone.

    :param text: IANA name; None for the fallback.
    :param fallback: the zone to count in when none is named.
    :returns: the zone.
    :raises ServiceError: 400 for an unknown name.
    """
    if text is None:
        return fallback or timezone.utc
    try:
        return ZoneInfo(str(text))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise bad_request(f"The time zone {text!r} is not known.", "timeZone", "invalid.value") from None


def edges(start: datetime, end: datetime, period: Period | None, zone: tzinfo) -> list[int]:
    """Cut an interval into buckets, beginning at its start.

    :param start: where it begins.
    :param end: where it ends; the last bucket is cut off there.
    :param period: a bucket's length; None for one bucket.
    :param zone: where calendar days and months are counted.
    :returns: ascending milliseconds since 1970, one more than there are buckets.
    :raises ServiceError: 400 when there would be too many to count.
    """
    first, last = _ms(start), _ms(end)
    found, step, edge = [], 1, first
    while edge < last and period is not None:
        found.append(edge)
        edge = max(edge + 1, _ms(_advance(start.astimezone(zone), period, step)))
        step += 1
        if len(found) > _MOST_EDGES:
            raise bad_request("The granularity is too fine for the interval.", "granularity", "invalid.value")
    return [*(found or [first]), last]


def _advance(start: datetime, period: Period, times: int) -> datetime:
    month = start.month - 1 + period.months * times
    year = start.year + month // 12
    if year >= 9998:
        return datetime(9998, 1, 1, tzinfo=timezone.utc)
    day = min(start.day, monthrange(year, month % 12 + 1)[1])
    # Arithmetic on a datetime with a zone moves the wall clock: that is a calendar day of 23 to 25 hours.
    wall = start.replace(year=year, month=month % 12 + 1, day=day, fold=0) + timedelta(
        days=period.days * times
    )
    return wall.astimezone(timezone.utc) + timedelta(seconds=period.seconds * times)


def _ms(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(milliseconds=1)
