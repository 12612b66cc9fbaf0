"""The official Python SDK of today performs the operations of asynchronous aggregate jobs against an emulator.

Run by an interpreter that has ``purecloudplatformclientv2==269.0.0``; see ``judging.py``.
"""

import sys
from datetime import timedelta

import PureCloudPlatformClientV2 as sdk
from judging import DAY, UNKNOWN, check, client, control, filled, judge, query, service_error

FIELDS = {"metrics": ["nJourneySessions", "nWebActionsOffered"], "group_by": ["journeyDeviceCategory"]}


def analytics():
    return sdk.AnalyticsApi(API)


def submit(**fields):
    body = sdk.JourneyAsyncAggregationQuery()
    for name, value in {"interval": DAY, **FIELDS, **fields}.items():
        setattr(body, name, value)
    return analytics().post_analytics_journeys_aggregates_jobs(body).job_id


def status(job_id):
    found = analytics().get_analytics_journeys_aggregates_job(job_id)
    assert "outdated_sdk_version" not in str(found.to_dict())
    return found


def fulfilled(job_id):
    found = status(job_id)
    assert found.state == "FULFILLED"
    return found


def pages(job_id):
    results, cursor = analytics().get_analytics_journeys_aggregates_job_results, {}
    while True:
        page = results(job_id, **cursor)
        yield page.results
        if page.cursor is None:
            return
        cursor = {"cursor": page.cursor}


def plain(results):
    return [result.to_dict() for result in results]


@check
def a_job_holds_what_the_query_answers():
    job_id = submit(granularity="PT1H")
    found = filled(fulfilled(job_id), "error_message")
    assert found.submission_date <= found.completion_date < found.expiration_date
    assert found.submission_date.utcoffset() == timedelta(0)
    (page,) = pages(job_id)
    assert plain(page) == plain(query(API, granularity="PT1H", **FIELDS))


@check
def small_pages_hold_each_result_once():
    job_id = submit(page_size=1)
    fulfilled(job_id)
    found = list(pages(job_id))
    assert {len(page) for page in found} == {1}
    assert plain(result for page in found for result in page) == plain(query(API, **FIELDS))


@check
def a_job_waits_for_its_turn():
    control("/emulator/limits", {"job_seconds": 3600}, "PUT")
    try:
        job_id = submit()
    finally:
        control("/emulator/limits", {"job_seconds": 0}, "PUT")
    found = status(job_id)
    assert (found.state, found.completion_date, found.error_message) == ("QUEUED", None, None)
    service_error(400, "bad.request", next, pages(job_id))


@check
def a_job_is_cancelled():
    job_id = submit()
    assert analytics().delete_analytics_journeys_aggregates_job(job_id) is None
    assert status(job_id).state == "CANCELLED"
    service_error(404, "not.found", next, pages(job_id))


@check
def a_job_that_fails_says_why():
    control("/emulator/script", [{"fault": "job-failed"}])
    found = status(submit())
    assert (found.state, "memory" in found.error_message) == ("FAILED", True)


@check
def results_expire():
    job_id = submit()
    fulfilled(job_id)
    control("/emulator/script", [{"fault": "job-expired"}])
    service_error(404, "not.found", next, pages(job_id))
    assert status(job_id).state == "EXPIRED"


@check
def what_cannot_be_is_refused():
    service_error(400, "invalid.value", submit, metrics=["nJourneySesions"])
    service_error(400, "invalid.value", submit, page_size=0)
    service_error(404, "not.found", status, UNKNOWN)
    service_error(404, "not.found", analytics().delete_analytics_journeys_aggregates_job, UNKNOWN)


API = client()

if __name__ == "__main__":
    sys.exit(judge())
