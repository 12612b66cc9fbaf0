"""Both hooks and all eight operations, over an Airflow connection and HTTP."""

import json
import os

import pytest

from airflow_provider_journey.api.errors import NotFoundError, UnsupportedOperationError
from airflow_provider_journey.emulator.options import ClientSpec
from airflow_provider_journey.hooks.journey import JourneyHook
from tests.emulator.calling import Async, Sync, connect

DAY = {"interval": "2026-03-01T00:00:00Z/2026-03-02T00:00:00Z", "metrics": ["nJourneySessions"]}


@pytest.fixture(params=[Sync, Async], ids=["sync", "async"])
def hook(request, monkeypatch, journey_emulator):
    return request.param(connect(monkeypatch, journey_emulator))


def test_action_targets(hook, journey_emulator):
    targets = hook.all("list_action_targets", page_size=2)
    assert len(targets) > 2
    assert len({target["id"] for target in targets}) == len(targets)
    assert targets == hook.all("list_action_targets", page_size=200)
    one = hook.call("get_action_target", targets[0]["id"])
    assert one == targets[0]
    level = {"percentage": 0.85, "durationMs": 20000}
    changed = hook.call("update_action_target", one["id"], name="VIP desk", service_level=level)
    assert (changed["name"], changed["serviceLevel"]) == ("VIP desk", level)
    assert hook.call("get_action_target", one["id"])["name"] == "VIP desk"


def test_segments_of_a_contact_read_back(hook, journey_emulator):
    contact = journey_emulator.examples["external_contact_id"]
    segment = journey_emulator.examples["segment_id"]
    nothing = {"assign": [], "unassign": []}
    assert hook.call("update_external_contact_segments", contact, assign=[segment]) == nothing
    assigned = hook.all("list_external_contact_segments", contact, assignment_state="Assigned", page_size=1)
    assert segment in {entity["segment"]["id"] for entity in assigned}
    assert hook.call("update_external_contact_segments", contact, unassign=[segment]) == nothing
    states = {
        entity["segment"]["id"]: entity["state"]
        for entity in hook.all("list_external_contact_segments", contact)
    }
    assert states[segment] == "Unassigned"


def test_segments_of_customer_and_session(hook, journey_emulator):
    examples = journey_emulator.examples
    by_customer = hook.all(
        "list_customer_segments", examples["customer_id_type"], examples["customer_id"], page_size=1
    )
    by_session = hook.all("list_session_segments", examples["session_id"], page_size=1)
    assert by_customer
    assert by_session
    for found in (by_customer, by_session):
        assert len({entity["id"] for entity in found}) == len(found)
    only = hook.all("list_session_segments", examples["session_id"], segment_scope="Session")
    assert {entity["id"] for entity in only} <= {entity["id"] for entity in by_session}


def test_aggregates(hook, journey_emulator):
    answer = hook.call("query_aggregates", DAY)
    assert answer["results"][0]["data"][0]["metrics"][0]["metric"] == "nJourneySessions"

    class Query:
        def to_dict(self):
            return DAY

    assert hook.call("query_aggregates", Query()) == answer


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("get_action_target", ("nobody",)),
        ("list_session_segments", ("nobody",)),
        ("list_external_contact_segments", ("nobody",)),
    ],
)
def test_unknown_id_is_not_found(hook, journey_emulator, name, args):
    with pytest.raises(NotFoundError, match="nobody"):
        (hook.all if name.startswith("list") else hook.call)(name, *args)


@pytest.mark.parametrize("kind", [Sync, Async])
def test_other_surface_is_refused_without_a_request(kind, monkeypatch, journey_emulator):
    own = kind(connect(monkeypatch, journey_emulator, segments_api="externalcontacts"))
    with pytest.raises(UnsupportedOperationError, match="segments_api"):
        own.call("update_action_target", "t", name="n")
    assert journey_emulator.calls() == {}


def test_connection_test_says_what_it_may(monkeypatch, journey_emulator):
    ok, message = JourneyHook(connect(monkeypatch, journey_emulator)).test_connection()
    assert ok
    assert "aggregates: permitted" in message
    assert "segments (journey): permitted" in message
    calls = journey_emulator.calls()
    assert set(calls) == {
        "token",
        "postAnalyticsJourneysAggregatesQuery",
        "getJourneyExternalcontactSegments",
    }


def test_connection_test_names_the_missing_permission(monkeypatch, start_journey_emulator):
    emulator = start_journey_emulator(
        clients=(
            ClientSpec("reader", "reader-secret", ("analytics:journeyAggregate:view",)),
            ClientSpec("nobody", "nobody-secret", ()),
        )
    )
    emulator.client_id, emulator.client_secret = "reader", "reader-secret"
    ok, message = JourneyHook(connect(monkeypatch, emulator)).test_connection()
    assert ok
    assert "aggregates: permitted" in message
    assert "journey:segmentassignment:view" in message
    emulator.client_id, emulator.client_secret = "nobody", "nobody-secret"
    ok, message = JourneyHook(connect(monkeypatch, emulator)).test_connection()
    assert not ok
    assert "analytics:journeyAggregate:view" in message


@pytest.mark.parametrize(
    ("surface", "other"), [("journey", "externalcontacts"), ("externalcontacts", "journey")]
)
def test_connection_test_says_which_surface_answers(monkeypatch, start_journey_emulator, surface, other):
    emulator = start_journey_emulator(surface=surface)
    ok, message = JourneyHook(connect(monkeypatch, emulator, segments_api=surface)).test_connection()
    assert ok
    assert f"segments ({surface}): permitted" in message
    assert f"serves segments_api={surface!r}" in message
    ok, message = JourneyHook(connect(monkeypatch, emulator, segments_api=other)).test_connection()
    assert not ok
    assert f"does not serve segments_api={other!r}; it serves {surface!r}" in message


def test_connection_test_survives_a_feature_that_is_off(monkeypatch, journey_emulator):
    today = "getExternalcontactsContactJourneySegments"
    journey_emulator.script({"fault": "501", "operation": today})
    own = connect(monkeypatch, journey_emulator, segments_api="externalcontacts")
    ok, message = JourneyHook(own).test_connection()
    assert ok
    assert "aggregates: permitted; segments (externalcontacts): not available" in message
    assert "not switched on" in message
    assert "This organisation serves" not in message


@pytest.mark.parametrize("fault", ["token-html", "token-garbage"])
def test_connection_test_shows_a_login_address_that_is_none(monkeypatch, journey_emulator, fault):
    journey_emulator.script({"fault": fault, "operation": "token"})
    ok, message = JourneyHook(connect(monkeypatch, journey_emulator)).test_connection()
    assert not ok
    assert message.startswith("Network or region: ")
    assert f"{journey_emulator.base_url}/oauth/token was answered" in message


def test_connection_test_says_which_part_is_wrong(monkeypatch, journey_emulator):
    journey_emulator.client_secret = "guessed-wrongly"
    ok, message = JourneyHook(connect(monkeypatch, journey_emulator)).test_connection()
    assert not ok
    assert message.startswith("Credentials or region: ")
    assert "guessed-wrongly" not in message

    address = journey_emulator.base_url
    journey_emulator.base_url = f"{address}/console"
    ok, message = JourneyHook(connect(monkeypatch, journey_emulator)).test_connection()
    assert not ok
    assert message.startswith("Network or region: ")
    assert f"{address}/console/oauth/token answered 404" in message

    journey_emulator.base_url = "http://127.0.0.1:9"
    ok, message = JourneyHook(connect(monkeypatch, journey_emulator, max_retries=0)).test_connection()
    assert not ok
    assert message.startswith("Network or region: ")

    journey_emulator.base_url = "eu-cental-1"
    ok, message = JourneyHook(connect(monkeypatch, journey_emulator)).test_connection()
    assert not ok
    assert "did you mean eu-central-1" in message

    journey_emulator.base_url = "localhost"
    conn_id = connect(monkeypatch, journey_emulator)
    broken = json.loads(os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"]) | {"extra": "{segments_api: journey"}
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(broken))
    ok, message = JourneyHook(conn_id).test_connection()
    assert not ok
    assert "extra is not valid JSON" in message

    ok, message = JourneyHook("nowhere").test_connection()
    assert not ok
    assert message.startswith("The conn_id `nowhere` isn't defined")

    ok, message = JourneyHook(connect(monkeypatch, journey_emulator, timeout="soon")).test_connection()
    assert not ok
    assert "timeout is 'soon'" in message
