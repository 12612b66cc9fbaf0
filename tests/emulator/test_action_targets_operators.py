"""Action targets listed and changed, and left alone where nothing would change."""

import pytest

from airflow_provider_journey.api.errors import InvalidRequestError, ServerError
from airflow_provider_journey.operators import action_targets
from airflow_provider_journey.operators.action_targets import (
    JourneyActionTargetListOperator,
    JourneyActionTargetUpdateOperator,
)
from tests.emulator.calling import connect
from tests.emulator.waiting import AirflowFailException

READ, CHANGE = "getJourneyActiontarget", "patchJourneyActiontarget"


@pytest.fixture
def update(conn_id, journey_emulator):
    def make(**options):
        target = journey_emulator.examples["action_target_id"]
        defaults = {"action_target_id": target, "journey_conn_id": conn_id}
        return JourneyActionTargetUpdateOperator(task_id="update", **defaults | options)

    return make


def test_all_targets_or_those_of_a_state_are_listed(conn_id, journey_emulator):
    def listed(**options):
        return JourneyActionTargetListOperator(task_id="list", journey_conn_id=conn_id, **options).execute({})

    everything = listed(page_size=3)
    assert {target["state"] for target in everything} == {"active", "inactive"}
    assert listed(state="inactive") == [each for each in everything if each["state"] == "inactive"]
    assert listed(state="deleted") == []
    with pytest.raises(InvalidRequestError, match="state is one of"):
        listed(state="sleeping")
    with pytest.raises(InvalidRequestError, match="201"):
        JourneyActionTargetListOperator(task_id="list", page_size=201)


def test_change_is_sent_once_and_then_left(update, journey_emulator):
    level = {"percentage": 0.65, "durationMs": 45_000}
    changed = update(service_level=level, name="Sales").execute({})
    assert (changed["serviceLevel"], changed["name"]) == (level, "Sales")
    assert update(service_level=level, name="Sales").execute({}) == changed
    assert journey_emulator.calls()[CHANGE] == {"200": 1}
    assert journey_emulator.calls()[READ] == {"200": 2}


def test_what_a_service_level_lacks_stays_as_it_is(update):
    before = update(name="Sales").execute({})["serviceLevel"]
    assert update(service_level={"percentage": 0.1}).execute({})["serviceLevel"] == {
        **before,
        "percentage": 0.1,
    }
    after = update(service_level={"durationMs": "90000"}).execute({})["serviceLevel"]
    assert after == {"percentage": 0.1, "durationMs": 90_000}


def test_level_of_which_the_service_says_nothing_is_given_as_asked():
    target = {"serviceLevel": {"percentage": None, "durationMs": None}}
    changes = action_targets._changes(target, None, {"percentage": 0.5})
    assert changes == {"service_level": {"percentage": 0.5}}


def test_nothing_at_all_after_rendering_is_no_success(update, journey_emulator):
    operator = update(service_level="{{ params.level }}")
    for rendered in ("", None):
        operator.service_level = rendered
        with pytest.raises(AirflowFailException, match="service_level"):
            operator.execute({})
    assert READ not in journey_emulator.calls()


def test_templates_are_rendered_into_numbers(update):
    operator = update(service_level={"percentage": "{{ params.share }}"})
    operator.render_template_fields({"params": {"share": 0.35}})
    assert operator.execute({})["serviceLevel"]["percentage"] == 0.35
    with pytest.raises(AirflowFailException, match="template"):
        update(name="{{ params.name }}").execute({})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"name": " "},
        {"service_level": {}},
        {"service_level": {"percent": 0.5}},
        {"service_level": {"percentage": 1.1}},
        {"service_level": {"percentage": True}},
        {"service_level": {"percentage": "most"}},
        {"service_level": {"durationMs": 0}},
        {"service_level": {"durationMs": 1.5}},
        {"service_level": ["percentage"]},
        {"service_level": {"durationMs": True}},
        {"service_level": []},
        {"service_level": ""},
    ],
)
def test_what_cannot_be_is_refused_when_the_dag_is_parsed(options, update):
    with pytest.raises(InvalidRequestError):
        update(**options)


def test_what_another_try_cannot_heal_fails_for_good(update, journey_emulator):
    with pytest.raises(AirflowFailException, match="no-such-target"):
        update(action_target_id="no-such-target", name="Sales").execute({})
    journey_emulator.script({"fault": "403", "operation": CHANGE})
    with pytest.raises(AirflowFailException, match="journey:actiontarget:edit"):
        update(name="Sales").execute({})
    journey_emulator.script({"fault": "503", "operation": READ})
    with pytest.raises(ServerError):
        update(name="Sales").execute({})


def test_organisation_whose_targets_cannot_be_changed_says_so(monkeypatch, journey_emulator):
    conn_id = connect(monkeypatch, journey_emulator, segments_api="externalcontacts")
    operator = JourneyActionTargetUpdateOperator(
        task_id="update",
        action_target_id=journey_emulator.examples["action_target_id"],
        name="Sales",
        journey_conn_id=conn_id,
    )
    with pytest.raises(AirflowFailException, match="segments_api='externalcontacts'"):
        operator.execute({})
    assert CHANGE not in journey_emulator.calls()
