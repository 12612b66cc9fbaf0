"""Extracts by asynchronous jobs: what was submitted, what is missing, and the rows of what is there.

A job is submitted for each request that the window needs, which is one wherever possible, however many
partitions the window has.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pendulum

from airflow_provider_journey.aggregates import windows
from airflow_provider_journey.aggregates.answers import RowTable
from airflow_provider_journey.aggregates.asking import Extract, Report, in_pieces, showing
from airflow_provider_journey.aggregates.calendars import Window
from airflow_provider_journey.api import operations
from airflow_provider_journey.api.errors import (
    InvalidRequestError,
    JourneyError,
    NotFoundError,
    ResponseError,
)

if TYPE_CHECKING:
    from airflow_provider_journey.api.client import JourneyClient

# Results are read into the table in pieces of about this many characters.
_PIECE = 8 * 2**20
# Jobs are for answers that are too large to be held.
_MEMORY_MIB = 144


class ResultsGoneError(Exception):
    """A job's results cannot be read to their end.

    :param job_id: the job.
    :param state: what the job is now; ``EXPIRED`` where the service does not know it any more.
    """

    def __init__(self, job_id: str, state: str) -> None:
        super().__init__(job_id, state)
        self.job_id = job_id
        self.state = state


@dataclass(frozen=True)
class Submitted:
    """The jobs of an extract, as plain JSON to be kept where a later try finds it.

    :param asked: a digest of what was asked, by which a later try knows its own.
    :param window: the extract's window, an ISO-8601 interval.
    :param jobs: the job's id by each interval that was submitted.
    :param renewed: how often jobs that were gone have been submitted anew.
    :param calls: requests sent on their account so far.
    :param deadline: seconds since 1970 UTC, when a try gives them up, whoever waits for them then; ``None``
        where nobody has waited yet.
    """

    asked: str
    window: str
    jobs: Mapping[str, str] = field(default_factory=dict)
    renewed: int = 0
    calls: int = 0
    deadline: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Any) -> Submitted | None:
        """Read what :meth:`to_dict` returned; ``None`` for anything else."""
        if not isinstance(content, Mapping) or not isinstance(content.get("jobs"), Mapping):
            return None
        jobs = dict(content["jobs"])
        texts = [content.get("asked"), content.get("window"), *jobs, *jobs.values()]
        counts = [content.get("renewed"), content.get("calls")]
        deadline = content.get("deadline")
        if not all(isinstance(text, str) and text for text in texts):
            return None
        if not all(type(count) is int for count in counts):
            return None
        if deadline is not None and type(deadline) not in (int, float):
            return None
        return cls(content["asked"], content["window"], jobs, content["renewed"], content["calls"], deadline)

    def without(self, job_id: str) -> Submitted:
        """Return it without a job, whose interval is then to be submitted again."""
        return replace(self, jobs={k: v for k, v in self.jobs.items() if v != job_id})

    def parts(self) -> list[tuple[Window, str]]:
        """Return the window of each job and its id, the oldest first."""
        found = [(windows.parse_interval(text, pendulum.UTC), job_id) for text, job_id in self.jobs.items()]
        return sorted(found, key=lambda item: item[0].start)

    def missing(self) -> Iterator[Window]:
        """Yield the stretches of the window that no job covers."""
        window = windows.parse_interval(self.window, pendulum.UTC)
        begin = window.start
        for part, _ in self.parts():
            if begin < part.start:
                yield Window(begin, part.start)
            begin = part.end
        if begin < window.end:
            yield Window(begin, window.end)


def submit(
    client: JourneyClient,
    extract: Extract,
    submitted: Submitted,
    page_size: int | None,
    keep: Callable[[Submitted], None],
    report: Report,
) -> Submitted:
    """Submit a job for every request that is missing (postAnalyticsJourneysAggregatesJobs).

    :param page_size: results on a page; ``None`` leaves it to the service.
    :param keep: called after every submission: what is submitted and not kept is lost with this process.
    :return: what is submitted now.
    :raises InvalidRequestError: a single bucket is too large, or the query is refused; the request is shown.
    """

    def send(part: Window) -> str:
        nonlocal submitted
        body = extract.body_of(part)
        try:
            job_id = client.run(operations.submit_aggregates_job(body, page_size))
        except InvalidRequestError as error:
            raise showing(error, body) from error
        submitted = replace(submitted, jobs={**submitted.jobs, body["interval"]: job_id})
        keep(submitted)
        return f"submitted as job {job_id}"

    for stretch in list(submitted.missing()):
        in_pieces(extract, stretch, send, report)
    return submitted


def look(client: JourneyClient, job_id: str) -> tuple[str, str]:
    """Return a job's state, and the service's words where it has failed (getAnalyticsJourneysAggregatesJob).

    A job that the service does not know any more has expired.
    """
    try:
        found = client.run(operations.get_aggregates_job(job_id))
    except NotFoundError:
        return operations.EXPIRED, ""
    return found["state"], str(found.get("errorMessage") or "the service does not say why")


def read(
    client: JourneyClient, table: RowTable, extract: Extract, report: Report, *, submitted: Submitted
) -> None:
    """Add the rows of fulfilled jobs to ``table``, page by page (getAnalyticsJourneysAggregatesJobResults).

    :raises ResultsGoneError: results, or the place in them, expired on the way; the table is then of no use.
    :raises JourneyError: as the client does, and ``ResponseError`` for what the contract does not have.
    """
    table.limit_memory(_MEMORY_MIB)
    for part, job_id in submitted.parts():
        rows = 0
        try:
            for spool in _spooled(client, job_id, table.directory):
                rows += table.add(spool, part)
        except (NotFoundError, InvalidRequestError) as error:
            raise ResultsGoneError(job_id, look(client, job_id)[0]) from error
        except ResponseError as error:
            error.message += f" [results of job {job_id}]"
            raise showing(error, extract.body_of(part)) from error
        report(f"job {job_id}: {rows:,} rows")


def cancel(client: JourneyClient, job_ids: Iterable[str], report: Report) -> None:
    """Cancel jobs, as far as the service can (deleteAnalyticsJourneysAggregatesJob)."""
    for job_id in job_ids:
        try:
            client.run(operations.cancel_aggregates_job(job_id))
        except JourneyError as error:
            report(f"Job {job_id} was not cancelled: {error}")
        else:
            report(f"job {job_id} is cancelled")


def _spooled(client: JourneyClient, job_id: str, directory: Path) -> Iterator[Path]:
    """Yield files of bounded size that together hold a job's results, each an answer like the query's."""
    results = client.iterate(operations.iter_aggregates_job_results(job_id))
    spool = directory / "answer.json"
    more = True
    while more:
        size, more = 0, False
        with spool.open("w", encoding="utf-8") as stream:
            stream.write('{"results":[')
            for result in results:
                size += stream.write(("," if size else "") + json.dumps(result, separators=(",", ":")))
                if more := size >= _PIECE:
                    break
            stream.write("]}")
        yield spool
