"""Today's surface over the same state: partial successes, sessions, look-ups, merged and vanished contacts."""

from __future__ import annotations

import pytest

from airflow_provider_journey.emulator.options import ClientSpec
from tests.emulator.asking import Asker

CONTACTS = "/api/v2/externalcontacts/contacts"
LOOKUP = "/api/v2/externalcontacts/identifierlookup/contacts"
SEGMENTS = "/api/v2/journey/segments"
SESSIONS = "/api/v2/journey/sessions"
UPDATE = "postExternalcontactsContactJourneySegments"
DAY = 86_400


@pytest.fixture
def asker(journey_emulator):
    return Asker(journey_emulator)


@pytest.fixture
def ids(journey_emulator):
    return journey_emulator.examples


def own(contact):
    return f"{CONTACTS}/{contact}/journey/segments"


def body_of(assign=(), unassign=()):
    parts = {"assign": assign, "unassign": unassign}
    return {kind: {"segments": [{"id": name} for name in names]} for kind, names in parts.items() if names}


def update(asker, contact, assign=(), unassign=()):
    response = asker.ask("POST", own(contact), json=body_of(assign, unassign))
    assert response.status_code == 200, response.text
    items = response.json()["unprocessedItems"]
    left = {kind: [segment["id"] for segment in items[kind]["segments"]] for kind in ("assign", "unassign")}
    assert items["count"] == sum(map(len, left.values()))
    return left


def held(asker, contact, **query):
    entities = asker.get(own(contact), limit=500, **query).json()["entities"]
    return {entity["segment"]["id"]: entity for entity in entities}


def customer_segments(emulator, organic=False):
    return [
        s["id"] for s in emulator.about()["segments"] if (s["scope"], s["organic"]) == ("Customer", organic)
    ]


def others(emulator, asker, count):
    """Find further contacts, which stay."""
    found = []
    for number in range(100):
        contact = asker.ask(
            "POST", LOOKUP, json={"type": "Email", "value": f"customer{number}@example.com"}
        ).json()
        if contact["type"] == "Identified" and contact["id"] != emulator.examples["external_contact_id"]:
            found.append(contact["id"])
        if len(found) == count:
            return found
    raise AssertionError("too few")


def test_what_one_surface_changes_the_other_sees(journey_emulator, asker, ids):
    contact, (first, second, *_) = ids["external_contact_id"], customer_segments(journey_emulator)
    old = f"/api/v2/journey/externalcontacts/{contact}/segments"
    assert update(asker, contact, [first, second]) == {"assign": [], "unassign": []}
    asker.assign(contact, second, state="Unassigned")
    states = {e["segment"]["id"]: e["state"] for e in asker.get(old).json()["entities"]}
    assert (states[first], states[second]) == ("Assigned", "Unassigned")
    assert {first, second} & held(asker, contact).keys() == {first}
    assert journey_emulator.members(first) == {contact}
    assert update(asker, contact, unassign=[first]) == {"assign": [], "unassign": []}
    assert journey_emulator.members(first) == set()


def test_an_assignment_says_when_it_ends_and_which_session_it_came_from(journey_emulator, asker, ids):
    contact, segment = ids["external_contact_id"], ids["segment_id"]
    update(asker, contact, [segment])
    before = held(asker, contact)
    scopes = {s["id"]: s["scope"] for s in journey_emulator.about()["segments"]}
    assert {"session" in entity for entity in before.values()} == {True, False}
    for name, entity in before.items():
        assert ("session" in entity) == (scopes[name] == "Session")
        assert entity["externalContact"]["id"] == contact
        assert entity["dateAssigned"] < entity["dateForUnassignment"]
    journey_emulator.advance_clock(3600)
    update(asker, contact, [segment])
    renewed = held(asker, contact)[segment]
    assert renewed["dateAssigned"] == before[segment]["dateAssigned"]
    assert renewed["dateForUnassignment"] > before[segment]["dateForUnassignment"]


def test_a_limit_cuts_the_listing_and_says_nothing(asker, ids):
    contact = ids["external_contact_id"]
    assert len(held(asker, contact)) > 1
    short = asker.get(own(contact), limit=1).json()
    assert [len(short["entities"]), set(short)] == [1, {"entities"}]
    for query in ({"limit": 0}, {"limit": 501}, {"limit": "all"}, {"includeMerged": "maybe"}):
        response = asker.get(own(contact), **query)
        assert response.status_code == 400
        assert response.json()["details"][0]["fieldName"] == next(iter(query))


def test_an_update_leaves_its_share_undone_and_names_it(journey_emulator, asker, ids):
    contact, segments = ids["external_contact_id"], customer_segments(journey_emulator)
    journey_emulator.script({"fault": "unprocessed", "items": 0.3})
    left = update(asker, contact, segments)
    assert len(segments) == 10
    assert [len(left["assign"]), left["unassign"]] == [3, []]
    assert set(segments) - held(asker, contact).keys() == set(left["assign"])
    assert update(asker, contact, left["assign"]) == {"assign": [], "unassign": []}
    journey_emulator.script({"fault": "unprocessed", "items": 1})
    assert update(asker, contact, unassign=segments) == {"assign": [], "unassign": segments}
    assert set(segments) <= held(asker, contact).keys()
    assert journey_emulator.calls()[UPDATE] == {"200": 3}


def test_chance_leaves_half_of_an_update_undone(journey_emulator, asker, ids):
    journey_emulator.faults(unprocessed=1.0)
    contact, (first, second, *_) = ids["external_contact_id"], customer_segments(journey_emulator)
    assert len(update(asker, contact, [first, second])["assign"]) == 1
    assert asker.assign(contact, first, second).status_code == 204
    assert {first, second} <= held(asker, contact).keys()


def test_chance_leaves_other_operations_to_other_faults(journey_emulator, asker, ids):
    journey_emulator.faults(unprocessed=1.0, **{"500": 1.0})
    assert update(asker, ids["external_contact_id"], [ids["segment_id"]])["assign"] == [ids["segment_id"]]
    assert asker.get(own(ids["external_contact_id"])).status_code == 500


def test_an_update_that_cannot_be_changes_nothing(journey_emulator, asker, ids):
    contact, good = ids["external_contact_id"], ids["segment_id"]
    about = journey_emulator.about()
    visit = next(s["id"] for s in about["segments"] if s["scope"] == "Session")
    retired = about["inactive_segments"][0]["id"]
    eleven = [*customer_segments(journey_emulator), customer_segments(journey_emulator, True)[0]]
    bodies = [{}, [], body_of(eleven), {"assign": [good]}, {"assign": {"segments": "all"}}]
    bodies += [body_of([good, bad]) for bad in ("nobody", visit, retired)]
    for body in bodies:
        assert asker.ask("POST", own(contact), json=body).status_code == 400, body
    assert good not in held(asker, contact)
    assert asker.ask("POST", own("nobody"), json=body_of([good])).json()["entityId"] == "nobody"


def test_a_session_carries_its_customer_s_assignments(asker, ids):
    contact, segment = ids["external_contact_id"], ids["segment_id"]
    update(asker, contact, [segment])
    session = asker.get(f"{SESSIONS}/{ids['session_id']}").json()
    assert session["externalContact"]["id"] == contact
    carried = {entry["segment"]["id"]: entry["assignedDate"] for entry in session["segmentAssignments"]}
    assert carried == {name: entity["dateAssigned"] for name, entity in held(asker, contact).items()}
    unknown = asker.get(f"{SESSIONS}/nobody")
    assert (unknown.status_code, unknown.json()["entityId"]) == (404, "nobody")


def test_each_identifier_leads_to_its_contact(journey_emulator, asker, ids):
    about = journey_emulator.about()
    assert set(about["identifiers"]) == {"Email", "Phone", "Cookie", "ExternalId"}
    for kind, value in about["identifiers"].items():
        source = {"externalSource": {"id": about["external_source_id"]}} if kind == "ExternalId" else {}
        contact = asker.ask("POST", LOOKUP, json={"type": kind, "value": f" {value.upper()} ", **source})
        if kind == "ExternalId":
            contact = asker.ask("POST", LOOKUP, json={"type": kind, "value": value, **source})
        assert contact.json()["id"] == ids["external_contact_id"], kind
        assert (kind, value) in {(i["type"], i["value"]) for i in contact.json()["identifiers"]}
        assert "canonicalContact" not in contact.json()
    spaced = {"type": "Phone", "value": about["identifiers"]["Phone"].replace("555", " 555 ")}
    assert asker.ask("POST", LOOKUP, json=spaced).json()["id"] == ids["external_contact_id"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"type": "Email", "value": "nobody@example.org"}, 404),
        ({"type": "SocialLine", "value": "someone"}, 404),
        ({"type": "ExternalId", "value": "CRM-0000001", "externalSource": {"id": "another"}}, 404),
        ({"type": "ExternalId", "value": "CRM-0000001"}, 400),
        ({"type": "Phone", "value": "5550000001"}, 400),
        ({"type": "Shoe", "value": "44"}, 400),
        ({"type": "Email", "value": " "}, 400),
        ({"type": "Email", "value": "x" * 256}, 400),
        ([], 400),
    ],
)
def test_a_look_up_misses_or_is_refused_without_repeating_the_identifier(asker, body, status):
    response = asker.ask("POST", LOOKUP, json=body)
    assert response.status_code == status
    assert "entityId" not in response.json()
    if status == 404:
        assert body["value"] not in response.text


def test_a_merged_contact_leads_to_the_one_that_speaks_for_it(journey_emulator, asker, ids):
    contact, segment = ids["external_contact_id"], ids["segment_id"]
    old, older = others(journey_emulator, asker, 2)
    update(asker, old, [segment])
    journey_emulator.merge(older, into=old)
    journey_emulator.merge(old, into=contact)
    direct = asker.ask("GET", own(old), params={"limit": 500}, allow_redirects=False)
    assert (direct.status_code, direct.headers["Location"]) == (307, f"{own(contact)}?limit=500")
    assert held(asker, older) == held(asker, contact)
    assert segment not in held(asker, contact)
    merged = asker.get(own(contact), includeMerged="true", limit=500).json()["entities"]
    assert {entity["externalContact"]["id"] for entity in merged} == {contact, old, older}
    other = customer_segments(journey_emulator)[1]
    assert update(asker, older, [other]) == {"assign": [], "unassign": []}
    assert journey_emulator.members(other) == {contact}
    asker.assign(older, other, state="Unassigned")
    assert journey_emulator.members(other) == set()


def test_a_merged_contact_is_looked_up_as_itself_and_names_the_canonical_one(journey_emulator, asker, ids):
    (old,) = others(journey_emulator, asker, 1)
    journey_emulator.merge(ids["external_contact_id"], into=old)
    email = {"type": "Email", "value": journey_emulator.about()["identifiers"]["Email"]}
    contact = asker.ask("POST", LOOKUP, json=email).json()
    assert (contact["id"], contact["canonicalContact"]["id"]) == (ids["external_contact_id"], old)
    assert {member["id"] for member in contact["mergeSet"]} == {ids["external_contact_id"], old}
    with pytest.raises(RuntimeError, match="one contact already"):
        journey_emulator.merge(old, into=ids["external_contact_id"])


def test_a_contact_vanishes_from_both_surfaces(journey_emulator, asker, ids):
    contact, segment = ids["external_contact_id"], ids["segment_id"]
    update(asker, contact, [segment])
    journey_emulator.vanish(contact)
    assert asker.get(own(contact)).json()["entityId"] == contact
    assert asker.assign(contact, segment).status_code == 404
    assert asker.get(f"{SESSIONS}/{ids['session_id']}").status_code == 404
    email = {"type": "Email", "value": journey_emulator.about()["identifiers"]["Email"]}
    assert asker.ask("POST", LOOKUP, json=email).status_code == 404
    assert journey_emulator.members(segment) == set()
    with pytest.raises(RuntimeError, match="nobody"):
        journey_emulator.vanish("nobody")


def test_ephemeral_contacts_vanish_after_sixty_days_and_no_other(journey_emulator, asker):
    def kinds(asker):
        emails = [{"type": "Email", "value": f"customer{number}@example.com"} for number in range(100)]
        found = [asker.ask("POST", LOOKUP, json=email).json() for email in emails]
        return [contact.get("type") for contact in found]

    before = kinds(asker)
    assert set(before) == {"Identified", "Ephemeral"}
    journey_emulator.advance_clock(58 * DAY)
    assert kinds(Asker(journey_emulator)) == before
    journey_emulator.advance_clock(2 * DAY)
    assert kinds(Asker(journey_emulator)) == [None if kind == "Ephemeral" else kind for kind in before]


def test_segments_are_listed_with_the_one_that_is_not_active(journey_emulator, asker):
    listing = asker.get(SEGMENTS, pageSize=6, pageNumber=2).json()
    assert (listing["total"], listing["pageCount"], len(listing["entities"])) == (21, 4, 6)
    every = asker.get(SEGMENTS, pageSize=200).json()["entities"]
    active = asker.get(SEGMENTS, pageSize=200, isActive="true").json()["entities"]
    about = journey_emulator.about()
    assert [s["id"] for s in active] == [s["id"] for s in about["segments"]]
    assert {s["id"] for s in every if not s["isActive"]} == {about["inactive_segments"][0]["id"]}
    assert {(s["scope"], s["assignmentExpirationDays"]) for s in every} == {("Customer", 30), ("Session", 30)}
    first = asker.get(SEGMENTS, pageSize=6, isActive="false").json()
    assert (first["total"], first["pageCount"]) == (1, 1)


@pytest.mark.parametrize("surface", ["journey", "externalcontacts"])
def test_an_organisation_of_one_surface_knows_nothing_of_the_other(start_journey_emulator, surface):
    emulator = start_journey_emulator(surface=surface)
    asker, ids = Asker(emulator), emulator.examples
    contact = ids["external_contact_id"]
    contract = [
        f"/api/v2/journey/externalcontacts/{contact}/segments",
        f"{SESSIONS}/{ids['session_id']}/segments",
        f"/api/v2/journey/customers/email/{ids['customer_id']}/segments",
    ]
    today = [own(contact), f"{SESSIONS}/{ids['session_id']}", SEGMENTS]
    served, gone = (contract, today) if surface == "journey" else (today, contract)
    assert {asker.get(path).status_code for path in served} == {200}
    for path in gone:
        response = asker.get(path)
        assert response.status_code == 404
        assert "entityId" not in response.json()
    target = f"/api/v2/journey/actiontargets/{ids['action_target_id']}"
    assert asker.get(target).status_code == 200
    patched = asker.ask("PATCH", target, json={"name": "Evening"}).status_code
    assert patched == (200 if surface == "journey" else 405)


EMAIL = {"type": "Email", "value": "customer1@example.com"}


@pytest.mark.parametrize(
    ("permission", "method", "path", "body"),
    [
        ("externalContacts:segmentAssignment:view", "GET", own("{external_contact_id}"), None),
        ("externalContacts:segmentAssignment:add", "POST", own("{external_contact_id}"), "assign"),
        ("externalContacts:segmentAssignment:delete", "POST", own("{external_contact_id}"), "unassign"),
        ("externalContacts:contact:view", "POST", LOOKUP, EMAIL),
        ("journey:session:view", "GET", f"{SESSIONS}/{{session_id}}", None),
        ("externalContacts:session:view", "GET", f"{SESSIONS}/{{session_id}}", None),
        ("journey:segment:view", "GET", SEGMENTS, None),
    ],
)
def test_each_operation_asks_for_its_permission(start_journey_emulator, permission, method, path, body):
    may = ClientSpec("may", "secret", (permission,))
    may_not = ClientSpec("may-not", "secret", ("journey:nothing:view",))
    emulator = start_journey_emulator(clients=(may, may_not))
    if isinstance(body, str):
        body = body_of(**{body: [emulator.examples["segment_id"]]})
    path = path.format(**emulator.examples)
    assert Asker(emulator, ("may", "secret")).ask(method, path, json=body).status_code == 200
    refused = Asker(emulator, ("may-not", "secret")).ask(method, path, json=body)
    assert refused.status_code == 403
    assert permission in refused.json()["message"]


def test_a_feature_that_is_switched_off_answers_501(journey_emulator, asker, ids):
    journey_emulator.script({"fault": "501", "operation": UPDATE, "times": 2})
    response = asker.ask("POST", own(ids["external_contact_id"]), json=body_of([ids["segment_id"]]))
    assert (response.status_code, response.json()["code"]) == (501, "not.implemented")
    assert asker.get(own(ids["external_contact_id"])).status_code == 200
