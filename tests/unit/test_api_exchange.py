"""The conversation, driven by hand: no network, no waiting."""

import json

import pytest

from airflow_provider_journey.api import errors, operations
from airflow_provider_journey.api.credentials import TokenStore
from airflow_provider_journey.api.exchange import Exchange, Join, Send, Wait
from airflow_provider_journey.api.messages import Answer
from airflow_provider_journey.api.pacing import Governor
from airflow_provider_journey.api.settings import ConnectionSettings
from tests.clocks import FakeClock

TARGET = operations.get_action_target("t").request
OK = Answer(200, {}, b"{}")


def token(value="tok", expires_in=86400):
    return Answer(200, {}, json.dumps({"access_token": value, "expires_in": expires_in}).encode())


class Service:
    """Answers a conversation's steps from a list and writes down what it was asked."""

    def __init__(self, **extra):
        self.clock = FakeClock()
        self.tokens = TokenStore()
        self.secrets = []
        self.asked = []
        settings = ConnectionSettings.from_connection(
            "c", login="id", password="sesame-open", host="eu-central-1", extra=extra
        )
        self.governor = Governor()
        self.exchange = Exchange(settings, self.clock, self.tokens, self.governor, self.secrets.append)

    def talk(self, *replies, request=TARGET):
        replies = list(replies)
        conversation = self.exchange.conversation(request)
        try:
            step = next(conversation)
            while True:
                if isinstance(step, Wait):
                    self.clock.sleep(step.seconds)
                    step = conversation.send(None)
                    continue
                assert isinstance(step, Send)
                self.asked.append(step)
                reply = replies.pop(0)
                step = conversation.throw(reply) if isinstance(reply, Exception) else conversation.send(reply)
        except StopIteration as stop:
            assert not replies, "fewer requests than expected"
            return stop.value

    @property
    def kinds(self):
        return ["token" if step.url.endswith("/oauth/token") else "api" for step in self.asked]


def test_token_first_then_the_request():
    service = Service()
    assert service.talk(token(), OK) is OK
    asked = service.asked
    assert asked[0].url == "https://login.mypurecloud.de/oauth/token"
    assert asked[0].headers["Authorization"] == "Basic aWQ6c2VzYW1lLW9wZW4="
    assert asked[0].content == b"grant_type=client_credentials"
    assert asked[1].url == "https://api.mypurecloud.de/api/v2/journey/actiontargets/t"
    assert asked[1].headers["Authorization"] == "Bearer tok"
    assert service.secrets == ["tok"]


def test_token_is_kept_until_shortly_before_its_end():
    service = Service()
    service.talk(token(expires_in=1000), OK)
    service.clock.now += 939
    service.talk(OK)
    service.clock.now += 2
    service.talk(token("new"), OK)
    assert service.asked[-1].headers["Authorization"] == "Bearer new"


@pytest.mark.parametrize("expires_in", [None, 0, -5, "soon", True])
def test_token_without_a_usable_life_lives_shortly(expires_in):
    service = Service()
    service.talk(token(expires_in=expires_in), OK)
    service.clock.now += 271
    service.talk(token(), OK)


def test_refused_token_is_replaced_once():
    service = Service()
    service.talk(token("old"), OK)
    service.talk(Answer(401, {}), token("new"), OK)
    assert service.exchange.statistics.tokens == 2
    with pytest.raises(errors.AuthenticationError, match="new token was refused as well"):
        service.talk(Answer(401, {}), token("newer"), Answer(401, {}))


def test_second_asker_joins_the_first():
    service = Service()
    first = service.exchange.conversation(TARGET)
    second = service.exchange.conversation(TARGET)
    assert isinstance(next(first), Send)
    join = next(second)
    assert isinstance(join, Join)
    assert not join.future.done()
    assert isinstance(first.send(token()), Send)
    join.future.result(timeout=0)
    assert isinstance(second.send(None), Wait), "the first call asks how the rate limit stands"
    service.clock.now += 1
    assert second.send(None).headers["Authorization"] == "Bearer tok"
    first.close()
    second.close()


def test_everybody_learns_that_the_credentials_are_wrong():
    service = Service()
    first = service.exchange.conversation(TARGET)
    second = service.exchange.conversation(TARGET)
    next(first)
    join = next(second)
    with pytest.raises(errors.AuthenticationError):
        first.send(Answer(401, {}, b'{"error":"invalid_client","error_description":"authentication failed"}'))
    with pytest.raises(errors.AuthenticationError, match="belongs to another region than eu-central-1"):
        join.future.result(timeout=0)
    second.close()


def test_whoever_is_cancelled_while_fetching_lets_another_fetch():
    service = Service()
    first = service.exchange.conversation(TARGET)
    second = service.exchange.conversation(TARGET)
    next(first)
    join = next(second)
    first.close()
    join.future.result(timeout=0)
    assert isinstance(second.send(None), Send), "the second one fetches the token itself"
    second.close()


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_transient_answers_are_tried_again(status):
    service = Service()
    service.talk(token(), Answer(status, {}), Answer(status, {}), OK)
    assert service.exchange.statistics.calls == 3
    assert service.exchange.statistics.errors == {str(status): 2}
    assert sum(service.clock.slept) > 1
    assert service.exchange.statistics.waited_s == pytest.approx(sum(service.clock.slept))


@pytest.mark.parametrize("status", [400, 403, 404, 409, 413, 415, 500, 501])
def test_what_would_not_change_is_asked_once(status):
    service = Service()
    with pytest.raises(errors.JourneyError):
        service.talk(token(), Answer(status, {}))
    assert service.clock.slept == []


def test_tries_end():
    service = Service(max_retries=2)
    with pytest.raises(errors.ServerError):
        service.talk(token(), *[Answer(503, {})] * 3)


def test_no_answer_is_tried_again():
    service = Service()
    gone = errors.ConnectionFailedError("gone", transient=True)
    service.talk(token(), gone, OK)
    service.talk(gone, OK)


def test_token_endpoint_rate_limit_is_tried_again_though_it_says_400():
    service = Service()
    limit = Answer(400, {}, b'{"error":"invalid_request","description":"rate limit exceeded"}')
    service.talk(limit, limit, token(), OK)
    assert service.kinds == ["token", "token", "token", "api"]


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"access_token":7}', b'{"access_token":""}'])
def test_token_answer_without_a_token_is_a_response_error(body):
    with pytest.raises(errors.ResponseError):
        Service().talk(Answer(200, {}, body))


def test_retry_after_is_waited_out_in_full():
    service = Service()
    service.talk(token(), Answer(429, {"retry-after": "42"}), Answer(429, {"retry-after": "7"}), OK)
    first, second = service.clock.slept
    assert 42 < first < 46
    assert 7 < second < 9


def test_a_429_also_holds_back_the_others():
    service = Service()
    service.talk(token(), OK)
    refused = service.exchange.conversation(TARGET)
    next(refused)
    assert isinstance(refused.send(Answer(429, {"retry-after": "30"})), Wait)
    other = service.exchange.conversation(TARGET)
    step = next(other)
    assert step == Wait(30.0)
    refused.close()
    other.close()


def test_longer_than_ten_minutes_is_not_waited():
    service = Service()
    with pytest.raises(errors.RateLimitedError) as caught:
        service.talk(token(), Answer(429, {"retry-after": "601"}))
    assert caught.value.retry_after == 601
    with pytest.raises(errors.RateLimitedError, match="was not sent"):
        service.talk()
    assert service.clock.slept == []


def test_full_window_is_waited_out_before_sending():
    service = Service()
    full = {"inin-ratelimit-count": "300", "inin-ratelimit-allowed": "300", "inin-ratelimit-reset": "25"}
    service.talk(token(), Answer(200, full, b"{}"))
    service.talk(OK)
    assert service.clock.slept == [26.0], "25 may be 25.9 rounded down"
    assert service.exchange.statistics.waited_s == 26.0


def test_operation_of_the_other_surface_is_refused_before_any_request():
    service = Service(segments_api="externalcontacts")
    with pytest.raises(errors.UnsupportedOperationError, match="segments_api='externalcontacts'"):
        service.talk(request=operations.list_session_segments("s").request)
    assert service.asked == []


def test_call_that_is_broken_off_gives_its_place_back():
    service = Service()
    last = {"inin-ratelimit-count": "1", "inin-ratelimit-allowed": "3", "inin-ratelimit-reset": "25"}
    service.talk(token(), Answer(200, last, b"{}"))
    service.clock.now += 1
    broken_off = service.exchange.conversation(TARGET)
    assert isinstance(next(broken_off), Send)
    broken_off.close()
    assert service.governor.standing(service.clock.now).count == 2, "it may have been counted"
    assert service.governor.standing(service.clock.now + 30).count == 0, "it is not on its way"
