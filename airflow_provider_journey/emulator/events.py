"""What happened on the site: events that follow from seed, sizes and calendar day alone.

A day (UTC) is a number of visits of ten events each: the session's start, two segment assignments, the life
of one or two web actions, an outcome achieved, and its attribution. Everything is computed in SQL from two
64-bit numbers, one of the visit (``s``) and one of the event (``h``), so any day can be made at any time and
in any order. The trailing 30 days are kept in a table; others are made within the query that asks for them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import date, timedelta

import duckdb

from airflow_provider_journey.emulator.catalogue import Catalogue
from airflow_provider_journey.emulator.clock import Clock
from airflow_provider_journey.emulator.identity import number
from airflow_provider_journey.emulator.metrics import CODE
from airflow_provider_journey.emulator.options import Options

DAY_MS = 86_400_000
_EPOCH = date(1970, 1, 1)
_TRAILING = 30
_COMPLETE_AFTER = 4  # days: from this age on a day no longer grows
_WEEK = (1.10, 1.15, 1.10, 1.10, 1.05, 0.75, 0.75)  # Monday first; the mean is 1


@dataclass(frozen=True)
class Day:
    """A calendar day (UTC) to make events for.

    :param number: days since 1970.
    :param count: how many events it has once complete.
    """

    number: int
    count: int


class Events:
    """The event table and the SQL that makes more of it.

    :param catalogue: what events point at.
    :param options: seed, sizes, and whether data arrives late.
    :param clock: the emulator's clock.
    """

    def __init__(self, catalogue: Catalogue, options: Options, clock: Clock) -> None:
        self.catalogue = catalogue
        self._options = options
        self._clock = clock
        self.connection = duckdb.connect(config={"threads": min(4, os.cpu_count() or 1)})
        today = clock.ms() // DAY_MS
        self._kept = range(today - _TRAILING + 1, today + 1)
        days = [self.day(k) for k in self._kept]
        self.connection.execute(f"CREATE TABLE kept AS {self._made(days)}")

    def day(self, day_number: int) -> Day:
        """Say how much happens on a day.

        :param day_number: days since 1970.
        :returns: the day with its size.
        """
        weekday = (_EPOCH + timedelta(days=day_number)).weekday()
        noise = 0.9 + number(self._options.seed, "size", day_number) % 2001 / 10_000
        return Day(day_number, round(self._options.events / _TRAILING * _WEEK[weekday] * noise))

    def source(self, start_ms: int, end_ms: int) -> str:
        """Give SQL of the events that are visible now and may lie in an interval.

        :param start_ms: milliseconds since 1970 at which the interval begins.
        :param end_ms: milliseconds since 1970 at which it ends, exclusive.
        :returns: a SELECT with the columns of :meth:`_made`.
        """
        now = self._clock.ms()
        today = now // DAY_MS
        first, last = start_ms // DAY_MS, min((end_ms - 1) // DAY_MS, today)
        days = range(first, last + 1)
        missing = [self.day(k) for k in days if k not in self._kept]
        relation = f"SELECT * FROM kept WHERE day BETWEEN {first} AND {last}"  # noqa: S608 - two integers
        if missing:
            relation += f" UNION ALL {self._made(missing)}"
        visible = f"happened < {now}"
        if self._options.late_data:
            visible += f" AND late <= {today} - day"
        return f"SELECT * FROM ({relation}) WHERE {visible}"  # noqa: S608 - made of integers

    def _made(self, days: list[Day]) -> str:
        """Give SQL that makes days.

        Columns: ``day``, ``reported`` (the time that counts: for events of a web action, its beginning),
        ``happened`` (the event's own time; both in ms since 1970), ``m`` (code of the metric that counts it),
        ``contact``, ``act`` (the web action's number, null outside of actions), ``map`` (its action map's),
        ``cents``, ``late`` (days after which the event is known), ``s`` and ``h``.
        """
        rows = ", ".join(f"({day.number}, {day.count})" for day in days) or "(0, 0)"
        seed = self._options.seed
        last_ms = DAY_MS - 1
        return f"""
        SELECT day, day * {DAY_MS} + least(begun + at_offset, {last_ms}) AS reported,
            day * {DAY_MS} + least(begun + offset_ms, {last_ms}) AS happened,
            m::UTINYINT AS m, ((s >> 20) % {self._options.contacts})::UINTEGER AS contact, act,
            CASE WHEN act IS NOT NULL
                THEN (((s >> 40) & 255) + (act & 1) * 7) % {len(self.catalogue.action_maps)} END AS map,
            CASE WHEN slot >= 8 THEN (100 + h % 25000)::INTEGER END AS cents,
            CASE WHEN (h >> 50) % 10 < 6 THEN 0 ELSE 1 + (h >> 40) % {_COMPLETE_AFTER} END AS late, s, h
        FROM (
            SELECT *, {_metric_sql()} AS m,
                CASE WHEN slot BETWEEN 3 AND 7 THEN (day * 10000000 + visit) * 2 + second END AS act,
                (((s & 65535) + ((s >> 16) & 65535)) * {DAY_MS} // 131072)::BIGINT AS begun,
                (slot * 37000 + h % 30000)::BIGINT AS offset_ms,
                (CASE WHEN slot BETWEEN 3 AND 7 THEN (3 + 3 * second) * 37000
                    ELSE slot * 37000 + h % 30000 END)::BIGINT AS at_offset
            FROM (
                SELECT *, CASE WHEN slot >= 6 AND (s >> 32) & 255 >= 128 THEN 1 ELSE 0 END AS second
                FROM (
                    SELECT day, i // 10 AS visit, i % 10 AS slot,
                        md5_number_lower(concat_ws(':', {seed}, day, 'visit', i // 10)) AS s,
                        md5_number_lower(concat_ws(':', {seed}, day, 'event', i)) AS h
                    FROM (
                        SELECT day::BIGINT AS day, unnest(range(n)) AS i FROM (VALUES {rows}) AS days(day, n)
                    )
                )
            )
        )"""  # noqa: S608 - made of integers


def _metric_sql() -> str:
    """Give the code of the metric that counts an event, by its place in the visit and by chance."""
    c = CODE
    accepted = "(s >> 32) & 255 < 128"
    return f"""CASE slot
        WHEN 0 THEN {c["nJourneySessions"]}
        WHEN 1 THEN {c["nJourneySegmentsAssigned"]}
        WHEN 2 THEN {c["nJourneySegmentsAssigned"]}
        WHEN 3 THEN {c["nWebActionsQualified"]}
        WHEN 4 THEN {c["nWebActionsOffered"]}
        WHEN 5 THEN CASE WHEN {accepted} THEN {c["nWebActionsAccepted"]}
            WHEN (s >> 32) & 255 < 180 THEN {c["nWebActionsRejected"]}
            WHEN (s >> 32) & 255 < 220 THEN {c["nWebActionsIgnored"]} ELSE {c["nWebActionsTimedout"]} END
        WHEN 6 THEN CASE WHEN {accepted} THEN {c["nWebActionsStarted"]}
            WHEN h & 255 < 90 THEN {c["nJourneyActionsBlocked"]}
            WHEN h & 255 < 180 THEN {c["nWebActionsFrequencyCapReached"]}
            ELSE {c["nWebActionsQualifiedOutsideSchedule"]} END
        WHEN 7 THEN CASE WHEN {accepted} AND h & 255 < 160 THEN {c["nWebActionsEngaged"]}
            WHEN {accepted} AND h & 255 < 230 THEN {c["nWebActionsAbandoned"]}
            WHEN {accepted} THEN {c["nWebActionsErrored"]} ELSE {c["nWebActionsOfferedOutsideSchedule"]} END
        WHEN 8 THEN {c["nJourneyOutcomesAchieved"]}
        ELSE {c["nJourneyOutcomesAttributed"]} END"""
