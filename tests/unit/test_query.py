"""What a query refuses, warns of and carries through."""

import copy
import json
import pickle
import warnings

import pytest

from airflow_provider_journey.aggregates.asking import is_too_large
from airflow_provider_journey.aggregates.query import AggregateQuery, QueryError, UnknownNameWarning
from airflow_provider_journey.aggregates.rows import RowShape
from airflow_provider_journey.aggregates.templates import leftover_templates
from airflow_provider_journey.api import answers, operations
from airflow_provider_journey.api.errors import InvalidRequestError, ServerError
from airflow_provider_journey.api.messages import Answer
from airflow_provider_journey.operators.aggregates import JourneyAggregateQueryOperator

OFFERED = "nWebActionsOffered"
PREDICATE = {"type": "dimension", "dimension": "journeyActionMapId", "operator": "matches", "value": "a"}
VIEW = {
    "target": "oJourneyOutcomeValue",
    "name": "small",
    "function": "rangeBound",
    "range": {"gte": 0, "lt": 10},
}
BODY = {
    "metrics": [OFFERED, "oJourneyOutcomeValue"],
    "groupBy": ["journeyActionMapId"],
    "filter": {
        "type": "and",
        "predicates": [PREDICATE, {"dimension": "journeySessionId", "operator": "exists"}],
        "clauses": [{"type": "or", "predicates": [PREDICATE, {**PREDICATE, "value": "b"}]}],
    },
    "granularity": "PT1H",
    "timeZone": "Europe/Berlin",
    "flattenMultivaluedDimensions": True,
    "views": [VIEW],
    "alternateTimeDimension": "eventTime",
    "interval": "2026-11-22T00:00:00+01:00/2026-11-23T00:00:00+01:00",
}


def test_body_survives_the_round_trip():
    assert AggregateQuery.from_dict(BODY).to_dict() == BODY


def test_what_is_not_set_is_not_sent():
    assert AggregateQuery(metrics=[OFFERED]).to_dict() == {"metrics": [OFFERED]}
    assert AggregateQuery.from_dict({"metrics": [OFFERED], "filter": None}) == AggregateQuery([OFFERED])


def test_query_keeps_what_was_checked():
    body = copy.deepcopy(BODY)
    query = AggregateQuery.from_dict(body)
    body["filter"]["predicates"].clear()
    body["metrics"].append("x")
    query.to_dict()["filter"]["clauses"].clear()
    assert query.to_dict() == BODY


def changed(**changes):
    return {**BODY, **changes}


def filtered(predicate):
    return changed(filter={"type": "and", "predicates": [predicate]})


REFUSED = {
    "no metric": (changed(metrics=[]), "metrics", "at least one"),
    "metrics a string": (changed(metrics=OFFERED), "metrics", "list"),
    "metric no name": (changed(metrics=["n Web"]), "metrics", "not a name"),
    "metric a number": (changed(metrics=[5]), "metrics", "not a name"),
    "metric twice": (changed(metrics=[OFFERED, OFFERED]), "metrics", "twice"),
    "dimension twice": (changed(groupBy=["journeySessionId"] * 2), "groupBy", "twice"),
    "unknown key": (changed(groupby=[]), "groupby", "Did you mean 'groupBy'"),
    "snake case": (changed(time_zone="UTC"), "time_zone", "Did you mean 'timeZone'"),
    "zone": (changed(timeZone="Europe/Berlyn"), "timeZone", "Europe/Berlyn"),
    "offset for a zone": (changed(timeZone="+01:00"), "timeZone", "IANA"),
    "zone a part of names": (changed(timeZone="Europe"), "timeZone", "IANA"),
    "zone a number": (changed(timeZone=1), "timeZone", "IANA"),
    "zone a path": (changed(timeZone="../etc"), "timeZone", "IANA"),
    "granularity": (changed(granularity="1 day"), "granularity", "ISO-8601 period"),
    "granularity nothing": (changed(granularity="PT0S"), "granularity", "longer than nothing"),
    "granularity two": (changed(granularity="P1D/P2D"), "granularity", "ISO-8601 period"),
    "granularity endless": (changed(granularity="PT99999999999H"), "granularity", "leaves the calendar"),
    "granularity a date": (changed(granularity="2026-11-22"), "granularity", "ISO-8601 period"),
    "interval": (changed(interval="yesterday"), "interval", "yesterday"),
    "interval of three": (
        changed(interval="2026-11-22/2026-11-23/2026-11-24"),
        "interval",
        "the end of",
    ),
    "interval backwards": (changed(interval="2026-11-23/2026-11-22"), "interval", "end after it begins"),
    "flatten": (
        changed(flattenMultivaluedDimensions="yes"),
        "flattenMultivaluedDimensions",
        "true or false",
    ),
    "time dimension": (changed(alternateTimeDimension="eventtime"), "alternateTimeDimension", "'eventTime'"),
    "filter a list": (changed(filter=[PREDICATE]), "filter", "object"),
    "filter without predicates": (changed(filter={"type": "and"}), "filter", "no predicate"),
    "filter type": (changed(filter={"type": "xor", "predicates": [PREDICATE]}), "filter.type", "'xor'"),
    "filter key": (changed(filter={"type": "and", "predicate": []}), "filter.predicate", "'predicates'"),
    "too deep": (
        changed(
            filter={"type": "or", "clauses": [{"type": "and", "clauses": [], "predicates": [PREDICATE]}]}
        ),
        "filter.clauses[0]",
        "too deep",
    ),
    "clause without predicates": (
        changed(filter={"type": "or", "clauses": [{"type": "and", "predicates": []}]}),
        "filter.clauses[0]",
        "no predicate",
    ),
    "operator": (
        filtered({**PREDICATE, "operator": "match"}),
        "filter.predicates[0].operator",
        "Did you mean 'matches'",
    ),
    "predicate type": (
        filtered({**PREDICATE, "type": "dim"}),
        "filter.predicates[0].type",
        "dimension, property or metric",
    ),
    "no dimension": (filtered({"value": "a"}), "filter.predicates[0].dimension", "does not say"),
    "blank dimension": (filtered({"dimension": "", "value": "a"}), "filter.predicates[0].dimension", "say"),
    "no value": (
        filtered({"dimension": "journeySessionId", "operator": "matches"}),
        "filter.predicates[0]",
        "a value or a range",
    ),
    "value and range": (
        filtered({**PREDICATE, "range": {"gt": 1}}),
        "filter.predicates[0]",
        "one of the two",
    ),
    "exists a value": (filtered({**PREDICATE, "operator": "exists"}), "filter.predicates[0]", "neither"),
    "value a number": (filtered({**PREDICATE, "value": 5}), "filter.predicates[0].value", "string"),
    "range bound": (
        filtered({"dimension": "journeySessionId", "range": {"gt": "5"}}),
        "filter.predicates[0].range.gt",
        "number",
    ),
    "range bound no number": (
        filtered({"dimension": "journeySessionId", "range": {"gt": float("nan")}}),
        "filter.predicates[0].range.gt",
        "number",
    ),
    "eleven views": (
        changed(views=[{**VIEW, "name": str(number)} for number in range(11)]),
        "views",
        "at most 10",
    ),
    "view without range": (
        changed(views=[{k: v for k, v in VIEW.items() if k != "range"}]),
        "views[0].range",
        "missing",
    ),
    "view bound": (changed(views=[{**VIEW, "range": {"gt": 1}}]), "views[0].range.gt", "no such key"),
    "view without target": (changed(views=[{**VIEW, "target": ""}]), "views[0].target", "missing"),
    "view function": (changed(views=[{**VIEW, "function": "sum"}]), "views[0].function", "rangeBound"),
    "view twice": (changed(views=[VIEW, VIEW]), "views[1].name", "another view"),
    "no object": ([OFFERED], "query", "AggregateQuery or a dict"),
}


@pytest.mark.parametrize(("body", "field", "cause"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_right_is_refused(body, field, cause):
    with pytest.raises(QueryError) as caught:
        AggregateQuery.from_dict(body)
    assert caught.value.field == field
    assert cause in caught.value.cause
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    ("body", "meant"),
    [
        ({"metrics": ["nWebActionOffered"]}, "'nWebActionsOffered'"),
        ({"metrics": [OFFERED], "groupBy": ["journeyactionmapid"]}, "'journeyActionMapId'"),
        (filtered({"dimension": "journeySesionId", "value": "a"}), "'journeySessionId'"),
        (
            filtered({"type": "metric", "metric": "nJourneySesions", "range": {"gt": 1}}),
            "'nJourneySessions'",
        ),
        (changed(views=[{**VIEW, "target": "oJourneyOutcomesValue"}]), "'oJourneyOutcomeValue'"),
    ],
)
def test_an_unknown_name_draws_a_warning_with_a_guess(body, meant):
    with pytest.warns(UnknownNameWarning, match=f"Did you mean {meant}") as caught:
        AggregateQuery.from_dict(body)
    assert len(caught) == 1
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    "make",
    [
        AggregateQuery,
        lambda metrics: JourneyAggregateQueryOperator(task_id="ask", query={"metrics": metrics}),
    ],
    ids=["query", "operator"],
)
def test_a_warning_names_the_line_that_made_the_query(make):
    with pytest.warns(UnknownNameWarning) as caught:
        make(["nWebActionOffered"])
    # Beside those of an old Airflow about itself.
    assert [each.filename for each in caught if each.category is UnknownNameWarning] == [__file__]


def test_a_property_may_be_called_anything():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AggregateQuery.from_dict(filtered({"type": "property", "property": "colour", "value": "red"}))


def test_known_names_draw_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AggregateQuery.from_dict(BODY)


def test_templates_wait_until_they_are_rendered():
    AggregateQuery(
        metrics=["{{ params.metric }}"],
        group_by=["{{ params.dimension }}"],
        time_zone="{{ params.zone }}",
        granularity="{% if true %}P1D{% endif %}",
        filter={"type": "and", "predicates": [{**PREDICATE, "operator": "{{ 'matches' }}"}]},
        interval="{{ ds }}/P1D",
    )


class Reference:
    """What Airflow puts a value in the place of: an XComArg, a DagParam."""

    def iter_references(self):
        return iter(())


@pytest.mark.parametrize("later", ["{{ params.given }}", Reference()], ids=["template", "reference"])
@pytest.mark.parametrize(
    "change",
    [
        lambda later: {"metrics": later},
        lambda later: {"metrics": [later]},
        lambda later: {"groupBy": later},
        lambda later: {"views": later},
        lambda later: {"views": [later]},
        lambda later: {"views": [{**VIEW, "name": later, "range": later}]},
        lambda later: {"views": [{**VIEW, "range": {"lt": later}}]},
        lambda later: {"filter": later},
        lambda later: {"filter": {"type": later, "predicates": later}},
        lambda later: {"filter": {"type": "and", "clauses": [later], "predicates": [later]}},
        lambda later: {"filter": {"type": "and", "predicates": [{**PREDICATE, "value": later}]}},
        lambda later: {"filter": {"type": "and", "predicates": [{**PREDICATE, "dimension": later}]}},
        lambda later: {"granularity": later, "timeZone": later, "interval": later},
        lambda later: {"flattenMultivaluedDimensions": later, "alternateTimeDimension": later},
    ],
)
def test_what_is_put_in_later_is_checked_later(change, later):
    body = changed(**change(later))
    query = AggregateQuery.from_dict(body)
    # The reference itself, not a copy: it leads to a task, and that to a DAG.
    assert query.to_dict() == body
    assert RowShape.of(query).keys


def test_leftover_templates_are_found_however_deep():
    found = list(leftover_templates({"a": ["x", {"b": "{{ c }}"}], "{% d %}": 1, "e": "{}"}, "query"))
    assert found == ["query.a[1].b: '{{ c }}'", "query (key): '{% d %}'"]


@pytest.mark.parametrize(
    ("query", "layout", "field"),
    [
        (AggregateQuery([OFFERED], views=[VIEW]), "wide", "views"),
        (AggregateQuery([OFFERED]), "tall", "layout"),
    ],
)
def test_a_layout_without_room_is_refused(query, layout, field):
    with pytest.raises(QueryError) as caught:
        RowShape.of(query, layout)
    assert caught.value.field == field


@pytest.mark.filterwarnings("ignore::airflow_provider_journey.aggregates.query.UnknownNameWarning")
@pytest.mark.parametrize("dimension", ["metric", "Count", "other_dimensions"])
def test_two_columns_of_one_name_are_refused(dimension):
    with pytest.raises(QueryError, match="two columns"):
        RowShape.of(AggregateQuery([OFFERED], group_by=[dimension]))


@pytest.mark.filterwarnings("ignore::airflow_provider_journey.aggregates.query.UnknownNameWarning")
def test_wide_columns_follow_from_the_metrics_asked():
    query = AggregateQuery([OFFERED, "oJourneyOutcomeValue", "tUnknown"], group_by=["journeySessionType"])
    assert RowShape.of(query, "wide").columns == (
        ("interval_start", "TIMESTAMPTZ"),
        ("interval_end", "TIMESTAMPTZ"),
        ("journeySessionType", "VARCHAR"),
        ("other_dimensions", "MAP(VARCHAR, VARCHAR)"),
        ("nWebActionsOffered", "BIGINT"),
        ("oJourneyOutcomeValue_count", "BIGINT"),
        ("oJourneyOutcomeValue_sum", "DOUBLE"),
        ("oJourneyOutcomeValue_min", "DOUBLE"),
        ("oJourneyOutcomeValue_max", "DOUBLE"),
        ("tUnknown_count", "BIGINT"),
        ("tUnknown_sum", "DOUBLE"),
        ("tUnknown_min", "DOUBLE"),
        ("tUnknown_max", "DOUBLE"),
    )


@pytest.mark.parametrize(
    ("status", "code", "cause", "expected"),
    [
        (413, None, "", True),
        (504, None, "", True),
        (503, None, "too large", False),
        (400, "bad.request", "Result set is too large", True),
        (400, "query.exceeds.size", "", True),
        (400, "bad.request", "The interval must be shorter than 31 days", True),
        (400, "bad.request", "Dimension journeyActionMapId cannot be combined", False),
        (400, "invalid.value", "Unknown metric", False),
    ],
)
def test_an_answer_means_too_large_or_it_does_not(status, code, cause, expected):
    kind = InvalidRequestError if status < 500 else ServerError
    # Names in the message may be any words.
    message = f"query on connection 'too_large_limit': {status} {code}: {cause} The request was: too many"
    assert is_too_large(kind(message, status=status, code=code)) is expected


@pytest.mark.parametrize(
    "body", [{"code": "bad.request", "message": "Too many buckets"}, {"message": "Too many buckets"}]
)
def test_too_large_is_heard_in_what_the_client_says(body):
    request = operations.query_aggregates({"filter": "too many"}).request
    for message, expected in ((body["message"], True), ("Unknown metric", False)):
        content = json.dumps({**body, "message": message}).encode()
        with pytest.raises(InvalidRequestError) as caught:
            answers.check(Answer(400, {}, content), request, "too_many", 0)
        assert is_too_large(caught.value) is expected
