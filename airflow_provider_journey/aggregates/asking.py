"""What to extract, and asking for it: as few requests as possible, halved where an answer is too large."""

from __future__ import annotations

import copy
import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_provider_journey.aggregates import windows
from airflow_provider_journey.aggregates.answers import RowTable
from airflow_provider_journey.aggregates.calendars import Calendar, Window
from airflow_provider_journey.aggregates.query import AggregateQuery
from airflow_provider_journey.aggregates.rows import RowShape
from airflow_provider_journey.api import operations
from airflow_provider_journey.api.errors import InvalidRequestError, JourneyError, ResponseError, ServerError

if TYPE_CHECKING:
    from airflow_provider_journey.api.client import JourneyClient

# What a 400 says that a smaller request would not be answered with; limits and codes are not documented.
_TOO_LARGE = re.compile(
    r"too[ ._-]?(large|many|long|big|wide)|exceed|maximum|\bmax\b|\blimit|smaller|shorter|narrow",
    re.IGNORECASE,
)
Report: TypeAlias = Callable[[str], None]


@dataclass(frozen=True)
class Extract:
    """What to extract.

    :param query: what to ask, without an interval.
    :param partitions: the partitions to replace, oldest first, without a gap.
    :param calendar: what a partition is.
    :param granularity: what a bucket is; divides the partition.
    :param shape: the columns of the rows.
    """

    query: AggregateQuery
    partitions: Sequence[Window]
    calendar: Calendar
    granularity: Calendar
    shape: RowShape

    @property
    def window(self) -> Window:
        """All partitions together."""
        return Window(self.partitions[0].start, self.partitions[-1].end)

    @property
    def body(self) -> dict[str, Any]:
        """What every request has in common: all but the interval."""
        return {**self.query.to_dict(), "granularity": self.granularity.period.text}

    def body_of(self, part: Window) -> dict[str, Any]:
        """Return the request for a part of the window."""
        return {**self.body, "interval": part.text(self.calendar.zone)}


# Fills a table with the rows of an extract's window.
Gather: TypeAlias = Callable[["JourneyClient", RowTable, Extract, Report], None]


@contextmanager
def gathered(
    client: JourneyClient, extract: Extract, directory: Path, report: Report, gather: Gather
) -> Iterator[RowTable]:
    """Give a table with the checked rows of an extract.

    :param directory: local folder for answers and for what does not fit into memory.
    :param gather: how the rows are got.
    """
    with RowTable(extract.shape, extract.partitions, views_of(extract.query), directory) as table:
        gather(client, table, extract, report)
        table.finish()
        yield table


def fetch(client: JourneyClient, table: RowTable, extract: Extract, report: Report) -> None:
    """Ask the query (postAnalyticsJourneysAggregatesQuery) for the extract's window, into ``table``.

    :raises InvalidRequestError: a single bucket is too large, or the query is refused; the request is shown.
    """

    def send(part: Window) -> str:
        return f"{ask(client, table, extract.body_of(part), part):,} rows"

    in_pieces(extract, extract.window, send, report)


def in_pieces(extract: Extract, window: Window, send: Callable[[Window], str], report: Report) -> None:
    """Have ``send`` ask for a window in as few requests as possible, from its beginning to its end.

    A request that is "too large" is halved between two buckets, and all that follow are asked in pieces no
    longer than that: a 413, a 504 (after the client's own tries), and a 400 that speaks of a limit.

    :param window: the extract's, or what is left of it.
    :param send: asks for a part of it, and says in words what came of it.
    :raises InvalidRequestError: a single bucket is too large, or ``send`` raised it for another reason.
    """
    waiting = deque(windows.requests(window, extract.granularity))
    ceiling: int | None = None
    while waiting:
        part = waiting.popleft()
        size = len(extract.granularity.split(part))
        cut = windows.halves(part, extract.granularity)
        if cut and ceiling and size > ceiling:
            waiting.extendleft(reversed(cut))
            continue
        interval = part.text(extract.calendar.zone)
        try:
            outcome = send(part)
        except (InvalidRequestError, ServerError) as error:
            if not is_too_large(error):
                raise
            if cut is None:
                raise _with(error, "A single bucket is too large: narrow groupBy or filter.") from error
            ceiling = (size + 1) // 2
            waiting.extendleft(reversed(cut))
            report(f"{interval} is too large for one answer: asking for its halves")
        else:
            report(f"{interval}: {outcome}; requests to go: {len(waiting)}")


def ask(client: JourneyClient, table: RowTable, body: Mapping[str, Any], part: Window) -> int:
    """Ask one request and add its rows to ``table``.

    :param body: the request, interval included.
    :param part: the window that the interval means.
    :return: how many rows the answer has.
    :raises JourneyError: as the client does, and ``ResponseError`` for what the contract does not have; where
        the service does not say what is wrong with a request, the request is shown.
    """
    spool = table.directory / "answer.json"
    answer = None
    try:
        with spool.open("w+b") as stream:
            answer = client.download(operations.query_aggregates(body), stream)
        return table.add(spool, part)
    except (InvalidRequestError, ResponseError) as error:
        if answer is not None:  # it came whole: what is wrong is in it
            error.status, error.correlation_id = answer.status, answer.correlation_id
            error.message += f" [correlation id {answer.correlation_id}]"
        raise showing(error, body) from error


def showing(error: JourneyError, body: Mapping[str, Any]) -> JourneyError:
    """Return ``error`` with the request in its message: the service does not always say what is wrong."""
    return _with(error, f"The request was: {json.dumps(body, ensure_ascii=False)}")


def is_too_large(error: JourneyError) -> bool:
    """Return whether a request for less could be answered where this one was not."""
    if error.status in (413, 504):
        return True
    # The message begins with what was asked on which connection: names, that may be any words.
    cause = error.message.partition(f": {error.status}")[2].partition(" The request was: ")[0]
    return error.status == 400 and bool(_TOO_LARGE.search(f"{error.code or ''} {cause}"))


def views_of(query: AggregateQuery) -> dict[str, str]:
    """Return the metric of each of the query's views, by the view's name."""
    return {view["name"]: view["target"] for view in query.views}


def _with(error: JourneyError, advice: str) -> JourneyError:
    other = copy.copy(error)
    other.message = f"{error.message} {advice}"
    other.args = (other.message,)
    return other
