"""Who is let in, how often, and in which words the others are refused."""

from __future__ import annotations

import time

import pytest
import requests

from airflow_provider_journey.emulator.options import ClientSpec
from tests.emulator.asking import QUERY, Asker

TARGETS = "/api/v2/journey/actiontargets"


def test_a_token_by_header_and_by_form(journey_emulator):
    asker, client = Asker(journey_emulator), (journey_emulator.client_id, journey_emulator.client_secret)
    form = {"grant_type": "client_credentials", "client_id": client[0], "client_secret": client[1]}
    answers = [asker.token(client), requests.post(f"{asker.base}/oauth/token", data=form, timeout=10)]
    assert all(answer.json()["expires_in"] == 86_400 for answer in answers)
    assert answers[0].json()["access_token"] != answers[1].json()["access_token"]
    for answer in answers:
        asker.session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        assert asker.get(TARGETS).status_code == 200


def test_wrong_credentials_are_refused_in_the_token_endpoints_shape(journey_emulator):
    asker = Asker(journey_emulator)
    for client in ((journey_emulator.client_id, "wrong"), ("nobody", journey_emulator.client_secret)):
        answer = asker.token(client)
        assert answer.status_code == 400
        assert answer.json() == {
            "error": "invalid_client",
            "description": "authentication failed",
            "error_description": "authentication failed",
        }
    client = (journey_emulator.client_id, journey_emulator.client_secret)
    assert asker.token(client, grant_type="password").json()["error"] == "unsupported_grant_type"


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "authentication.required"),
        ("Basic eDp5", "authentication.required"),
        ("Bearer never-given", "bad.credentials"),
    ],
)
def test_without_a_good_token(journey_emulator, header, code):
    response = requests.get(
        journey_emulator.base_url + TARGETS, headers={"Authorization": header} if header else {}, timeout=10
    )
    assert (response.status_code, response.json()["code"]) == (401, code)
    assert response.json()["contextId"] == response.headers["ININ-Correlation-Id"]


def test_tokens_expire_and_are_revoked(start_journey_emulator):
    emulator = start_journey_emulator(token_lifetime=600)
    asker = Asker(emulator)
    emulator.advance_clock(599)
    assert asker.get(TARGETS).status_code == 200
    emulator.advance_clock(2)
    assert asker.get(TARGETS).json()["code"] == "credentials.expired"
    fresh = Asker(emulator)
    assert fresh.get(TARGETS).status_code == 200
    emulator.revoke_tokens()
    assert fresh.get(TARGETS).json()["code"] == "bad.credentials"


def test_a_missing_permission_is_named(start_journey_emulator):
    few = ClientSpec("few", "secret", ("journey:actiontarget:*",))
    asker = Asker(start_journey_emulator(clients=(few,)), ("few", "secret"))
    assert asker.get(TARGETS).status_code == 200
    refused = asker.ask("POST", QUERY, json={})
    assert (refused.status_code, refused.json()["code"]) == (403, "missing.any.permissions")
    assert refused.json()["messageParams"] == {"permissions": "analytics:journeyAggregate:view"}
    assert "analytics:journeyAggregate:view" in refused.json()["message"]


def test_paths_methods_bodies_that_are_not_served(journey_emulator):
    asker = Asker(journey_emulator)
    missing = asker.get("/api/v2/journey/nothing")
    assert missing.status_code == 404
    assert "entityId" not in missing.json()
    assert asker.ask("DELETE", TARGETS).status_code == 405
    assert asker.ask("POST", QUERY, data="{}", headers={"Content-Type": "text/plain"}).status_code == 415
    for body in ("[" * 100_000, "{"):
        broken = asker.ask("POST", QUERY, data=body, headers={"Content-Type": "application/json"})
        assert (broken.status_code, broken.json()["code"]) == (400, "bad.request")
    large = asker.ask("POST", QUERY, json={"interval": "x" * 512_000})
    assert (large.status_code, large.json()["limit"]["value"]) == (413, 512_000)
    for response in (missing, broken, large):
        assert response.json()["contextId"] == response.headers["ININ-Correlation-Id"]


def test_a_window_counts_down_and_begins_again(start_journey_emulator):
    emulator = start_journey_emulator(rate_limit=3, window=60)
    asker = Asker(emulator)
    counts = [_standing(asker.get(TARGETS)) for _ in range(3)]
    assert [count for count, _, _ in counts] == [1, 2, 3]
    assert all(allowed == 3 and 59 <= left <= 60 for _, allowed, left in counts)
    emulator.advance_clock(18)
    refused = asker.get(TARGETS)
    assert refused.status_code == 429
    assert refused.json()["code"] == "too.many.requests.retry.after"
    wait = int(refused.headers["Retry-After"])
    assert 41 <= wait <= 42
    assert f"[{wait}] seconds" in refused.json()["message"]
    assert _standing(refused) == (3, 3, wait)
    emulator.advance_clock(wait)
    assert _standing(asker.get(TARGETS))[0] == 1
    assert emulator.calls()["getJourneyActiontargets"] == {"200": 4, "429": 1}


def test_every_answer_says_where_the_caller_stands(start_journey_emulator):
    asker = Asker(start_journey_emulator(rate_limit=50))
    answers = [
        asker.get(TARGETS),
        asker.get(f"{TARGETS}/none"),
        asker.ask("POST", QUERY, json={}),
        asker.get("/api/v2/no"),
    ]
    assert [_standing(answer)[0] for answer in answers] == [1, 2, 3, 4]
    assert len({answer.headers["ININ-Correlation-Id"] for answer in answers}) == 4


@pytest.mark.parametrize(("scope", "statuses"), [("client", [200, 429]), ("token", [200, 200])])
def test_the_quota_belongs_to_the_client_or_to_the_token(start_journey_emulator, scope, statuses):
    emulator = start_journey_emulator(rate_limit=1, rate_limit_scope=scope)
    assert [asker.get(TARGETS).status_code for asker in (Asker(emulator), Asker(emulator))] == statuses


def test_two_clients_have_two_quotas(start_journey_emulator):
    emulator = start_journey_emulator(rate_limit=1, clients=(ClientSpec("second", "secret"),))
    askers = [Asker(emulator), Asker(emulator, ("second", "secret"))]
    assert [asker.get(TARGETS).status_code for asker in askers] == [200, 200]


def test_no_limit_no_headers(start_journey_emulator):
    answer = Asker(start_journey_emulator(rate_limit=0)).get(TARGETS)
    assert answer.status_code == 200
    assert "inin-ratelimit-count" not in answer.headers


def test_latency_holds_every_answer_back(start_journey_emulator):
    asker = Asker(start_journey_emulator(latency_ms=50))
    began = time.monotonic()
    asker.get(TARGETS)
    assert time.monotonic() - began >= 0.05


def test_calls_and_requests_are_kept_without_secrets(journey_emulator):
    asker, again = Asker(journey_emulator), Asker(journey_emulator)
    secret = {"client_id": journey_emulator.client_id, "client_secret": journey_emulator.client_secret}
    again.token(("nobody", "at all"), **secret)
    asker.get(TARGETS, pageSize=2)
    again.ask("POST", QUERY, json={"interval": "x"})
    assert journey_emulator.calls() == {
        "getJourneyActiontargets": {"200": 1},
        "postAnalyticsJourneysAggregatesQuery": {"400": 1},
        "token": {"200": 2, "400": 1},
    }
    (request,) = journey_emulator.requests("postAnalyticsJourneysAggregatesQuery")
    assert (request["method"], request["path"], request["status"], request["token"]) == (
        "POST",
        QUERY,
        "400",
        2,
    )
    assert request["body"] == '{"interval": "x"}'
    assert journey_emulator.requests("getJourneyActiontargets")[0]["query"] == {"pageSize": "2"}
    shown = str(journey_emulator.requests())
    assert "Authorization" not in shown
    assert "Bearer" not in shown
    assert journey_emulator.client_secret not in shown
    journey_emulator.reset_calls()
    assert journey_emulator.calls() == {}


def _standing(response):
    return tuple(int(response.headers[f"inin-ratelimit-{name}"]) for name in ("count", "allowed", "reset"))
