"""Both hooks where the organisation serves today's surface: the same methods, other requests."""

import pytest

from airflow_provider_journey.api.errors import (
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    ResponseError,
    UnsupportedOperationError,
)
from airflow_provider_journey.api.operations import canonical_id
from airflow_provider_journey.emulator.options import ClientSpec
from tests.emulator.calling import Async, Sync, connect

LIST = "getExternalcontactsContactJourneySegments"
UPDATE = "postExternalcontactsContactJourneySegments"
LOOKUP = "postExternalcontactsIdentifierlookupContacts"
SESSION = "getJourneySession"
NOTHING = {"assign": [], "unassign": []}
TODAY = {"segments_api": "externalcontacts"}
KINDS = pytest.mark.parametrize("kind", [Sync, Async], ids=["sync", "async"])


@pytest.fixture
def emulator(start_journey_emulator):
    return start_journey_emulator(surface="externalcontacts")


@pytest.fixture(params=[Sync, Async], ids=["sync", "async"])
def hook(request, monkeypatch, emulator):
    return request.param(connect(monkeypatch, emulator, **TODAY))


@pytest.fixture
def contact(emulator):
    return emulator.examples["external_contact_id"]


@pytest.fixture
def segments(emulator):
    """Segments that nobody is in at first."""
    return [
        s["id"] for s in emulator.about()["segments"] if (s["scope"], s["organic"]) == ("Customer", False)
    ]


def names(assignments):
    return [entity["segment"]["id"] for entity in assignments]


def calls(emulator):
    return {name: sum(by.values()) for name, by in emulator.calls().items() if name != "token"}


def another(hook, contact):
    """Find a second contact, which stays."""
    for number in range(50):
        found = hook.call("lookup_contact", "Email", f"customer{number}@example.com")
        if found["type"] == "Identified" and found["id"] != contact:
            return found
    raise AssertionError("nobody")


def test_changes_are_read_back(hook, emulator, contact, segments):
    first, second, *_ = segments
    assert hook.call("update_external_contact_segments", contact, assign=[first, second]) == NOTHING
    assert {first, second} <= set(names(hook.all("list_external_contact_segments", contact)))
    assert (
        hook.call("update_external_contact_segments", contact, assign=[first], unassign=[second]) == NOTHING
    )
    left = names(hook.all("list_external_contact_segments", contact, assignment_state="Assigned"))
    assert {first, second} & set(left) == {first}
    assert emulator.members(first) == {contact}
    assert calls(emulator) == {LIST: 2, UPDATE: 2}


def test_what_a_200_left_undone_is_returned(hook, emulator, contact, segments):
    emulator.script({"fault": "unprocessed", "items": 0.5})
    left = hook.call("update_external_contact_segments", contact, assign=segments[:6], unassign=segments[6:])
    assert len(left["assign"]) + len(left["unassign"]) == 5
    assert set(left["assign"]) <= set(segments[:6])
    assert set(left["unassign"]) <= set(segments[6:])
    held = set(names(hook.all("list_external_contact_segments", contact)))
    assert held & set(segments) == set(segments[:6]) - set(left["assign"])
    assert hook.call("update_external_contact_segments", contact, **left) == NOTHING


@pytest.mark.parametrize("fault", ["cut-json", "non-json", "wrong-shape", "empty-body"])
def test_an_update_whose_answer_proves_nothing_is_an_error(hook, emulator, contact, segments, fault):
    emulator.script({"fault": fault, "operation": UPDATE})
    with pytest.raises(ResponseError, match=UPDATE):
        hook.call("update_external_contact_segments", contact, assign=segments[:1])
    assert calls(emulator) == {UPDATE: 1}


def test_scopes_split_the_listing(hook, contact):
    every = hook.all("list_external_contact_segments", contact)
    parts = [
        hook.all("list_external_contact_segments", contact, segment_scope=scope)
        for scope in ("Session", "Customer")
    ]
    assert all(parts)
    assert sorted(names(parts[0] + parts[1])) == sorted(names(every))
    assert [["session" in entity for entity in part] for part in parts] == [
        [True] * len(parts[0]),
        [False] * len(parts[1]),
    ]


def test_a_full_answer_is_asked_again_for_the_most_there_can_be(hook, emulator, contact):
    every = hook.all("list_external_contact_segments", contact, page_size=500)
    assert len(every) > 1
    emulator.reset_calls()
    assert hook.all("list_external_contact_segments", contact, page_size=1) == every
    assert [request["query"]["limit"] for request in emulator.requests(LIST)] == ["1", "500"]


@pytest.mark.parametrize(
    "method", ["list_external_contact_segments", "list_session_segments", "list_customer_segments"]
)
def test_what_has_ended_cannot_be_listed_and_nothing_is_asked(hook, emulator, method):
    ids = ("email", "a@example.com") if method == "list_customer_segments" else ("x",)
    with pytest.raises(UnsupportedOperationError, match="assignment_state='Unassigned'.*externalcontacts"):
        hook.all(method, *ids, assignment_state="Unassigned")
    with pytest.raises(InvalidRequestError, match="page_size is 1 to 500"):
        hook.all(method, *ids, page_size=501)
    with pytest.raises(InvalidRequestError, match="none of"):
        hook.all(method, *ids, segment_scope="World")
    assert emulator.calls() == {}


def test_a_session_s_segments_come_from_the_session(hook, emulator, contact):
    entries = hook.all("list_session_segments", emulator.examples["session_id"], assignment_state="Assigned")
    assert sorted(names(entries)) == sorted(names(hook.all("list_external_contact_segments", contact)))
    assert all(set(entry) == {"segment", "assignedDate"} for entry in entries)
    assert calls(emulator)[SESSION] == 1
    with pytest.raises(UnsupportedOperationError, match="without their scope"):
        hook.all("list_session_segments", "s", segment_scope="Session")
    with pytest.raises(UnsupportedOperationError, match="include_merged"):
        hook.all("list_session_segments", "s", include_merged=True)
    with pytest.raises(NotFoundError, match="nobody"):
        hook.all("list_session_segments", "nobody")
    assert calls(emulator)[SESSION] == 2


@pytest.mark.parametrize("identifier", ["Email", "phone", "COOKIE"])
def test_a_customer_s_segments_are_those_of_the_contact_that_is_looked_up(
    hook, emulator, contact, identifier
):
    value = emulator.about()["identifiers"][identifier.capitalize()]
    found = hook.all("list_customer_segments", identifier, value, segment_scope="Customer")
    assert found == hook.all("list_external_contact_segments", contact, segment_scope="Customer")
    assert calls(emulator) == {LOOKUP: 1, LIST: 2}


def test_a_customer_nobody_knows_is_not_found_and_not_named(hook, emulator):
    with pytest.raises(NotFoundError, match="no contact has this email") as caught:
        hook.all("list_customer_segments", "email", "nobody@example.org")
    assert "nobody@" not in str(caught.value)
    assert caught.value.correlation_id
    assert calls(emulator) == {LOOKUP: 1}


def test_look_up(hook, emulator, contact):
    about = emulator.about()
    for kind, value in about["identifiers"].items():
        source = about["external_source_id"] if kind == "ExternalId" else None
        assert hook.call("lookup_contact", kind.lower(), value, source)["id"] == contact
    assert hook.call("lookup_contact", "Email", "nobody@example.org") is None
    assert hook.call("lookup_contact", "ExternalId", "CRM-0000001", "elsewhere") is None
    with pytest.raises(InvalidRequestError, match="400.*value: invalid.value") as caught:
        hook.call("lookup_contact", "Phone", "5550000001")
    assert "5550000001" not in str(caught.value)


def test_a_look_up_in_the_wrong_place_is_no_miss(hook, emulator):
    emulator.script({"fault": "404", "operation": LOOKUP})
    with pytest.raises(NotFoundError, match="segments_api='externalcontacts' is the wrong choice") as caught:
        hook.call("lookup_contact", "Email", "somebody@example.org")
    assert "somebody@" not in str(caught.value)


def test_a_merged_contact_is_followed_to_the_one_that_speaks_for_it(hook, emulator, contact, segments):
    old = another(hook, contact)
    hook.call("update_external_contact_segments", old["id"], assign=segments[:1])
    emulator.merge(old["id"], into=contact)
    emulator.reset_calls()
    assert hook.call("update_external_contact_segments", old["id"], assign=segments[1:2]) == NOTHING
    assert emulator.members(segments[1]) == {contact}
    assert emulator.calls()[UPDATE] == {"307": 1, "200": 1}
    sent = [request["body"] for request in emulator.requests(UPDATE)]
    assert sent[0] == sent[1] != ""
    own = hook.all("list_external_contact_segments", old["id"])
    assert own == hook.all("list_external_contact_segments", contact)
    assert {entity["externalContact"]["id"] for entity in own} == {contact}
    merged = hook.all("list_external_contact_segments", contact, include_merged=True)
    assert {entity["externalContact"]["id"] for entity in merged} == {contact, old["id"]}
    found = hook.call("lookup_contact", "Email", old["personalEmail"])
    assert (found["id"], canonical_id(found)) == (old["id"], contact)
    assert hook.all("list_customer_segments", "email", old["personalEmail"]) == own
    assert emulator.calls()[LIST] == {"307": 1, "200": 4}


def test_a_contact_that_vanished_is_not_found(hook, emulator, contact, segments):
    emulator.vanish(contact)
    for call in (
        lambda: hook.call("update_external_contact_segments", contact, assign=segments[:1]),
        lambda: hook.all("list_external_contact_segments", contact),
    ):
        with pytest.raises(NotFoundError) as caught:
            call()
        assert caught.value.entity_id == contact
        assert "segments_api" not in str(caught.value)


def test_a_feature_that_is_off_is_said_once(hook, emulator, contact, segments):
    emulator.script({"fault": "501", "operation": UPDATE, "times": 9})
    with pytest.raises(UnsupportedOperationError, match="not switched on") as caught:
        hook.call("update_external_contact_segments", contact, assign=segments[:1])
    assert (caught.value.status, caught.value.maybe_processed) == (501, False)
    assert calls(emulator) == {UPDATE: 1}


def test_segments_there_are(hook, emulator):
    found = hook.all("list_segments", page_size=4)
    assert len(found) == len({segment["id"] for segment in found}) == 21
    about = emulator.about()
    assert {s["id"] for s in found if not s["isActive"]} == {about["inactive_segments"][0]["id"]}
    assert calls(emulator) == {"getJourneySegments": 6}


def test_what_does_not_differ_stays_as_it_is(hook, emulator):
    target = hook.all("list_action_targets")[0]
    assert hook.call("get_action_target", target["id"]) == target
    day = {"interval": "2026-03-01T00:00:00Z/2026-03-02T00:00:00Z", "metrics": ["nJourneySessions"]}
    assert hook.call("query_aggregates", day)["results"]
    with pytest.raises(UnsupportedOperationError, match="segments_api='externalcontacts'"):
        hook.call("update_action_target", target["id"], name="Evening")


@KINDS
def test_what_only_today_s_surface_has_is_refused_on_the_contract_s(kind, monkeypatch, emulator):
    own = kind(connect(monkeypatch, emulator))
    with pytest.raises(UnsupportedOperationError, match="segments_api='journey'"):
        own.call("lookup_contact", "Email", "a@example.org")
    with pytest.raises(UnsupportedOperationError, match="segments_api='journey'"):
        own.all("list_segments")
    with pytest.raises(UnsupportedOperationError, match="include_merged.*segments_api='journey'"):
        own.all("list_external_contact_segments", "c", include_merged=True)
    assert emulator.calls() == {}


@KINDS
@pytest.mark.parametrize(
    ("served", "said"), [("journey", "externalcontacts"), ("externalcontacts", "journey")]
)
def test_a_wrong_choice_of_surface_is_named(kind, monkeypatch, start_journey_emulator, served, said):
    emulator = start_journey_emulator(surface=served)
    own = kind(connect(monkeypatch, emulator, segments_api=said))
    ids = emulator.examples
    wrong = f"segments_api='{said}' is the wrong choice"
    with pytest.raises(NotFoundError, match=wrong):
        own.call("update_external_contact_segments", ids["external_contact_id"], assign=[ids["segment_id"]])
    with pytest.raises(NotFoundError, match=wrong):
        own.all("list_external_contact_segments", ids["external_contact_id"])
    with pytest.raises(NotFoundError, match=wrong):
        own.all("list_session_segments", ids["session_id"])
    with pytest.raises(NotFoundError, match=wrong):
        own.all("list_customer_segments", "email", ids["customer_id"])
    if said == "journey":
        with pytest.raises(InvalidRequestError, match=f"405.*{wrong}"):
            own.call("update_action_target", ids["action_target_id"], name="Evening")
    else:
        with pytest.raises(NotFoundError, match=wrong):
            own.call("lookup_contact", "Email", ids["customer_id"])


@KINDS
def test_the_missing_permission_is_named(kind, monkeypatch, start_journey_emulator):
    emulator = start_journey_emulator(clients=(ClientSpec("few", "few-secret", ("journey:nothing:view",)),))
    emulator.client_id, emulator.client_secret = "few", "few-secret"
    own, ids = kind(connect(monkeypatch, emulator, **TODAY)), emulator.examples
    contact, segment = ids["external_contact_id"], ids["segment_id"]
    for permission, call in {
        "externalContacts:segmentAssignment:view": lambda: own.all("list_external_contact_segments", contact),
        "externalContacts:segmentAssignment:add": lambda: own.call(
            "update_external_contact_segments", contact, assign=[segment]
        ),
        "journey:session:view": lambda: own.all("list_session_segments", ids["session_id"]),
        "externalContacts:contact:view": lambda: own.call("lookup_contact", "Email", "a@example.org"),
        "journey:segment:view": lambda: own.all("list_segments"),
    }.items():
        with pytest.raises(PermissionDeniedError, match=f"this operation needs .*{permission}"):
            call()
