"""Windows of time, and the periods a calendar divides it into: days of 23 and 25 hours included."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache

import pendulum
from pendulum import UTC, DateTime, Duration, Timezone

_SECONDS_A_DAY = 86_400


@dataclass(frozen=True)
class Window:
    """A half-open stretch of time; both ends are instants in UTC."""

    start: DateTime
    end: DateTime

    @classmethod
    def of(cls, start: datetime, end: datetime) -> Window:
        """Return the window from ``start`` to ``end``, whatever their zones are."""
        return cls(pendulum.instance(start).in_timezone(UTC), pendulum.instance(end).in_timezone(UTC))

    @property
    def seconds(self) -> float:
        """Its length in seconds that pass, not as the clock on the wall counts them."""
        return (self.end - self.start).total_seconds()

    def text(self, zone: Timezone) -> str:
        """Return the ISO-8601 interval ``start/end``, each with the offset that ``zone`` has then."""
        return "/".join(
            instant.in_timezone(zone).isoformat().replace("+00:00", "Z") for instant in (self.start, self.end)
        )


@dataclass(frozen=True)
class Period:
    """The length of a partition or a bucket: a day, a week, a month, or a part of a day.

    :param text: the ISO-8601 period.
    :param months: 1 for a month, else 0.
    :param days: 1 for a day, 7 for a week, else 0.
    :param seconds: the length of a part of a day, else 0.
    """

    text: str
    months: int = 0
    days: int = 0
    seconds: int = 0

    @classmethod
    def of(cls, text: str, length: Duration) -> Period:
        """Return the period of ``length``, written ``text``.

        :raises ValueError: it is none of those lengths.
        """
        months, days = length.years * 12 + length.months, length.weeks * 7 + length.remaining_days
        seconds = length.hours * 3600 + length.minutes * 60 + length.remaining_seconds
        part_of_a_day = 0 < seconds < _SECONDS_A_DAY and not (_SECONDS_A_DAY % seconds or length.microseconds)
        if ((months, days, seconds) in ((1, 0, 0), (0, 1, 0), (0, 7, 0))) or (
            part_of_a_day and (months, days) == (0, 0)
        ):
            return cls(text, months, days, seconds)
        raise ValueError(f"{text!r} is not P1D, P1W, P1M or a time that divides a day, such as PT1H or PT6H.")

    @property
    def in_days(self) -> bool:
        """Whether it is made of whole days."""
        return not self.seconds

    def divides(self, other: Period) -> bool:
        """Return whether whole periods of this length always make up one of the ``other``."""
        if self.seconds:
            return other.in_days or other.seconds % self.seconds == 0
        if (self.months, self.days) == (0, 1):
            return other.in_days
        return (self.months, self.days, self.seconds) == (other.months, other.days, other.seconds)


@dataclass(frozen=True)
class Calendar:
    """Time divided into periods as the clocks of a zone show it.

    Weeks begin on Monday. Parts of a day are counted on the wall clock from midnight; an hour that comes
    twice is two of them.
    """

    period: Period
    zone: Timezone

    def start_of(self, instant: DateTime) -> DateTime:
        """Return the beginning of the period in which ``instant`` lies."""
        day = self._first_day(instant.in_timezone(self.zone).date())
        if self.period.seconds:
            boundaries = _parts_of_day(self.zone, day, self.period.seconds)
            found = boundaries[max(bisect_right(boundaries, instant) - 1, 0)]
        else:
            found = midnight(self.zone, day)
        # Where a clock went back over midnight, a day's last hour comes again after the next day has begun.
        while (following := self.after(found)) <= instant:
            found = following
        return found

    def after(self, start: DateTime) -> DateTime:
        """Return the end of the period that begins at ``start``."""
        day: date = start.in_timezone(self.zone).date()
        if self.period.seconds:
            boundaries = _parts_of_day(self.zone, day, self.period.seconds)
            index = bisect_right(boundaries, start)
            if index < len(boundaries):
                return boundaries[index]
        while (following := midnight(self.zone, day := self._next_day(day))) <= start:
            pass  # a day that a zone left out has no length
        return following

    def before(self, start: DateTime) -> DateTime:
        """Return the beginning of the period that ends at ``start``."""
        return self.start_of(start.subtract(microseconds=1))

    def split(self, window: Window) -> list[Window]:
        """Return the periods that cover ``window``, which it fills or is widened to."""
        found = []
        start = self.start_of(window.start)
        while start < window.end:
            end = self.after(start)
            found.append(Window(start, end))
            start = end
        return found

    def key(self, part: Window) -> str:
        """Return the name of a period: its local date, or for a part of a day its beginning in UTC."""
        if self.period.in_days:
            return part.start.in_timezone(self.zone).date().isoformat()
        return part.start.strftime("%Y-%m-%dT%H%MZ")

    def _first_day(self, day: date) -> date:
        if self.period.months:
            return day.replace(day=1)
        return day - timedelta(days=day.weekday()) if self.period.days == 7 else day

    def _next_day(self, day: date) -> date:
        if self.period.months:
            return (day.replace(day=1) + timedelta(days=32)).replace(day=1)
        return day + timedelta(days=self.period.days or 1)


def midnight(zone: Timezone, day: date) -> DateTime:
    """Return the first instant of a local day, in UTC.

    Where the clock goes back over midnight, as in the Azores every autumn, that is the first of two; where it
    goes forward over midnight, as there every spring, it is the first instant after the gap.
    """
    first = pendulum.datetime(day.year, day.month, day.day, tz=zone, fold=0)
    if first.date() < day:
        first = pendulum.datetime(day.year, day.month, day.day, tz=zone, fold=1)
    return first.in_timezone(UTC)


@lru_cache(maxsize=512)
def _parts_of_day(zone: Timezone, day: date, seconds: int) -> list[DateTime]:
    """Return where the parts of a local day begin, in order."""
    begin, end = midnight(zone, day), midnight(zone, day + timedelta(days=1))
    if (end - begin).total_seconds() == _SECONDS_A_DAY:
        return [begin.add(seconds=offset) for offset in range(0, _SECONDS_A_DAY, seconds)]
    found = {begin}
    for offset in range(0, _SECONDS_A_DAY, seconds):
        wall = datetime.combine(day, datetime.min.time()) + timedelta(seconds=offset)
        for fold in (0, 1):
            instant = pendulum.instance(wall.replace(tzinfo=zone, fold=fold)).in_timezone(UTC)
            exists = instant.in_timezone(zone).naive() == wall
            if exists and begin <= instant < end:
                found.add(instant)
    return sorted(found)
