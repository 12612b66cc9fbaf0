"""What is kept of submitted jobs, and what is missing of a window."""

import json

import pendulum
import pytest

from airflow_provider_journey.aggregates.jobs import Submitted
from airflow_provider_journey.api import operations
from airflow_provider_journey.api.errors import ResponseError
from airflow_provider_journey.api.messages import Answer

WINDOW = "2026-03-01T00:00:00Z/2026-03-11T00:00:00Z"


def part(first, end, offset="Z"):
    return f"2026-03-{first:02d}T00:00:00{offset}/2026-03-{end:02d}T00:00:00{offset}"


def missing(*jobs):
    found = Submitted("asked", WINDOW, {interval: f"job {n}" for n, interval in enumerate(jobs)})
    return [window.text(pendulum.UTC) for window in found.missing()]


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        ([], [WINDOW]),
        ([part(1, 11)], []),
        ([part(1, 4)], [part(4, 11)]),
        ([part(4, 6)], [part(1, 4), part(6, 11)]),
        ([part(6, 11), part(1, 3)], [part(3, 6)]),
        ([part(1, 3), part(3, 11)], []),
        (["2026-03-01T02:00:00+02:00/2026-03-11T00:00:00Z"], []),
    ],
)
def test_what_no_job_covers_is_missing(jobs, expected):
    assert missing(*jobs) == expected


def test_jobs_come_in_the_order_of_time():
    found = Submitted("asked", WINDOW, {part(6, 11): "late", part(1, 6): "early"})
    assert [job_id for _, job_id in found.parts()] == ["early", "late"]
    assert found.without("early").jobs == {part(6, 11): "late"}


@pytest.mark.parametrize("deadline", [None, 1_790_000_000, 1_790_000_000.25])
def test_what_is_kept_is_found_again(deadline):
    found = Submitted("asked", WINDOW, {part(1, 11): "one"}, renewed=1, calls=7, deadline=deadline)
    assert Submitted.from_dict(json.loads(json.dumps(found.to_dict()))) == found


@pytest.mark.parametrize(
    "content",
    [
        None,
        "text",
        {},
        {"asked": "a", "window": WINDOW, "jobs": [], "renewed": 0, "calls": 0},
        {"asked": "a", "window": WINDOW, "jobs": {"interval": 7}, "renewed": 0, "calls": 0},
        {"asked": "", "window": WINDOW, "jobs": {}, "renewed": 0, "calls": 0},
        {"asked": "a", "window": None, "jobs": {}, "renewed": 0, "calls": 0},
        {"asked": "a", "window": WINDOW, "jobs": {}, "renewed": "0", "calls": 0},
        {"asked": "a", "window": WINDOW, "jobs": {}, "renewed": 0},
        {"asked": "a", "window": WINDOW, "jobs": {}, "renewed": 0, "calls": 0, "deadline": "tomorrow"},
        {"asked": "a", "window": WINDOW, "jobs": {}, "renewed": 0, "calls": 0, "deadline": True},
    ],
)
def test_what_is_something_else_is_not_taken_for_it(content):
    assert Submitted.from_dict(content) is None


def test_what_was_kept_without_a_deadline_has_none():
    kept = {"asked": "a", "window": WINDOW, "jobs": {}, "renewed": 0, "calls": 0}
    assert Submitted.from_dict(kept) == Submitted("a", WINDOW)


@pytest.mark.parametrize(
    ("call", "body"),
    [
        (operations.iter_aggregates_job_results("job", "here"), {"results": [], "cursor": "here"}),
        (operations.iter_aggregates_job_results("job"), {"results": [], "cursor": 7}),
        (operations.iter_aggregates_job_results("job"), {"results": ["row"]}),
        (operations.submit_aggregates_job({}), {"id": "job"}),
        (operations.submit_aggregates_job({}), {"jobId": ""}),
        (operations.get_aggregates_job("job"), {"state": None}),
    ],
)
def test_answers_that_lead_nowhere_are_refused(call, body):
    with pytest.raises(ResponseError):
        call.read(Answer(200, {}, json.dumps(body).encode()))


def test_the_last_page_is_the_one_without_a_cursor():
    call = operations.iter_aggregates_job_results("job", "here")
    page = call.read(Answer(200, {}, b'{"results":[{}],"cursor":"there"}'))
    assert page.following.request.query == (("cursor", "there"),)
    for body in (b"{}", b'{"results":[{}]}', b'{"results":[{}],"cursor":null}', b'{"cursor":""}'):
        assert call.read(Answer(200, {}, body)).following is None
