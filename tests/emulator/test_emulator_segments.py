"""Segment assignments and action targets: stateful, paged, idempotent."""

from __future__ import annotations

from itertools import chain
from urllib.parse import quote

import pytest

from tests.emulator.asking import Asker

CONTACTS = "/api/v2/journey/externalcontacts"
TARGETS = "/api/v2/journey/actiontargets"


@pytest.fixture
def asker(journey_emulator):
    return Asker(journey_emulator)


@pytest.fixture
def ids(journey_emulator):
    return journey_emulator.examples


def _pages(asker, path, meanwhile=lambda: None, **query):
    uri, pages = path, []
    while uri:
        page = asker.get(uri, **({} if pages else query)).json()
        pages.append([entity["id"] for entity in page["entities"]])
        meanwhile()
        uri = page.get("nextUri")
    return pages


def _flat(pages):
    return list(chain.from_iterable(pages))


def _by_segment(asker, path, **query):
    return {entity["segment"]["id"]: entity for entity in asker.get(path, **query).json()["entities"]}


def _paths(ids):
    return [
        f"{CONTACTS}/{ids['external_contact_id']}/segments",
        f"/api/v2/journey/sessions/{ids['session_id']}/segments",
        f"/api/v2/journey/customers/{ids['customer_id_type']}/{ids['customer_id']}/segments",
    ]


def test_an_assignment_is_seen_by_contact_session_and_customer(asker, ids):
    assert asker.assign(ids["external_contact_id"], ids["segment_id"]).status_code == 204
    for path in _paths(ids):
        found = _by_segment(asker, path)[ids["segment_id"]]
        assert found["state"] == "Assigned"
        assert found["externalContact"]["id"] == ids["external_contact_id"]
        assert found["dateAssigned"].endswith("Z")
        assert found["customerId"]
        assert found["customerIdType"]
    assert _by_segment(asker, _paths(ids)[2])[ids["segment_id"]]["customerId"] == ids["customer_id"]


def test_assigning_again_renews_and_adds_nothing(journey_emulator, asker, ids):
    path = _paths(ids)[0]
    asker.assign(ids["external_contact_id"], ids["segment_id"])
    before = _by_segment(asker, path)
    journey_emulator.advance_clock(3600)
    asker.assign(ids["external_contact_id"], ids["segment_id"])
    after = _by_segment(asker, path)
    assert before.keys() == after.keys()
    old, new = before[ids["segment_id"]], after[ids["segment_id"]]
    assert (old["id"], old["dateAssigned"]) == (new["id"], new["dateAssigned"])
    assert old["dateModified"] < new["dateModified"]


def test_unassigning_keeps_the_assignment_with_its_end(asker, ids):
    path = _paths(ids)[0]
    asker.assign(ids["external_contact_id"], ids["segment_id"])
    asker.assign(ids["external_contact_id"], ids["segment_id"], state="Unassigned")
    ended = _by_segment(asker, path)[ids["segment_id"]]
    assert ended["state"] == "Unassigned"
    assert ended["dateUnassigned"] >= ended["dateAssigned"]
    asker.assign(ids["external_contact_id"], ids["segment_id"], state="Unassigned")
    assert _by_segment(asker, path)[ids["segment_id"]] == ended
    assert ids["segment_id"] not in _by_segment(asker, path, assignmentState="Assigned")
    assert set(_by_segment(asker, path, assignmentState="Unassigned")) == {ids["segment_id"]}


def test_an_assignment_ends_by_itself_unless_renewed(journey_emulator, asker, ids):
    asker.assign(ids["external_contact_id"], ids["segment_id"])
    for _ in range(2):
        journey_emulator.advance_clock(20 * 86_400)
        Asker(journey_emulator).assign(ids["external_contact_id"], ids["segment_id"])
    assert ids["external_contact_id"] in journey_emulator.members(ids["segment_id"])
    journey_emulator.advance_clock(31 * 86_400)
    assert journey_emulator.members(ids["segment_id"]) == set()


def test_several_changes_in_one_body(journey_emulator, asker, ids):
    empty = [s["id"] for s in journey_emulator.about()["segments"] if not s["organic"]]
    assert asker.assign(ids["external_contact_id"], *empty).status_code == 204
    assert all(journey_emulator.members(segment) == {ids["external_contact_id"]} for segment in empty)


def test_scopes_split_the_assignments(asker, ids):
    for path in _paths(ids):
        every = _by_segment(asker, path)
        session, customer = (
            _by_segment(asker, path, segmentScope=scope) for scope in ("Session", "Customer")
        )
        assert session
        assert customer
        assert session.keys() | customer.keys() == every.keys()
        assert not session.keys() & customer.keys()
        assert all(e["session"]["id"] == ids["session_id"] for e in session.values())
        assert not any("session" in e for e in customer.values())


@pytest.mark.parametrize("size", ["1", "2", "3"])
def test_small_pages_give_each_entity_once(asker, ids, size):
    for path in _paths(ids):
        whole = asker.get(path).json()
        pages = _pages(asker, path, pageSize=size)
        assert len(pages) == -(-len(whole["entities"]) // int(size)) > 1
        assert _flat(pages) == [entity["id"] for entity in whole["entities"]]
        assert "nextUri" not in whole


def test_pages_stay_exact_while_assignments_change(journey_emulator, asker, ids):
    contact, path = ids["external_contact_id"], _paths(ids)[0]
    segments = [s["id"] for s in journey_emulator.about()["segments"] if s["scope"] == "Customer"]
    asker.assign(contact, *segments)
    states = iter(["Unassigned", "Assigned"] * 20)
    flip = iter(segments * 2)

    def meanwhile():
        asker.assign(contact, next(flip), state=next(states))

    found = _flat(_pages(asker, path, meanwhile, pageSize="2", segmentScope="Customer"))
    assert len(found) == len(set(found)) == len(segments)


@pytest.mark.parametrize(
    "query",
    [
        {"pageSize": "0"},
        {"pageSize": "201"},
        {"pageSize": "many"},
        {"pageSize": "-1"},
        {"after": "nonsense"},
        {"segmentScope": "World"},
        {"assignmentState": "Maybe"},
    ],
)
def test_bad_paging_is_refused(asker, ids, query):
    response = asker.get(_paths(ids)[0], **query)
    assert response.status_code == 400
    assert response.json()["details"][0]["fieldName"] == next(iter(query))


def test_unknown_things_are_not_found_by_name(asker, ids):
    unknown = "00000000-0000-4000-a000-000000000000"
    for path in (
        f"{CONTACTS}/{unknown}/segments",
        f"/api/v2/journey/sessions/{unknown}/segments",
        f"/api/v2/journey/customers/email/{unknown}@example.com/segments",
        f"{TARGETS}/{unknown}",
    ):
        response = asker.get(path)
        assert response.status_code == 404
        assert response.json()["entityId"].startswith(unknown)
        assert response.json()["code"] == "not.found"
    assert asker.assign(unknown, ids["segment_id"]).status_code == 404
    assert asker.get("/api/v2/journey/customers/shoe/44/segments").status_code == 400


def test_a_bad_update_changes_nothing(journey_emulator, asker, ids):
    contact, good = ids["external_contact_id"], {"segmentId": ids["segment_id"], "state": "Assigned"}
    session_scoped = next(s["id"] for s in journey_emulator.about()["segments"] if s["scope"] == "Session")
    for bad in (
        {"segmentId": "nobody", "state": "Assigned"},
        {"segmentId": session_scoped, "state": "Assigned"},
        {"segmentId": ids["segment_id"], "state": "Perhaps"},
        {"state": "Assigned"},
        "text",
    ):
        response = asker.ask("POST", f"{CONTACTS}/{contact}/segments", json=[good, bad])
        assert response.status_code == 400, bad
    assert asker.ask("POST", f"{CONTACTS}/{contact}/segments", json=good).status_code == 400
    assert journey_emulator.members(ids["segment_id"]) == set()


def test_every_contact_can_be_reached_by_each_of_its_customer_ids(journey_emulator, asker):
    contact = journey_emulator.assignments()[0]["external_contact_id"]
    own = asker.get(f"{CONTACTS}/{contact}/segments").json()["entities"]
    cookie = next(entity for entity in own if "session" in entity)["session"]["id"]
    email = own[0]["customerId"]
    number = email.removeprefix("customer").removesuffix("@example.com")
    for path in (f"sessions/{cookie}", f"customers/email/{email}", f"customers/phone/%2B1555{number:0>7}"):
        entities = asker.get(f"/api/v2/journey/{path}/segments").json()["entities"]
        assert {entity["externalContact"]["id"] for entity in entities} == {contact}


def test_the_people_in_the_events_are_the_contacts_there_are(asker):
    day = "2026-03-10T00:00:00Z/2026-03-11T00:00:00Z"
    by = ["journeySessionId", "journeyCustomerIdType", "journeyCustomerId"]
    groups = [result["group"] for result in asker.query(day, "nJourneySessions", groupBy=by)]
    assert {group["journeyCustomerIdType"] for group in groups} == {"email", "phone", "cookie"}
    for group in groups:
        kind, customer = group["journeyCustomerIdType"], quote(group["journeyCustomerId"], safe="")
        session = asker.get(f"/api/v2/journey/sessions/{group['journeySessionId']}/segments")
        read = asker.get(f"/api/v2/journey/customers/{kind}/{customer}/segments")
        assert read.status_code == session.status_code == 200, group
        assert [e["id"] for e in read.json()["entities"]] == [e["id"] for e in session.json()["entities"]]


def test_the_judge_sees_every_change(journey_emulator, asker, ids):
    contact, segment = ids["external_contact_id"], ids["segment_id"]
    assert journey_emulator.assignments(segment) == []
    asker.assign(contact, segment)
    (held,) = journey_emulator.assignments(segment)
    assert (held["external_contact_id"], held["segment_id"], held["state"]) == (contact, segment, "Assigned")
    assert held["date_assigned"] == held["date_modified"] < held["date_expires"]
    asker.assign(contact, segment, state="Unassigned")
    (ended,) = journey_emulator.assignments(segment)
    assert (ended["state"], ended["date_expires"]) == ("Unassigned", None)
    assert ended["date_unassigned"] >= held["date_assigned"]
    with pytest.raises(RuntimeError, match="404"):
        journey_emulator.assignments("nobody")


def test_numbered_pages_hold_each_target_once(asker):
    first = asker.get(TARGETS).json()
    assert (first["pageSize"], first["pageNumber"], first["total"], first["pageCount"]) == (25, 1, 30, 2)
    assert "previousUri" not in first
    pages = _pages(asker, TARGETS, pageSize=7)
    assert [len(page) for page in pages] == [7, 7, 7, 7, 2]
    assert len(set(_flat(pages))) == 30
    last = asker.get(first["lastUri"]).json()
    assert asker.get(last["previousUri"]).json() == first
    assert asker.get(TARGETS, pageNumber=9).json()["entities"] == []
    assert asker.get(TARGETS, pageNumber=0).status_code == 400


def test_a_target_is_changed_and_read_back(asker, ids):
    path = f"{TARGETS}/{ids['action_target_id']}"
    before = asker.get(path).json()
    change = {"name": "Evening", "serviceLevel": {"percentage": 0.9, "durationMs": 30_000}}
    after = asker.ask("PATCH", path, json=change).json()
    assert after == asker.get(path).json()
    assert after == before | change | {"modifiedDate": after["modifiedDate"]}
    assert after["modifiedDate"] > before["modifiedDate"]
    for bad in (
        {"name": " "},
        {"serviceLevel": {"percentage": 2, "durationMs": 1}},
        {"serviceLevel": {}},
        [],
    ):
        assert asker.ask("PATCH", path, json=bad).status_code == 400
    assert asker.get(path).json() == after
