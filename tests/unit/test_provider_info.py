"""What Airflow is told, checked against Airflow's own schemas."""

import importlib
import inspect
import json
from importlib.metadata import distribution
from pathlib import Path

import airflow
import jsonschema
import pytest

from airflow_provider_journey import get_provider_info
from airflow_provider_journey.hooks.journey import DEFAULT_CONN_ID, JourneyAsyncHook, JourneyHook

INFO = get_provider_info.get_provider_info()
AIRFLOW = Path(airflow.__file__).parent


def test_info_satisfies_airflows_schema():
    jsonschema.validate(INFO, json.loads((AIRFLOW / "provider_info.schema.json").read_text()))


def test_connection_type_satisfies_the_stricter_schema_of_a_provider():
    schema = json.loads((AIRFLOW / "provider.yaml.schema.json").read_text())
    part = {**schema["properties"]["connection-types"], "definitions": schema.get("definitions", {})}
    jsonschema.validate(INFO["connection-types"], part)


def test_package_name_is_the_distribution():
    dist = distribution("airflow-provider-journey")
    assert INFO["package-name"] == dist.metadata["Name"]
    entries = {(entry.group, entry.name): entry for entry in dist.entry_points}
    assert entries["apache_airflow_provider", "provider_info"].load()() == INFO


def test_every_module_and_class_named_exists():
    for kind in ("hooks", "operators", "sensors", "triggers"):
        for group in INFO.get(kind, []):
            for name in group["python-modules"]:
                importlib.import_module(name)
    for entry in INFO["connection-types"]:
        module, _, name = entry["hook-class-name"].rpartition(".")
        hook = getattr(importlib.import_module(module), name)
        assert hook.conn_type == entry["connection-type"] == "journey"
        assert hook.hook_name == entry["hook-name"] == "Genesys Cloud Journey"


def test_every_extra_has_a_field_and_every_field_is_read():
    fields = INFO["connection-types"][0]["conn-fields"]
    source = Path(importlib.import_module("airflow_provider_journey.api.settings").__file__).read_text()
    assert list(fields) == [
        "segments_api",
        "timeout",
        "max_retries",
        "rate_limit_share",
        "allow_http",
        "proxy",
        "verify",
    ]
    for name, field in fields.items():
        assert f'"{name}"' in source
        assert "null" in field["schema"]["type"], "a field without null could not be left empty"


def test_form_is_drawn_by_airflow():
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

    found = [meta for meta in HookMetaService.hook_meta_data() if meta.connection_type == "journey"]
    assert len(found) == 1
    assert found[0].hook_name == "Genesys Cloud Journey"
    assert set(found[0].extra_fields) == set(INFO["connection-types"][0]["conn-fields"])
    assert found[0].standard_fields.login.title == "Client id"
    assert found[0].standard_fields.url_schema.hidden


PUBLIC = {
    "get_action_target": "action_target_id",
    "list_action_targets": "page_size",
    "update_action_target": "action_target_id name service_level",
    "list_customer_segments": "customer_id_type customer_id filters",
    "list_external_contact_segments": "external_contact_id filters",
    "list_session_segments": "session_id filters",
    "update_external_contact_segments": "external_contact_id assign unassign",
    "query_aggregates": "query",
    "submit_aggregates_job": "query page_size",
    "get_aggregates_job": "job_id",
    "iter_aggregates_job_results": "job_id",
    "cancel_aggregates_job": "job_id",
    "lookup_contact": "identifier_type value external_source",
    "list_segments": "page_size",
}


@pytest.mark.parametrize("hook", [JourneyHook, JourneyAsyncHook])
def test_public_methods_of_the_hooks(hook):
    own = {name for name in vars(hook) if not name.startswith("_") and inspect.isfunction(vars(hook)[name])}
    assert own - {"client", "get_conn", "close", "aclose", "test_connection"} == set(PUBLIC)
    for name, parameters in PUBLIC.items():
        signature = inspect.signature(getattr(hook, name))
        assert " ".join(list(signature.parameters)[1:]) == parameters, name
        assert getattr(hook, name).__doc__


@pytest.mark.parametrize("hook", [JourneyHook, JourneyAsyncHook])
def test_both_hooks_are_of_the_connection_type(hook):
    (entry,) = INFO["connection-types"]
    assert (hook.conn_type, hook.hook_name) == (entry["connection-type"], entry["hook-name"])
    assert hook.conn_name_attr == "journey_conn_id"
    assert hook.default_conn_name == hook().journey_conn_id == DEFAULT_CONN_ID == "journey_default"
    assert hook("another").journey_conn_id == hook(journey_conn_id="another").journey_conn_id == "another"


# What DAGs import, with what each needs to be told; everything else has a default.
CLASSES = {
    "operators.aggregates.JourneyAggregateQueryOperator": "query",
    "operators.aggregates.JourneyAggregatesToObjectStorageOperator": "path query",
    "operators.aggregates.JourneyAggregatesToSqlOperator": "conn_id query table",
    "operators.segments.JourneySegmentAssignmentOperator": "external_contact_id",
    "operators.segments.JourneySegmentSyncOperator": "audience ledger mode segment_ids",
    "operators.action_targets.JourneyActionTargetListOperator": "",
    "operators.action_targets.JourneyActionTargetUpdateOperator": "action_target_id",
    "sensors.segments.JourneySegmentAssignmentSensor": "segment_ids",
    "sensors.aggregates.JourneyAggregateSensor": "query",
    "triggers.changes.JourneySegmentChangeTrigger": "",
    "triggers.changes.JourneyAggregateChangeTrigger": "query",
}


@pytest.mark.parametrize("path", CLASSES)
def test_public_classes(path):
    module, _, name = path.rpartition(".")
    found = getattr(importlib.import_module(f"airflow_provider_journey.{module}"), name)
    parameters = inspect.signature(found.__init__).parameters.values()
    required = {
        each.name for each in parameters if each.default is each.empty and each.kind is each.KEYWORD_ONLY
    }
    assert required == set(CLASSES[path].split())
    assert found.__doc__
    named = [
        name for kind in ("operators", "sensors", "triggers") for name in INFO[kind][0]["python-modules"]
    ]
    assert f"airflow_provider_journey.{module}" in named


# What two of them name alike, each in a signature of its own, has one default.
TWINS = [
    ("operators.segments.JourneySegmentSyncOperator", "task_groups.segment_sync.journey_segment_sync"),
    (
        "operators.aggregates.JourneyAggregatesToObjectStorageOperator",
        "operators.aggregates.JourneyAggregatesToSqlOperator",
    ),
    (
        "operators.aggregates.JourneyAggregatesToObjectStorageOperator",
        "operators.aggregates.JourneyAggregateQueryOperator",
    ),
    ("operators.aggregates.JourneyAggregateQueryOperator", "sensors.aggregates.JourneyAggregateSensor"),
]


def parameters_of(path):
    """The parameters with a default that a class or function and the classes that it is made of name."""
    module, _, name = path.rpartition(".")
    found = getattr(importlib.import_module(f"airflow_provider_journey.{module}"), name)
    named = {}
    for each in found.__mro__ if inspect.isclass(found) else (found,):
        if not each.__module__.startswith("airflow_provider_journey."):
            continue
        for parameter in inspect.signature(
            each.__init__ if inspect.isclass(each) else each
        ).parameters.values():
            if parameter.default is not parameter.empty:
                named.setdefault(parameter.name, set()).add(parameter.default)
    return named


@pytest.mark.parametrize(("one", "other"), TWINS)
def test_parameters_that_stand_twice_have_one_default(one, other):
    one, other = parameters_of(one), parameters_of(other)
    shared = one.keys() & other.keys()
    assert len(shared) >= 3
    assert {name: one[name] | other[name] for name in shared if len(one[name] | other[name]) > 1} == {}
