"""Asynchronous aggregate jobs through both hooks, and through clients whose waits are written down."""

import json

import pytest

from airflow_provider_journey.aggregates.query import AggregateQuery
from airflow_provider_journey.api import errors, operations
from tests.emulator.calling import Async, Sync, connect
from tests.emulator.test_client_faults import answered, client  # noqa: F401 - a fixture

SUBMIT = "postAnalyticsJourneysAggregatesJobs"
RESULTS = "getAnalyticsJourneysAggregatesJobResults"
QUERY = AggregateQuery(
    ["nWebActionsOffered"],
    group_by=["journeyActionMapId"],
    granularity="PT1H",
    interval="2026-03-10T00:00:00Z/2026-03-11T00:00:00Z",
)


@pytest.fixture(params=[Sync, Async], ids=["sync", "async"])
def hook(request, monkeypatch, journey_emulator):
    return request.param(connect(monkeypatch, journey_emulator))


def test_a_job_from_submission_to_results(hook, journey_emulator):
    journey_emulator.limits(job_seconds=60)
    job_id = hook.call("submit_aggregates_job", QUERY, page_size=2)
    assert json.loads(journey_emulator.requests(SUBMIT)[0]["body"]) == {**QUERY.to_dict(), "pageSize": 2}
    assert hook.call("get_aggregates_job", job_id)["state"] == "QUEUED"
    journey_emulator.advance_clock(61)
    assert hook.call("get_aggregates_job", job_id)["state"] == "FULFILLED"
    found = hook.all("iter_aggregates_job_results", job_id)
    assert found == hook.call("query_aggregates", QUERY)["results"]
    assert len(found) > 2
    assert journey_emulator.calls()[RESULTS] == {"200": -(-len(found) // 2)}


def test_a_cancelled_job(hook, journey_emulator):
    job_id = hook.call("submit_aggregates_job", QUERY)
    assert hook.call("cancel_aggregates_job", job_id) is None
    assert journey_emulator.jobs() == {job_id: "CANCELLED"}
    with pytest.raises(errors.NotFoundError, match=job_id):
        hook.all("iter_aggregates_job_results", job_id)


def test_a_page_size_that_cannot_be_is_not_sent(hook, journey_emulator):
    for size in (0, True, "7"):
        with pytest.raises(errors.InvalidRequestError, match="page_size"):
            hook.call("submit_aggregates_job", QUERY, page_size=size)
    assert SUBMIT not in journey_emulator.calls()


@pytest.mark.parametrize("fault", ["429", "503", "reset-before", "reset-after", "502", "504", "408"])
def test_a_submission_is_sent_again_only_where_no_job_can_have_come_of_it(client, journey_emulator, fault):  # noqa: F811
    journey_emulator.script({"fault": fault, "operation": SUBMIT})
    call = operations.submit_aggregates_job(QUERY)
    if fault in ("429", "503"):
        assert client.run(call) in journey_emulator.jobs()
        assert answered(journey_emulator, SUBMIT) == {fault: 1, "200": 1}
    else:
        with pytest.raises(errors.JourneyError) as caught:
            client.run(call)
        assert caught.value.maybe_processed
        assert sum(answered(journey_emulator, SUBMIT).values()) == 1
        assert len(journey_emulator.jobs()) <= 1


@pytest.mark.parametrize("fault", ["502-html", "reset-after", "truncated"])
def test_a_page_is_asked_for_again(client, journey_emulator, fault):  # noqa: F811
    job_id = client.run(operations.submit_aggregates_job(QUERY, page_size=2))
    whole = client.run(operations.query_aggregates(QUERY))["results"]
    journey_emulator.script({"fault": fault, "operation": RESULTS, "after": 1})
    assert client.all(operations.iter_aggregates_job_results(job_id)) == whole


@pytest.mark.parametrize("fault", ["cut-json", "non-json", "wrong-shape", "empty-body"])
def test_answers_that_break_the_contract_are_refused(client, journey_emulator, fault):  # noqa: F811
    journey_emulator.script({"fault": fault, "operation": SUBMIT})
    with pytest.raises(errors.ResponseError, match=SUBMIT):
        client.run(operations.submit_aggregates_job(QUERY))
    (job_id,) = journey_emulator.jobs()
    journey_emulator.script({"fault": fault, "operation": "getAnalyticsJourneysAggregatesJob"})
    with pytest.raises(errors.ResponseError, match="getAnalyticsJourneysAggregatesJob"):
        client.run(operations.get_aggregates_job(job_id))
