"""Each fault can be seen, once, where it was meant to strike."""

from __future__ import annotations

import email.utils
import time

import pytest
import requests

from airflow_provider_journey.emulator.faults import NAMES
from tests.emulator.asking import QUERY, Asker

TARGETS = "/api/v2/journey/actiontargets"
POST = "postJourneyExternalcontactSegments"
STATUSES = ["400", "404", "500", "501", "502", "503", "504", "408", "413", "401", "403"]
TRIED = {
    *STATUSES,
    "429",
    "429-date",
    "429-no-header",
    "502-html",
    "504-empty",
    "reset-before",
    "reset-after",
}
TRIED |= {"truncated", "cut-json", "non-json", "wrong-shape", "empty-body", "slow", "too-large"}
TRIED |= {"unprocessed"}  # among the tests of the surface that has it
TRIED |= {"job-failed", "job-cancelled", "job-expired", "cursor-expired"}  # among the tests of jobs
TRIED |= {"token-rate-limit", "token-401", "token-html", "token-garbage", "token-no-expiry"}


@pytest.fixture
def asker(journey_emulator):
    return Asker(journey_emulator)


def test_no_fault_is_untried():
    assert TRIED == NAMES


@pytest.mark.parametrize("name", STATUSES)
def test_a_status(journey_emulator, asker, name):
    journey_emulator.script(name)
    response = asker.get(TARGETS)
    assert response.status_code == response.json()["status"] == int(name)
    assert asker.get(TARGETS).status_code == 200


def test_a_404_does_not_find_what_the_path_names(journey_emulator, asker):
    journey_emulator.script({"fault": "404", "operation": POST}, "404")
    contact = journey_emulator.examples["external_contact_id"]
    refused = asker.assign(contact, journey_emulator.examples["segment_id"]).json()
    assert (refused["entityId"], refused["entityName"]) == (contact, "externalContact")
    assert "entityId" not in asker.get(TARGETS).json()


def test_retry_after_in_seconds_as_a_date_and_not_at_all(journey_emulator, asker):
    journey_emulator.script(
        {"fault": "429", "retry_after": 7},
        {"fault": "429-date", "retry_after": 90},
        "429-no-header",
        {"fault": "503", "retry_after": 3},
    )
    seconds, date, bare, unavailable = (asker.get(TARGETS) for _ in range(4))
    assert [r.status_code for r in (seconds, date, bare, unavailable)] == [429, 429, 429, 503]
    assert (seconds.headers["Retry-After"], unavailable.headers["Retry-After"]) == ("7", "3")
    until = email.utils.parsedate_to_datetime(date.headers["Retry-After"]).timestamp()
    assert until == pytest.approx(time.time() + 90, abs=5)
    assert "Retry-After" not in bare.headers
    assert int(asker.get(TARGETS).headers["inin-ratelimit-count"]) == 2


def test_gateways_answer_html_or_nothing(journey_emulator, asker):
    journey_emulator.script("502-html", "504-empty")
    html, empty = asker.get(TARGETS), asker.get(TARGETS)
    assert (html.status_code, html.headers["Content-Type"].split(";")[0]) == (502, "text/html")
    assert (empty.status_code, empty.content) == (504, b"")


@pytest.mark.parametrize(("name", "done"), [("reset-before", False), ("reset-after", True)])
def test_a_reset_before_or_after_the_work(journey_emulator, asker, name, done):
    ids = journey_emulator.examples
    journey_emulator.script({"fault": name, "operation": POST})
    with pytest.raises(requests.ConnectionError):
        asker.assign(ids["external_contact_id"], ids["segment_id"])
    assert journey_emulator.members(ids["segment_id"]) == ({ids["external_contact_id"]} if done else set())
    assert journey_emulator.calls()[POST] == {"reset": 1}


def test_a_truncated_answer_promises_more_than_it_sends(journey_emulator, asker):
    journey_emulator.script("truncated")
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        asker.get(TARGETS)


def test_answers_that_are_spoilt(journey_emulator, asker):
    journey_emulator.script("cut-json", "non-json", "wrong-shape", "empty-body")
    cut, html, wrong, empty = (asker.get(TARGETS) for _ in range(4))
    assert [r.status_code for r in (cut, html, wrong, empty)] == [200] * 4
    for response in (cut, html, empty):
        with pytest.raises(requests.JSONDecodeError):
            response.json()
    assert cut.headers["Content-Type"] == "application/json"
    assert cut.text.startswith("{")
    assert wrong.json()["results"][0]["data"][0]["metrics"][0]["stats"]["count"] == "many"
    assert empty.content == b""


def test_a_slow_answer(journey_emulator, asker):
    journey_emulator.script({"fault": "slow", "seconds": 0.2})
    with pytest.raises(requests.Timeout):
        asker.session.get(asker.base + TARGETS, timeout=0.05)


def test_too_large(journey_emulator, asker):
    journey_emulator.script({"fault": "too-large", "operation": "postAnalyticsJourneysAggregatesQuery"})
    refused = asker.ask("POST", QUERY, json={})
    assert (refused.status_code, refused.json()["limit"]["key"]) == (413, "max.buckets")


def test_token_faults(journey_emulator, asker):
    client = (journey_emulator.client_id, journey_emulator.client_secret)
    journey_emulator.script("token-rate-limit", "token-401", "token-html", "token-garbage", "token-no-expiry")
    limited, refused, html, garbage, endless = (asker.token(client) for _ in range(5))
    assert (limited.status_code, limited.json()["error"]) == (400, "invalid_request")
    assert limited.json()["description"] == "rate limit exceeded"
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
    assert (html.status_code, html.text[:6]) == (200, "<html>")
    assert (garbage.status_code, "access_token" in garbage.json()) == (200, False)
    assert "access_token" in endless.json()
    assert "expires_in" not in endless.json()
    assert "expires_in" in asker.token(client).json()


def test_other_faults_strike_the_token_endpoint_when_told_so(journey_emulator, asker):
    client = (journey_emulator.client_id, journey_emulator.client_secret)
    journey_emulator.script(
        {"fault": "503", "operation": "token"}, {"fault": "reset-after", "operation": "token"}
    )
    assert asker.get(TARGETS).status_code == 200
    assert asker.token(client).status_code == 503
    with pytest.raises(requests.ConnectionError):
        asker.token(client)


def test_a_script_goes_in_order_and_waits_for_its_operation(journey_emulator, asker):
    journey_emulator.script(
        {"fault": "503", "operation": "getJourneyActiontargets", "after": 1, "times": 2},
        {"fault": "500", "operation": "getJourneyActiontarget"},
    )
    one = f"{TARGETS}/{journey_emulator.examples['action_target_id']}"
    assert [asker.get(path).status_code for path in (TARGETS, one, TARGETS, TARGETS, one, TARGETS)] == [
        200, 500, 503, 503, 200, 200,
    ]  # fmt: skip
    journey_emulator.script({"fault": "500", "times": 5})
    assert asker.get(TARGETS).status_code == 500
    journey_emulator.clear_script()
    assert asker.get(TARGETS).status_code == 200


def test_shares_follow_the_seed(start_journey_emulator):
    def statuses(seed):
        asker = Asker(start_journey_emulator(seed=seed, faults={"503": 0.3, "429": 0.2}))
        return [asker.get(TARGETS).status_code for _ in range(60)]

    first = statuses(5)
    assert {200, 429, 503} == set(first)
    assert 15 <= first.count(503) + first.count(429) <= 45
    assert first == statuses(5)
    assert first != statuses(6)


def test_shares_change_while_it_runs(journey_emulator, asker):
    journey_emulator.faults(**{"500": 1.0})
    assert asker.get(TARGETS).status_code == 500
    journey_emulator.faults()
    assert asker.get(TARGETS).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/emulator/faults", {"earthquake": 0.1}),
        ("/emulator/faults", {"500": 2}),
        ("/emulator/limits", {"speed": 1}),
        ("/emulator/clock", {"now": "noon"}),
    ],
)
def test_a_bad_setting_is_refused(journey_emulator, path, body):
    with pytest.raises(RuntimeError, match="400"):
        journey_emulator.control("PUT", path, body)
    with pytest.raises(RuntimeError, match="earthquake"):
        journey_emulator.script("earthquake")
