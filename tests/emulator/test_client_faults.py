"""Both clients against a service that misbehaves: judged by what reached it."""

import asyncio
import threading
import uuid

import pytest

from airflow_provider_journey.api import errors, exchange, operations
from airflow_provider_journey.api.async_client import JourneyAsyncClient
from airflow_provider_journey.api.client import JourneyClient
from airflow_provider_journey.api.settings import ConnectionSettings
from tests.clocks import FakeClock

QUERY = operations.query_aggregates(
    {"interval": "2026-03-01T00:00:00Z/2026-03-02T00:00:00Z", "metrics": ["nJourneySessions"]}
)
OPERATION = "postAnalyticsJourneysAggregatesQuery"


def settings_for(emulator, **fields):
    parts = {"login": emulator.client_id, "password": emulator.client_secret, "host": emulator.base_url}
    # An id of its own: tokens and governors are kept by connection for as long as the process lives.
    return ConnectionSettings.from_connection(uuid.uuid4().hex, **{**parts, **fields})


class Blocking:
    """The blocking client, used as both are."""

    def __init__(self, settings, clock):
        self.client = JourneyClient(exchange.shared(settings, clock=clock))

    def run(self, call):
        try:
            return self.client.run(call)
        finally:
            self.client.close()

    def all(self, call):
        return list(self.client.iterate(call))


class Looping(Blocking):
    """The asynchronous client, used as both are."""

    def __init__(self, settings, clock):
        self.client = JourneyAsyncClient(exchange.shared(settings, clock=clock))

    def run(self, call):
        return asyncio.run(self._run(call))

    def all(self, call):
        return asyncio.run(self._all(call))

    async def _run(self, call):
        try:
            return await self.client.run(call)
        finally:
            await self.client.aclose()

    async def _all(self, call):
        try:
            return [entity async for entity in self.client.iterate(call)]
        finally:
            await self.client.aclose()


@pytest.fixture(params=[Blocking, Looping], ids=["sync", "async"])
def client(request, journey_emulator):
    """A client over the emulator whose waits are written down instead of waited."""
    made = request.param(settings_for(journey_emulator), FakeClock())
    made.clock = made.client._exchange.clock
    made.kind = request.param
    return made


def answered(emulator, operation=OPERATION):
    return emulator.calls().get(operation, {})


TRANSIENT = ["502", "503", "504", "408", "429", "502-html", "504-empty", "429-no-header", "reset-before"]


@pytest.mark.parametrize("fault", TRANSIENT)
def test_transient_fault_is_ridden_out(client, journey_emulator, fault):
    journey_emulator.script({"fault": fault, "operation": OPERATION, "times": 2})
    assert "results" in client.run(QUERY)
    assert client.client.statistics.calls == 3
    assert len(client.clock.slept) >= 2


def test_connection_reset_after_the_request_was_read_is_ridden_out(client, journey_emulator):
    journey_emulator.script({"fault": "reset-after", "operation": OPERATION, "times": 1})
    assert "results" in client.run(QUERY)
    assert client.client.statistics.errors == {"ConnectionFailedError": 1}


PERMANENT = {
    "403": errors.PermissionDeniedError,
    "413": errors.InvalidRequestError,
    "500": errors.ServerError,
    "501": errors.UnsupportedOperationError,
    "cut-json": errors.ResponseError,
    "non-json": errors.ResponseError,
    "empty-body": errors.ResponseError,
}


@pytest.mark.parametrize("fault", PERMANENT)
def test_what_would_not_change_is_asked_once(client, journey_emulator, fault):
    journey_emulator.script({"fault": fault, "operation": OPERATION, "times": 9})
    with pytest.raises(PERMANENT[fault]) as caught:
        client.run(QUERY)
    assert client.client.statistics.calls == 1
    assert client.clock.slept == []
    assert caught.value.correlation_id
    assert OPERATION in str(caught.value)


def test_answer_that_is_cut_off_is_asked_again_and_then_a_response_error(client, journey_emulator):
    journey_emulator.script({"fault": "truncated", "operation": OPERATION, "times": 1})
    assert "results" in client.run(QUERY)
    journey_emulator.script({"fault": "truncated", "operation": OPERATION, "times": 9})
    with pytest.raises(errors.ResponseError, match="cut off") as caught:
        client.run(QUERY)
    assert caught.value.status == 200
    assert caught.value.correlation_id in str(caught.value)


@pytest.mark.parametrize("fault", ["429", "429-date", "503"])
def test_retry_after_is_honoured_to_the_full(client, journey_emulator, fault):
    import time

    client.clock.epoch = time.time() - client.clock.now  # a date is read against the wall clock
    journey_emulator.script({"fault": fault, "operation": OPERATION, "times": 1, "retry_after": 37})
    client.run(QUERY)
    low = 36 if fault == "429-date" else 37  # a date has whole seconds
    assert low <= client.clock.slept[0] < 41


def test_retry_after_beyond_ten_minutes_is_left_to_airflow(client, journey_emulator):
    journey_emulator.script({"fault": "429", "operation": OPERATION, "times": 1, "retry_after": 700})
    with pytest.raises(errors.RateLimitedError) as caught:
        client.run(QUERY)
    assert caught.value.retry_after == 700
    assert client.client.statistics.calls == 1


def test_revoked_token_is_replaced_and_the_work_goes_on(client, journey_emulator):
    client.run(QUERY)
    journey_emulator.revoke_tokens()
    client.run(QUERY)
    assert answered(journey_emulator) == {"200": 2, "401": 1}
    assert sum(answered(journey_emulator, "token").values()) == 2


def test_token_that_is_refused_again_is_an_authentication_error(client, journey_emulator):
    journey_emulator.script({"fault": "401", "operation": OPERATION, "times": 9})
    with pytest.raises(errors.AuthenticationError):
        client.run(QUERY)
    assert answered(journey_emulator) == {"401": 2}


def test_token_endpoint_rate_limit_is_waited_out(client, journey_emulator):
    journey_emulator.script({"fault": "token-rate-limit", "times": 2})
    client.run(QUERY)
    assert sum(answered(journey_emulator, "token").values()) == 3


@pytest.mark.parametrize("fault", ["token-html", "token-garbage"])
def test_token_endpoint_that_talks_nonsense_is_a_response_error(client, journey_emulator, fault):
    journey_emulator.script({"fault": fault, "times": 9})
    with pytest.raises(errors.ResponseError):
        client.run(QUERY)
    assert answered(journey_emulator) == {}


@pytest.mark.parametrize("kind", [Blocking, Looping])
def test_wrong_secret_is_said_once_and_not_tried_again(kind, journey_emulator):
    made = kind(settings_for(journey_emulator, password="not-the-secret"), FakeClock())
    with pytest.raises(errors.AuthenticationError, match="client id or the secret is wrong") as caught:
        made.run(QUERY)
    assert "not-the-secret" not in str(caught.value)
    assert sum(answered(journey_emulator, "token").values()) == 1


@pytest.mark.parametrize("kind", [Blocking, Looping])
@pytest.mark.parametrize(
    ("host", "words"), [("http://127.0.0.1:9", "refused"), ("http://[::1]:9", "refused")]
)
def test_nobody_listens(kind, journey_emulator, host, words):
    made = kind(settings_for(journey_emulator, host=host, extra={"max_retries": 1}), FakeClock())
    with pytest.raises(errors.ConnectionFailedError, match=words):
        made.run(QUERY)


@pytest.mark.parametrize("kind", [Blocking, Looping])
def test_silence_ends_with_the_time_out(kind, journey_emulator):
    journey_emulator.script({"fault": "slow", "operation": OPERATION, "times": 9, "seconds": 5})
    made = kind(settings_for(journey_emulator, extra={"timeout": 0.2, "max_retries": 0}), FakeClock())
    with pytest.raises(errors.ConnectionFailedError, match="no answer within 0.2 s") as caught:
        made.run(QUERY)
    assert caught.value.maybe_processed


@pytest.mark.parametrize("fault", [*TRANSIENT, *PERMANENT, "401", "token-401", "token-html", "wrong-shape"])
def test_no_error_shows_a_secret(client, journey_emulator, fault):
    journey_emulator.script({"fault": fault, "times": 20})
    try:
        client.run(QUERY)
    except errors.JourneyError as error:
        chain, shown = error, ""
        while chain is not None:
            shown += f"{chain!r} {getattr(chain, '__dict__', '')}"
            chain = chain.__cause__ or chain.__context__
        assert journey_emulator.client_secret not in shown
        assert "Bearer" not in shown
        assert "Basic" not in shown


def test_threads_share_one_token(journey_emulator):
    settings = settings_for(journey_emulator)
    shared = exchange.shared(settings)
    clients = [JourneyClient(shared) for _ in range(8)]
    barrier = threading.Barrier(len(clients))

    def work(own):
        barrier.wait()
        own.run(QUERY)
        own.close()

    threads = [threading.Thread(target=work, args=(own,)) for own in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answered(journey_emulator) == {"200": 8}
    assert sum(answered(journey_emulator, "token").values()) == 1


def test_tasks_share_one_token(journey_emulator):
    async def work():
        client = JourneyAsyncClient(exchange.shared(settings_for(journey_emulator)))
        try:
            await asyncio.gather(*(client.run(QUERY) for _ in range(20)))
        finally:
            await client.aclose()

    asyncio.run(work())
    assert answered(journey_emulator) == {"200": 20}
    assert sum(answered(journey_emulator, "token").values()) == 1


def test_cancelled_task_does_not_take_the_others_token_along(journey_emulator):
    async def work():
        client = JourneyAsyncClient(exchange.shared(settings_for(journey_emulator)))
        try:
            first = asyncio.create_task(client.run(QUERY))
            second = asyncio.create_task(client.run(QUERY))
            await asyncio.sleep(0)
            first.cancel()
            return await asyncio.gather(first, second, return_exceptions=True)
        finally:
            await client.aclose()

    first, second = asyncio.run(work())
    assert isinstance(first, asyncio.CancelledError)
    assert "results" in second


class Stop(Exception):
    """Raised where a client would begin to wait for the next window."""


class StoppingClock(FakeClock):
    """A clock on which nobody gets past a long wait."""

    def sleep(self, seconds):
        super().sleep(seconds)
        if seconds > 10:
            raise Stop


@pytest.mark.parametrize("kind", [Blocking, Looping], ids=["sync", "async"])
def test_full_window_sends_nothing_before_its_end(kind, start_journey_emulator):
    emulator = start_journey_emulator(rate_limit=5, window=60)
    made = kind(settings_for(emulator), StoppingClock())
    for _ in range(5):
        made.run(QUERY)
    with pytest.raises(Stop):
        made.run(QUERY)
    assert answered(emulator) == {"200": 5}
    assert 55 < sum(made.client._exchange.clock.slept) <= 61


def test_ids_travel_percent_encoded(client, journey_emulator):
    odd = "a/b c?d#e%2F@é"
    with pytest.raises(errors.NotFoundError) as caught:
        client.run(operations.list_external_contact_segments(odd))
    assert caught.value.entity_id == odd


def test_cookies_are_not_kept_and_netrc_is_not_read(client, journey_emulator, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text(
        "machine 127.0.0.1 login other password else\nmachine localhost login other password else\n"
    )
    monkeypatch.setenv("NETRC", str(netrc))
    client.run(QUERY)
    assert answered(journey_emulator) == {"200": 1}
