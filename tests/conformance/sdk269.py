"""The official Python SDK of today performs every operation of today's surface against an emulator.

Run by an interpreter that has ``purecloudplatformclientv2==269.0.0``; see ``judging.py``.
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
    control,
    count,
    filled,
    judge,
    query,
    refused,
    service_error,
)

CONTACT, SEGMENT = IDS["external_contact_id"], IDS["segment_id"]
EMPTY = [s["id"] for s in ABOUT["segments"] if (s["scope"], s["organic"]) == ("Customer", False)]
UPDATE = "postExternalcontactsContactJourneySegments"


def contacts():
    return sdk.ExternalContactsApi(API)


def journey():
    return sdk.JourneyApi(API)


def changes(assign=(), unassign=()):
    body = sdk.UpdateSegmentAssignmentRequest()
    if assign:
        body.assign = sdk.SegmentAssignments()
        body.assign.segments = [named(sdk.SegmentForAssignment(), name) for name in assign]
    if unassign:
        body.unassign = sdk.SegmentUnassignments()
        body.unassign.segments = [named(sdk.SegmentForUnassignment(), name) for name in unassign]
    return body


def named(segment, name):
    segment.id = name
    return segment


def update(assign=(), unassign=(), contact=CONTACT):
    body = changes(assign, unassign)
    answer = filled(contacts().post_externalcontacts_contact_journey_segments(contact, body=body))
    items = filled(answer.unprocessed_items)
    left = [[segment.id for segment in part.segments] for part in (items.assign, items.unassign)]
    assert items.count == len(left[0]) + len(left[1])
    return left


def held(contact=CONTACT, **more):
    listing = contacts().get_externalcontacts_contact_journey_segments(contact, limit=500, **more)
    return {entity.segment.id: entity for entity in filled(listing).entities}


def lookup(kind, value, source=None):
    identifier = sdk.ContactIdentifier()
    identifier.type, identifier.value = kind, value
    if source:
        identifier.external_source = sdk.ExternalSource()
        identifier.external_source.id = source
    return contacts().post_externalcontacts_identifierlookup_contacts(identifier)


def fail(fault, operation="getJourneySegments", **more):
    control("/emulator/script", [{"fault": fault, "operation": operation, **more}])


@check
def an_assignment_is_read_back():
    assert update([SEGMENT]) == [[], []]
    entity = filled(held()[SEGMENT], "session")
    filled(entity.segment)
    assert entity.external_contact.id == CONTACT
    assert isinstance(entity.date_assigned, datetime)
    assert entity.date_assigned.utcoffset() == timedelta(0)
    assert entity.date_for_unassignment > entity.date_assigned


@check
def an_unassignment_is_read_back():
    update([SEGMENT])
    assert update(unassign=[SEGMENT]) == [[], []]
    assert SEGMENT not in held()
    assert update(unassign=[SEGMENT]) == [[], []]


@check
def assigning_and_unassigning_go_together():
    update(EMPTY[:5])
    assert update(EMPTY[5:], EMPTY[:5]) == [[], []]
    assert set(EMPTY) & held().keys() == set(EMPTY[5:])
    update(unassign=EMPTY[5:])


@check
def assigning_again_changes_nothing_but_the_renewal():
    update([SEGMENT])
    before = held()
    update([SEGMENT])
    after = held()
    assert before.keys() == after.keys()
    assert before[SEGMENT].date_assigned == after[SEGMENT].date_assigned
    assert before[SEGMENT].date_for_unassignment <= after[SEGMENT].date_for_unassignment


@check
def a_partial_success_names_what_is_left():
    update(unassign=EMPTY)
    fail("unprocessed", UPDATE, items=0.4)
    assign, unassign = update(EMPTY)
    assert (len(assign), unassign) == (4, [])
    assert set(EMPTY) - held().keys() == set(assign)
    fail("unprocessed", UPDATE, items=1)
    assert update(EMPTY[:2], EMPTY[2:3]) == [EMPTY[:2], EMPTY[2:3]]
    assert update(assign) == [[], []]
    assert set(EMPTY) <= held().keys()


@check
def session_scoped_assignments_name_their_session():
    scopes = {segment["id"]: segment["scope"] for segment in ABOUT["segments"]}
    sessions = [entity for name, entity in held().items() if scopes[name] == "Session"]
    assert {filled(entity.session).id for entity in sessions} == {IDS["session_id"]}
    assert all(entity.session is None for name, entity in held().items() if scopes[name] == "Customer")


@check
def a_limit_cuts_the_listing():
    few = contacts().get_externalcontacts_contact_journey_segments(CONTACT, limit=2)
    assert len(few.entities) == 2 < len(held())


@check
def a_session_carries_its_assignments():
    session = journey().get_journey_session(IDS["session_id"])
    assert (session.id, session.external_contact.id, session.type) == (IDS["session_id"], CONTACT, "web")
    for entry in session.segment_assignments:
        filled(filled(entry).segment)
    carried = {entry.segment.id: entry.assigned_date for entry in session.segment_assignments}
    assert carried == {name: entity.date_assigned for name, entity in held().items()}


@check
def segments_are_listed():
    api, found, number = journey(), [], 1
    while True:
        page = filled(api.get_journey_segments(page_number=number, page_size=4), "next_uri", "previous_uri")
        found += [filled(segment, "external_segment") for segment in page.entities]
        if page.next_uri is None:
            break
        number += 1
        assert parse_qs(urlsplit(page.next_uri).query)["pageNumber"] == [str(number)]
    assert len({segment.id for segment in found}) == len(found) == page.total
    assert number == page.page_count
    inactive = {segment.id for segment in found if not segment.is_active}
    assert inactive == {segment["id"] for segment in ABOUT["inactive_segments"]}
    active = api.get_journey_segments(page_size=200, is_active=True).entities
    assert {segment.id for segment in active} == {segment.id for segment in found} - inactive


@check
def a_contact_is_found_by_each_identifier():
    for kind, value in ABOUT["identifiers"].items():
        contact = lookup(kind, value, ABOUT["external_source_id"] if kind == "ExternalId" else None)
        assert (contact.id, contact.type) == (CONTACT, "Identified")
        identifiers = {(identifier.type, identifier.value) for identifier in contact.identifiers}
        assert identifiers == set(ABOUT["identifiers"].items())
        assert contact.canonical_contact is contact.merge_set is None
        assert "outdated_sdk_version" not in str(contact.to_dict())


@check
def a_merged_contact_leads_to_the_canonical_one():
    addresses = (f"customer{number}@example.com" for number in range(50))
    found = (lookup("Email", address) for address in addresses)
    old = next(contact for contact in found if contact.id != CONTACT and contact.type == "Identified")
    update(EMPTY[:1], contact=old.id)
    update(unassign=EMPTY)
    control("/emulator/contacts/merge", {"contact": old.id, "into": CONTACT})
    merged = lookup("Email", old.personal_email)
    assert (merged.id, merged.canonical_contact.id) == (old.id, CONTACT)
    assert {contact.id for contact in merged.merge_set} == {old.id, CONTACT}
    assert held(old.id).keys() == held().keys()
    assert EMPTY[0] not in held()
    assert EMPTY[0] in held(include_merged=True)
    assert update(EMPTY[1:2], contact=old.id) == [[], []]
    assert held()[EMPTY[1]].external_contact.id == CONTACT


@check
def action_targets_are_read():
    listing = filled(journey().get_journey_actiontargets(), "previous_uri")
    assert len(listing.entities) == listing.page_size == 25
    target = filled(journey().get_journey_actiontarget(IDS["action_target_id"]), "short_abandon_threshold")
    assert target.to_dict() == listing.entities[0].to_dict()
    assert not hasattr(journey(), "patch_journey_actiontarget")


@check
def aggregates_are_counted():
    metrics = ["nJourneySessions", "nWebActionsOffered", "oJourneyOutcomeValue"]
    (result,) = query(API, metrics=metrics)
    (data,) = result.data
    assert data.interval.split("/")[1] == f"{TODAY:%Y-%m-%dT%H:%M:%S}.000Z"
    assert [metric.metric for metric in data.metrics] == metrics
    assert all(metric.stats.count > 0 for metric in data.metrics)
    value = data.metrics[2].stats
    assert value.min <= value.sum / value.count <= value.max
    total = count(query(API), "nJourneySessions")
    assert count(query(API, granularity="PT1H", time_zone="UTC"), "nJourneySessions") == total
    groups = query(API, group_by=["journeyDeviceCategory", "journeySessionType"])
    assert count(groups, "nJourneySessions") == total
    assert all(set(g.group) == {"journeyDeviceCategory", "journeySessionType"} for g in groups)
    assert query(API, interval="2099-01-01T00:00:00Z/2099-01-02T00:00:00Z") == []


@check
def a_wrong_secret_is_refused():
    body = json.loads(refused(400, client, secret="wrong").body)
    assert (body["error"], body["error_description"]) == ("invalid_client", "authentication failed")


@check
def a_token_endpoint_asked_too_often_says_so():
    control("/emulator/script", [{"fault": "token-rate-limit"}])
    body = json.loads(refused(400, client).body)
    assert (body["error"], body["description"]) == ("invalid_request", "rate limit exceeded")


@check
def a_bad_token_is_refused():
    stranger = sdk.api_client.ApiClient(BASE)
    stranger.access_token = "never-given"
    service_error(401, "bad.credentials", sdk.JourneyApi(stranger).get_journey_segments)
    stranger.access_token = ""
    service_error(401, "authentication.required", sdk.JourneyApi(stranger).get_journey_segments)


@check
def a_missing_permission_is_named():
    (few,) = [c for c in ABOUT["clients"] if c["permissions"] is not None]
    own = client(few["client_id"], few["client_secret"])
    assert sdk.JourneyApi(own).get_journey_actiontargets().entities
    calls = {
        "journey:segment:view": sdk.JourneyApi(own).get_journey_segments,
        "journey:session:view": lambda: sdk.JourneyApi(own).get_journey_session(IDS["session_id"]),
        "externalContacts:segmentAssignment:view": lambda: sdk.ExternalContactsApi(
            own
        ).get_externalcontacts_contact_journey_segments(CONTACT),
        "externalContacts:segmentAssignment:add": lambda: sdk.ExternalContactsApi(
            own
        ).post_externalcontacts_contact_journey_segments(CONTACT, body=changes([SEGMENT])),
    }
    for permission, call in calls.items():
        body = service_error(403, "missing.any.permissions", call)
        assert permission in body["messageParams"]["permissions"].split(", ")


@check
def unknown_ids_are_not_found():
    calls = [
        (journey().get_journey_actiontarget, UNKNOWN),
        (journey().get_journey_session, UNKNOWN),
        (contacts().get_externalcontacts_contact_journey_segments, UNKNOWN),
        (contacts().post_externalcontacts_contact_journey_segments, UNKNOWN, changes([SEGMENT])),
    ]
    for call, *ids, body in [(*call, None) if len(call) == 2 else call for call in calls]:
        more = {"body": body} if body else {}
        assert service_error(404, "not.found", call, *ids, **more)["entityId"] == UNKNOWN
    assert "nobody" not in json.dumps(service_error(404, "not.found", lookup, "Email", "nobody@example.org"))


@check
def what_cannot_be_is_refused():
    api = contacts()
    service_error(400, "invalid.value", update, [UNKNOWN])
    service_error(400, "invalid.value", update, [ABOUT["inactive_segments"][0]["id"]])
    service_error(400, "bad.request", update, EMPTY, [SEGMENT])
    service_error(400, "bad.request", update)
    service_error(400, "invalid.value", api.get_externalcontacts_contact_journey_segments, CONTACT, limit=501)
    service_error(400, "invalid.value", lookup, "Phone", "5550000001")
    service_error(400, "invalid.value", lookup, "ExternalId", "CRM-0000001")
    service_error(400, "invalid.value", query, API, metrics=["nJourneySesions"])
    service_error(400, "invalid.date", query, API, interval="yesterday")


@check
def each_failure_has_the_service_s_shape():
    codes = {
        400: "bad.request",
        401: "bad.credentials",
        403: "missing.any.permissions",
        404: "not.found",
        408: "request.timeout",
        413: "request.entity.too.large",
        500: "internal.server.error",
        501: "not.implemented",
        502: "bad.gateway",
        503: "service.unavailable",
        504: "gateway.timeout",
    }
    for status, code in codes.items():
        fail(str(status))
        service_error(status, code, journey().get_journey_segments)
    fail("429-no-header")
    body = service_error(429, "too.many.requests.retry.after", journey().get_journey_segments)
    assert "Retry the request in [" in body["message"]


@check
def a_wait_that_is_asked_for_is_honoured_by_the_sdk():
    fail("429", retry_after=0)
    assert journey().get_journey_segments().entities


@check
def gateways_answer_html_or_nothing():
    fail("502-html")
    assert "<html>" in refused(502, journey().get_journey_segments).body
    fail("504-empty")
    assert refused(504, journey().get_journey_segments).body == ""


API = client()

if __name__ == "__main__":
    sys.exit(judge())
