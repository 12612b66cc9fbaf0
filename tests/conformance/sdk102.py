"""The official Python SDK of the contract's day performs all eight operations against an emulator.

Run by an interpreter that has ``purecloudplatformclientv2==102.0.0``; see ``judging.py``.
"""

import json
import sys
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import PureCloudPlatformClientV2 as sdk
from judging import (
    ABOUT,
    BASE,
    IDS,
    TODAY,
    UNKNOWN,
    check,
    client,
    count,
    filled,
    judge,
    query,
    refused,
    service_error,
)


def journey():
    return sdk.JourneyApi(API)


def reads():
    """Give the three reads of segment assignments, the ids filled in."""
    api, customer = journey(), (IDS["customer_id_type"], IDS["customer_id"])
    return {
        "contact": lambda **more: api.get_journey_externalcontact_segments(
            IDS["external_contact_id"], **more
        ),
        "session": lambda **more: api.get_journey_session_segments(IDS["session_id"], **more),
        "customer": lambda **more: api.get_journey_customer_customer_id_segments(*customer, **more),
    }


def update(state, segment_id=IDS["segment_id"], contact_id=IDS["external_contact_id"]):
    change = sdk.SegmentAssignmentsUpdate()
    change.segment_id, change.state = segment_id, state
    assert journey().post_journey_externalcontact_segments(contact_id, body=[change]) is None


def assignment(listing, segment_id=IDS["segment_id"]):
    found = [entity for entity in listing.entities if entity.segment.id == segment_id]
    assert len(found) == 1, f"{len(found)} assignments of one segment"
    return found[0]


def complete(entity):
    may = [] if entity.segment.scope == "Session" else ["session"]
    may += [] if entity.state == "Unassigned" else ["date_unassigned"]
    filled(entity, *may)
    filled(entity.segment)
    filled(entity.external_contact)
    if entity.session:
        filled(entity.session)
    assert isinstance(entity.date_assigned, datetime)
    assert entity.date_assigned.utcoffset() == timedelta(0)
    return entity


@check
def action_targets_are_listed():
    listing = filled(journey().get_journey_actiontargets(), "previous_uri")
    assert len(listing.entities) == listing.page_size == 25
    for target in listing.entities:
        filled(target)
        filled(target.service_level)
        assert target.user_data[0].key
        assert isinstance(target.created_date, datetime)


@check
def small_pages_of_action_targets_hold_each_once():
    api, found, number = journey(), [], 1
    while True:
        page = api.get_journey_actiontargets(page_number=number, page_size=4)
        found += [target.id for target in page.entities]
        if page.next_uri is None:
            break
        number += 1
        assert parse_qs(urlsplit(page.next_uri).query)["pageNumber"] == [str(number)]
    assert len(found) == len(set(found)) == page.total
    assert number == page.page_count


@check
def an_action_target_is_read():
    target = filled(journey().get_journey_actiontarget(IDS["action_target_id"]))
    assert target.id == IDS["action_target_id"]
    assert 0 <= target.service_level.percentage <= 1


@check
def an_action_target_is_changed():
    change, level = sdk.PatchActionTarget(), sdk.ServiceLevel()
    level.percentage, level.duration_ms = 0.55, 12_000
    change.name, change.service_level = "Renamed", level
    changed = filled(journey().patch_journey_actiontarget(IDS["action_target_id"], body=change))
    assert (changed.name, changed.service_level.percentage, changed.service_level.duration_ms) == (
        "Renamed",
        0.55,
        12_000,
    )
    assert journey().get_journey_actiontarget(IDS["action_target_id"]).to_dict() == changed.to_dict()


@check
def assignments_are_read_in_three_ways():
    for name, read in reads().items():
        entities = [complete(entity) for entity in read().entities]
        assert {entity.segment.scope for entity in entities} == {"Session", "Customer"}, name
        assert {entity.external_contact.id for entity in entities} == {IDS["external_contact_id"]}, name
        assert {e.session.id for e in entities if e.session} == {IDS["session_id"]}, name


@check
def an_assignment_is_read_back():
    update("Assigned")
    for read in reads().values():
        assert complete(assignment(read())).state == "Assigned"
        assert assignment(read(segment_scope="Customer", assignment_state="Assigned"))


@check
def assigning_again_changes_nothing_but_the_renewal():
    read = reads()["contact"]
    update("Assigned")
    before = read()
    update("Assigned")
    after = read()
    assert [entity.id for entity in before.entities] == [entity.id for entity in after.entities]
    old, new = assignment(before), assignment(after)
    assert (old.state, old.date_assigned) == (new.state, new.date_assigned)
    assert old.date_modified <= new.date_modified


@check
def an_unassignment_is_read_back():
    update("Assigned")
    update("Unassigned")
    for read in reads().values():
        ended = complete(assignment(read()))
        assert ended.state == "Unassigned"
        assert ended.date_unassigned >= ended.date_assigned
        held = [entity.segment.id for entity in read(assignment_state="Assigned").entities]
        assert IDS["segment_id"] not in held
        assert assignment(read(assignment_state="Unassigned")).id == ended.id


@check
def scopes_split_the_assignments():
    for read in reads().values():
        every = {entity.id for entity in read().entities}
        parts = [{e.id for e in read(segment_scope=scope).entities} for scope in ("Session", "Customer")]
        assert all(parts)
        assert parts[0] | parts[1] == every
        assert not parts[0] & parts[1]


@check
def small_pages_of_assignments_hold_each_once():
    for read in reads().values():
        whole = [entity.id for entity in read(page_size="200").entities]
        found, after = [], {}
        while True:
            page = read(page_size="2", **after)
            assert len(page.entities) <= 2
            assert page.self_uri
            found += [entity.id for entity in page.entities]
            if page.next_uri is None:
                break
            after = {"after": parse_qs(urlsplit(page.next_uri).query)["after"][0]}
        assert found == whole
        assert len(whole) > 2


@check
def aggregates_are_counted():
    metrics = ["nJourneySessions", "nWebActionsOffered", "nJourneyOutcomesAchieved"]
    (result,) = query(API, metrics=metrics)
    assert result.group is None
    (data,) = result.data
    assert data.interval.split("/")[1] == f"{TODAY:%Y-%m-%dT%H:%M:%S}.000Z"
    assert [metric.metric for metric in data.metrics] == metrics
    assert all(metric.stats.count > 0 for metric in data.metrics)


@check
def value_metrics_have_their_statistics():
    (result,) = query(API, metrics=["oJourneyOutcomeValue"])
    stats = result.data[0].metrics[0].stats
    assert stats.min <= stats.sum / stats.count <= stats.max


@check
def hours_sum_to_the_day():
    hours = query(API, granularity="PT1H", time_zone="UTC")
    assert len(hours[0].data) > 1
    assert count(hours, "nJourneySessions") == count(query(API), "nJourneySessions")


@check
def groups_sum_to_the_total():
    groups = query(
        API, group_by=["journeyDeviceCategory", "journeySessionType"], flatten_multivalued_dimensions=True
    )
    assert all(set(g.group) == {"journeyDeviceCategory", "journeySessionType"} for g in groups)
    assert len({tuple(g.group.values()) for g in groups}) == len(groups) > 1
    assert count(groups, "nJourneySessions") == count(query(API), "nJourneySessions")


@check
def filters_partition_the_total():
    total = count(query(API), "nJourneySessions")
    parts = []
    for device in ("desktop", "mobile", "tablet"):
        predicate, clause, chosen = (
            sdk.JourneyAggregateQueryPredicate(),
            sdk.JourneyAggregateQueryClause(),
            sdk.JourneyAggregateQueryFilter(),
        )
        predicate.type, predicate.dimension, predicate.operator = (
            "dimension",
            "journeyDeviceCategory",
            "matches",
        )
        predicate.value = device
        clause.type, clause.predicates = "or", [predicate]
        chosen.type, chosen.clauses = "and", [clause]
        parts.append(count(query(API, filter=chosen), "nJourneySessions"))
    assert all(parts)
    assert sum(parts) == total


@check
def views_are_answered():
    view, bounds = sdk.JourneyAggregationView(), sdk.AggregationRange()
    bounds.gte = 0
    view.name, view.target, view.function, view.range = (
        "all",
        "nJourneyOutcomesAchieved",
        "rangeBound",
        bounds,
    )
    metrics = ["nJourneyOutcomesAchieved"]
    ((data,),) = [
        r.data for r in query(API, metrics=metrics, views=[view], alternate_time_dimension="eventTime")
    ]
    assert (data.views[0].name, data.views[0].stats.count) == ("all", data.metrics[0].stats.count)


@check
def nothing_is_an_empty_list():
    assert query(API, interval="2099-01-01T00:00:00Z/2099-01-02T00:00:00Z") == []


@check
def every_answer_says_where_the_caller_stands():
    journey().get_journey_actiontargets()
    headers = {name.lower(): value for name, value in API.last_response.getheaders().items()}
    first = int(headers["inin-ratelimit-count"])
    assert int(headers["inin-ratelimit-allowed"]) == ABOUT["rate_limit"]
    assert 0 < int(headers["inin-ratelimit-reset"]) <= ABOUT["window"]
    assert headers["inin-correlation-id"]
    journey().get_journey_actiontargets()
    headers = {name.lower(): value for name, value in API.last_response.getheaders().items()}
    assert int(headers["inin-ratelimit-count"]) == first + 1


@check
def a_wrong_secret_is_refused():
    body = json.loads(refused(400, client, secret="wrong").body)
    assert body["error"] == "invalid_client"
    assert body["error_description"] == "authentication failed"


@check
def a_bad_token_is_refused():
    stranger = sdk.api_client.ApiClient(BASE)
    stranger.access_token = "never-given"
    service_error(401, "bad.credentials", sdk.JourneyApi(stranger).get_journey_actiontargets)
    stranger.access_token = ""
    service_error(401, "authentication.required", sdk.JourneyApi(stranger).get_journey_actiontargets)


@check
def a_missing_permission_is_named():
    (few,) = [c for c in ABOUT["clients"] if c["permissions"] is not None]
    api = sdk.JourneyApi(client(few["client_id"], few["client_secret"]))
    assert api.get_journey_actiontargets().entities
    call = api.get_journey_externalcontact_segments
    body = service_error(403, "missing.any.permissions", call, IDS["external_contact_id"])
    assert body["messageParams"] == {"permissions": "journey:segmentassignment:view"}


@check
def unknown_ids_are_not_found():
    api = journey()
    calls = [
        (api.get_journey_actiontarget, UNKNOWN),
        (api.get_journey_externalcontact_segments, UNKNOWN),
        (api.get_journey_session_segments, UNKNOWN),
        (api.get_journey_customer_customer_id_segments, "email", UNKNOWN),
    ]
    for call, *ids in calls:
        assert service_error(404, "not.found", call, *ids)["entityId"] == UNKNOWN
    assert service_error(404, "not.found", update, "Assigned", contact_id=UNKNOWN)["entityId"] == UNKNOWN


@check
def what_cannot_be_is_refused():
    service_error(400, "invalid.value", update, "Assigned", segment_id=UNKNOWN)
    service_error(400, "invalid.value", query, API, metrics=["nJourneySesions"])
    service_error(400, "invalid.date", query, API, interval="yesterday")
    service_error(400, "invalid.value", reads()["contact"], page_size="201")


API = client()


if __name__ == "__main__":
    sys.exit(judge())
