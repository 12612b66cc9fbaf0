"""What answers mean, and which tries are followed by another."""

import json
from email.utils import formatdate

import pytest
from tenacity import Future, RetryCallState

from airflow_provider_journey.api import answers, endpoints, errors, operations, retrying
from airflow_provider_journey.api.messages import Answer, Request

REQUEST = Request(endpoints.LIST_SESSION_SEGMENTS, "/journey/sessions/s/segments")


def raised(status, body=b"", **headers):
    answer = Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)
    with pytest.raises(errors.JourneyError) as caught:
        answers.check(answer, REQUEST, "conn", now=1_790_000_000.0)
    return caught.value


@pytest.mark.parametrize(
    ("status", "kind", "transient", "maybe_processed"),
    [
        (301, errors.ResponseError, False, False),
        (400, errors.InvalidRequestError, False, False),
        (401, errors.AuthenticationError, False, False),
        (403, errors.PermissionDeniedError, False, False),
        (404, errors.NotFoundError, False, False),
        (408, errors.ServerError, True, True),
        (409, errors.InvalidRequestError, False, False),
        (413, errors.InvalidRequestError, False, False),
        (415, errors.InvalidRequestError, False, False),
        (429, errors.RateLimitedError, True, False),
        (500, errors.ServerError, False, True),
        (501, errors.UnsupportedOperationError, False, False),
        (502, errors.ServerError, True, True),
        (503, errors.ServerError, True, True),
        (504, errors.ServerError, True, True),
    ],
)
def test_status_decides(status, kind, transient, maybe_processed):
    error = raised(status, b"<html>Bad gateway</html>", inin_correlation_id="corr-1")
    assert type(error) is kind
    assert (error.status, error.transient, error.maybe_processed) == (status, transient, maybe_processed)
    for words in (
        "getJourneySessionSegments",
        "GET /journey/sessions/s/segments",
        "'conn'",
        str(status),
        "corr-1",
    ):
        assert words in str(error)
    assert error.correlation_id == "corr-1"


def test_service_words_code_and_context_reach_the_message():
    body = {
        "message": "Invalid interval",
        "code": "invalid.date",
        "contextId": "ctx",
        "details": [{"fieldName": "interval", "errorCode": "bad"}],
    }
    error = raised(400, json.dumps(body).encode())
    assert (error.code, error.correlation_id) == ("invalid.date", "ctx")
    for words in ("400 invalid.date: Invalid interval", "interval: bad", "correlation id ctx"):
        assert words in str(error)


def test_forbidden_names_the_permission():
    assert "journey:segmentassignment:view" in str(raised(403, b'{"message":"no"}'))


def test_404_without_an_entity_points_at_segments_api():
    assert "segments_api='journey'" in str(raised(404, b'{"message":"not found"}'))
    known = raised(404, b'{"message":"no such session","entityId":"s"}')
    assert "segments_api" not in str(known)
    assert known.entity_id == "s"


@pytest.mark.parametrize(
    ("status", "body", "headers", "seconds"),
    [
        (429, b"", {"retry_after": "42"}, 42.0),
        (503, b"", {"retry_after": "3"}, 3.0),
        (429, b"", {"retry_after": formatdate(1_790_000_090, usegmt=True)}, 90.0),
        (429, b"", {"retry_after": formatdate(1_789_999_000, usegmt=True)}, 0.0),
        (429, b'{"message":"Retry the request in [17] seconds"}', {}, 17.0),
        (429, b"", {"inin_ratelimit_reset": "9"}, 9.0),
        (429, b"", {"retry_after": "soon"}, None),
        (429, b"", {"retry_after": "\u00b2", "inin_ratelimit_reset": "\u00b2"}, None),
        (503, b"", {"inin_ratelimit_reset": "9"}, None),
    ],
)
def test_how_long_the_service_asked_to_be_left_alone(status, body, headers, seconds):
    assert raised(status, body, **headers).retry_after == seconds


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b'{"results":[',
        b"[]",
        b"null",
        b'"text"',
        b'{"results":{}}',
        b'{"results":0}',
        b'{"results":null}',
        b'{"message":"maintenance"}',
        pytest.param(b'{"results":' + b"[" * 100_000, id="deep"),
        b'{"results":[{"data":NaN}]}',
        "{}".encode("utf-16"),
    ],
)
def test_what_is_no_object_is_a_response_error(body):
    call = operations.query_aggregates({"metrics": []})
    with pytest.raises(errors.ResponseError, match="postAnalyticsJourneysAggregatesQuery.*answered 200"):
        call.read(Answer(200, {}, body))


@pytest.mark.parametrize("body", [b"{}", b'{"results":[]}'])
def test_nothing_at_all_is_an_answer(body):
    call = operations.query_aggregates({"metrics": []})
    assert call.read(Answer(200, {}, body)) == json.loads(body)


def test_body_bytes_are_shown_short_and_on_one_line():
    error = raised(502, b"<html>\n<body>" + b"x" * 10_000)
    assert "\n" not in str(error)
    assert len(str(error)) < 500


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"details":5}',
        b'{"details":{"a":1}}',
        b'{"details":["a"]}',
        b'{"message":{},"code":5}',
    ],
    ids=["deep", "details a number", "details an object", "details of text", "no text"],
)
@pytest.mark.parametrize("status", [400, 503])
def test_an_error_of_any_shape_is_still_that_error(status, body):
    assert raised(status, body).transient is (status == 503)


def test_listing_by_number_ends_where_its_page_count_says():
    call = operations.list_action_targets(1)
    page = call.read(Answer(200, {}, b'{"entities":[{"id":"1"}],"pageCount":2}'))
    assert page.following.read(Answer(200, {}, b'{"entities":[{"id":"2"}],"pageCount":2}')).following is None
    for count in (b'"2"', b"true", b"2.0"):
        with pytest.raises(errors.ResponseError, match="its pageCount is"):
            call.read(Answer(200, {}, b'{"entities":[],"pageCount":' + count + b"}"))


def test_cursor_that_leads_nowhere_ends_the_listing_with_an_error():
    call = operations.list_session_segments("s")
    page = call.read(Answer(200, {}, b'{"entities":[{"id":"1"}],"nextUri":"/x?after=A&pageSize=200"}'))
    assert page.following.request.query == (("pageSize", "200"), ("after", "A"))
    for uri in (b"/x?after=A", b"/x", b"http://[::1"):
        with pytest.raises(errors.ResponseError, match="leads nowhere new"):
            page.following.read(Answer(200, {}, b'{"entities":[],"nextUri":"' + uri + b'"}'))


@pytest.mark.parametrize(
    "call",
    [
        lambda: operations.list_action_targets(0),
        lambda: operations.list_session_segments("s", page_size=201),
        lambda: operations.list_session_segments("s", segment_scope="Everything"),
        lambda: operations.list_session_segments("s", assignment_state="assigned"),
        lambda: operations.update_action_target("t"),
        lambda: operations.update_external_contact_segments("c"),
        lambda: operations.update_external_contact_segments("c", assign=map(str, range(11))),
        lambda: operations.update_external_contact_segments("c", assign=["a"], unassign=["a"]),
        lambda: operations.update_external_contact_segments("c", assign="a"),
        lambda: operations.update_external_contact_segments(
            "c", unassign="abc", segments_api="externalcontacts"
        ),
        lambda: operations.update_external_contact_segments("c", assign=[None]),
        lambda: operations.update_external_contact_segments("c", unassign=[" "]),
        lambda: operations.update_action_target("t", service_level={"percentage": float("nan")}),
        lambda: operations.update_action_target("t", service_level=5),
        lambda: operations.update_action_target("t", name=object()),
        lambda: operations.query_aggregates("2026"),
        lambda: operations.query_aggregates({"metrics": {"nJourneySessions"}}),
        lambda: operations.submit_aggregates_job({"interval": formatdate}),
    ],
)
def test_requests_that_cannot_be_right_are_not_built(call):
    with pytest.raises(errors.InvalidRequestError):
        call()


def state(error, attempt=1):
    result = RetryCallState(None, None, (), {})
    result.attempt_number = attempt
    result.outcome = Future.construct(attempt, error, True)
    return result


@pytest.mark.parametrize("status", [429, 503])
def test_a_request_that_must_not_be_doubled_is_sent_again_when_nothing_was_done(status):
    error = errors.ServerError("", status=status, transient=True, maybe_processed=True)
    assert retrying.RetryDecision(resend=False)(state(error))


@pytest.mark.parametrize("status", [None, 408, 502, 504])
def test_a_request_that_must_not_be_doubled_is_not_sent_again_in_doubt(status):
    error = errors.ServerError("", status=status, transient=True, maybe_processed=True)
    assert retrying.RetryDecision(resend=True)(state(error))
    assert not retrying.RetryDecision(resend=False)(state(error))


def test_wait_is_what_was_asked_for_and_a_little_more():
    low = retrying.WaitAsAsked(uniform=lambda low, _: low)
    high = retrying.WaitAsAsked(uniform=lambda _, high: high)
    error = errors.RateLimitedError("", retry_after=42.0)
    assert 42.0 < low(state(error)) < high(state(error)) <= 46.0
    assert [high(state(errors.ServerError(""), n)) for n in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_more_than_ten_minutes_is_left_to_the_caller():
    decide = retrying.RetryDecision(resend=True)
    assert decide(state(errors.RateLimitedError("", transient=True, retry_after=600.0)))
    assert not decide(state(errors.RateLimitedError("", transient=True, retry_after=600.1)))
