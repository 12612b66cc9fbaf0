"""The operations over journey aggregates: the query, and the asynchronous jobs of today's service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_journey.api import answers, endpoints
from airflow_provider_journey.api.calls import Call, Entity, Page, broken, entities
from airflow_provider_journey.api.endpoints import Endpoint
from airflow_provider_journey.api.errors import InvalidRequestError
from airflow_provider_journey.api.messages import Answer, Request, to_json

# The states of a job that stay as they are, but that a fulfilled one expires.
FULFILLED, FAILED, CANCELLED, EXPIRED = "FULFILLED", "FAILED", "CANCELLED", "EXPIRED"
FINAL_STATES = (FULFILLED, FAILED, CANCELLED, EXPIRED)


def query_aggregates(query: Any) -> Call[Entity]:
    """Query journey aggregates (postAnalyticsJourneysAggregatesQuery).

    :param query: the body as a mapping, or anything with ``to_dict()``.
    """
    endpoint = endpoints.QUERY_AGGREGATES
    request = Request(endpoint, endpoint.path_for(), content=to_json(endpoint, _body(endpoint, query)))

    def read(answer: Answer) -> Entity:
        content = answers.read_object(answer, request)
        # Nothing at all may be {} instead of an empty list.
        if content and not isinstance(content.get("results"), list):
            raise broken(request, answer, "it has no list of results")
        return content

    return Call(request, read)


def submit_aggregates_job(query: Any, page_size: int | None = None) -> Call[str]:
    """Submit a query as a job, whose id is returned (postAnalyticsJourneysAggregatesJobs).

    The service takes no idempotency key: two submissions are two jobs.

    :param query: as for :func:`query_aggregates`.
    :param page_size: results on a page; ``None`` leaves it to the service, whose most is not documented.
    """
    endpoint = endpoints.SUBMIT_AGGREGATES_JOB
    body = _body(endpoint, query)
    if page_size is not None:
        if isinstance(page_size, bool) or not isinstance(page_size, int) or page_size < 1:
            raise InvalidRequestError(f"{endpoint.operation_id}: page_size is 1 or more, not {page_size!r}.")
        body["pageSize"] = page_size
    request = Request(endpoint, endpoint.path_for(), content=to_json(endpoint, body))

    def read(answer: Answer) -> str:
        job_id = answers.read_object(answer, request).get("jobId")
        if not isinstance(job_id, str) or not job_id:
            raise broken(request, answer, f"its jobId is {job_id!r}")
        return job_id

    return Call(request, read)


def get_aggregates_job(job_id: str) -> Call[Entity]:
    """Retrieve a job's state, error and dates (getAnalyticsJourneysAggregatesJob)."""
    endpoint = endpoints.GET_AGGREGATES_JOB
    request = Request(endpoint, endpoint.path_for(job_id=job_id))

    def read(answer: Answer) -> Entity:
        content = answers.read_object(answer, request)
        if not isinstance(content.get("state"), str):
            raise broken(request, answer, f"its state is {content.get('state')!r}")
        return content

    return Call(request, read)


def iter_aggregates_job_results(job_id: str, cursor: str | None = None) -> Call[Page]:
    """Retrieve a page of a job's results (getAnalyticsJourneysAggregatesJobResults).

    :param cursor: where the page begins, as the page before it says; ``None`` for the first.
    """
    endpoint = endpoints.LIST_AGGREGATES_JOB_RESULTS
    query = () if cursor is None else (("cursor", cursor),)
    request = Request(endpoint, endpoint.path_for(job_id=job_id), query)

    def read(answer: Answer) -> Page:
        content = answers.read_object(answer, request)
        found = entities(content, request, answer, "results")
        following = content.get("cursor")
        if not following:
            return Page(found, None)
        if not isinstance(following, str) or following == cursor:
            raise broken(request, answer, f"its cursor {following!r} leads nowhere new")
        return Page(found, iter_aggregates_job_results(job_id, following))

    return Call(request, read)


def cancel_aggregates_job(job_id: str) -> Call[None]:
    """Cancel a job, or delete one that has ended (deleteAnalyticsJourneysAggregatesJob)."""
    endpoint = endpoints.CANCEL_AGGREGATES_JOB
    return Call(Request(endpoint, endpoint.path_for(job_id=job_id)), lambda answer: None)


def _body(endpoint: Endpoint, query: Any) -> Entity:
    body = query.to_dict() if hasattr(query, "to_dict") else query
    if not isinstance(body, Mapping):
        raise InvalidRequestError(f"{endpoint.operation_id}: a query is no {type(query).__name__}.")
    return dict(body)
