"""Today's surface, read and built without a network."""

import json

import pytest

from airflow_provider_journey.api import answers, contacts, endpoints, errors, operations, redirects
from airflow_provider_journey.api.messages import Answer, Request
from tests.unit.test_api_exchange import Service, token

TODAY = "externalcontacts"
LOOKUP = operations.lookup_contact("Email", "ann@example.org").request


def answer(content, status=200, **headers):
    return Answer(status, {"inin-correlation-id": "corr-1", **headers}, json.dumps(content).encode())


def updating(assign=("A", "B"), unassign=("C",)):
    return operations.update_external_contact_segments(
        "c", assign=assign, unassign=unassign, segments_api=TODAY
    )


def undone(assign=(), unassign=(), **count):
    parts = {"assign": assign, "unassign": unassign}
    items = {kind: {"segments": [{"id": name} for name in names]} for kind, names in parts.items()}
    return {"unprocessedItems": {**items, **count}}


def test_an_update_names_what_it_changes_and_nothing_else():
    request = updating().request
    assert request.path == "/externalcontacts/contacts/c/journey/segments"
    assert json.loads(request.content) == {
        "assign": {"segments": [{"id": "A"}, {"id": "B"}]},
        "unassign": {"segments": [{"id": "C"}]},
    }
    assert json.loads(updating(unassign=()).request.content) == {
        "assign": {"segments": [{"id": "A"}, {"id": "B"}]}
    }
    assert json.loads(updating(assign=(), unassign=["C", "C"]).request.content) == {
        "unassign": {"segments": [{"id": "C"}]}
    }


@pytest.mark.parametrize(
    ("assign", "unassign"),
    [
        ((), ()),
        (["A"], ["A"]),
        (map(str, range(6)), map(str, range(6, 11))),
        ("ABC", ()),
        (["A"], "B"),
        ([None], ()),
        (["A"], [" "]),
        ([7], ()),
    ],
)
def test_an_update_has_one_to_ten_changes(assign, unassign):
    with pytest.raises(errors.InvalidRequestError, match="postExternalcontactsContactJourneySegments"):
        updating(assign, unassign)


@pytest.mark.parametrize(
    ("content", "left"),
    [
        (undone(count=0), ([], [])),
        (undone(["A"], ["C"], count=2), (["A"], ["C"])),
        (undone(["B"]), (["B"], [])),
        (undone(["B", "B"], count=1), (["B"], [])),
        ({"unprocessedItems": {"count": 0}}, ([], [])),
        ({"unprocessedItems": {"assign": None, "unassign": {"segments": None}}}, ([], [])),
    ],
)
def test_what_a_200_left_undone(content, left):
    assert updating().read(answer(content)) == dict(zip(("assign", "unassign"), left, strict=True))


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ({}, "does not say what was not processed"),
        ({"unprocessedItems": []}, "does not say what was not processed"),
        (undone(["Z"], count=1), "not what was sent to assign"),
        (undone(unassign=["A"], count=1), "not what was sent to unassign"),
        (undone(["A"], count=2), "its count of unprocessed items, 2"),
        (undone(count=1), "its count of unprocessed items, 1"),
        ({"unprocessedItems": {"assign": ["A"]}}, "not what was sent to assign"),
        ({"unprocessedItems": {"assign": {"segments": {}}}}, "not what was sent to assign"),
        ({"unprocessedItems": {"assign": {"segments": ["A"]}}}, "not what was sent to assign"),
        ({"unprocessedItems": {"unassign": {"segments": [{"id": 7}]}}}, "not what was sent to unassign"),
    ],
)
def test_an_answer_that_does_not_add_up_is_a_response_error(content, cause):
    with pytest.raises(errors.ResponseError, match=cause) as caught:
        updating().read(answer(content))
    assert (caught.value.correlation_id, caught.value.maybe_processed) == ("corr-1", True)


def listing(size, **filters):
    call = operations.list_external_contact_segments("c", segments_api=TODAY, **filters)
    return call, answer({"entities": [{"segment": {"id": str(number)}} for number in range(size)]})


def test_a_listing_that_is_not_full_is_whole():
    call, found = listing(199)
    assert call.request.query == (("limit", "200"),)
    page = call.read(found)
    assert (len(page.entities), page.following) == (199, None)


def test_a_full_listing_is_asked_again_and_keeps_its_filters():
    call, found = listing(200, segment_scope="Session", include_merged=True)
    page = call.read(found)
    assert page.entities == []
    assert page.following.request.query == (("limit", "500"), ("includeMerged", "true"))
    assert page.following.read(answer({"entities": [{"session": {"id": "s"}}, {}]})).entities == [
        {"session": {"id": "s"}}
    ]


def test_more_than_can_be_listed_is_an_error_and_not_a_short_list():
    call, found = listing(500, page_size=500)
    with pytest.raises(errors.ResponseError, match="at most 500 assignments and has no second page"):
        call.read(found)


@pytest.mark.parametrize("content", [{"segmentAssignments": {}}, {"segmentAssignments": ["A"]}, []])
def test_a_session_of_another_shape_is_a_response_error(content):
    with pytest.raises(errors.ResponseError, match="getJourneySession"):
        operations.list_session_segments("s", segments_api=TODAY).read(answer(content))


def test_a_session_without_assignments_has_none():
    assert operations.list_session_segments("s", segments_api=TODAY).read(answer({"id": "s"})).entities == []


def test_a_look_up_s_body():
    def body(*args):
        return json.loads(operations.lookup_contact(*args).request.content)

    assert body(" email ", " ann@example.org ") == {"type": "Email", "value": "ann@example.org"}
    assert body("SOCIALWHATSAPP", "1") == {"type": "SocialWhatsapp", "value": "1"}
    assert body("Pigeon", "1") == {"type": "Pigeon", "value": "1"}
    assert body("externalid", "7", "crm") == {
        "type": "ExternalId",
        "value": "7",
        "externalSource": {"id": "crm"},
    }


@pytest.mark.parametrize(
    "args",
    [("", "v"), ("Email", " "), ("Email", None), ("ExternalId", "7"), ("Email", "a@example.org", "crm")],
)
def test_a_look_up_that_cannot_be_right_is_not_built(args):
    with pytest.raises(errors.InvalidRequestError, match="IdentifierlookupContacts") as caught:
        operations.lookup_contact(*args)
    assert "a@example.org" not in str(caught.value)


def test_the_canonical_contact_speaks_for_the_others():
    assert operations.canonical_id({"id": "a"}) == "a"
    assert operations.canonical_id({"id": "a", "canonicalContact": None}) == "a"
    assert operations.canonical_id({"id": "a", "canonicalContact": {"id": "b"}}) == "b"


@pytest.mark.parametrize(
    "content", [{}, {"id": ""}, {"id": 7}, {"id": "a", "canonicalContact": {"name": "b"}}]
)
def test_a_look_up_that_names_no_contact_is_a_response_error(content):
    with pytest.raises(errors.ResponseError, match="names no contact"):
        operations.lookup_contact("Email", "a@example.org").read(answer(content))


def seen(body, request=LOOKUP, status=404):
    """Return the error that an answer means, or what its reader makes of it."""
    found = Answer(status, {}, body if isinstance(body, bytes) else json.dumps(body).encode())
    try:
        answers.check(found, request, "conn", now=0.0)
    except errors.JourneyError as error:
        return error
    return operations.lookup_contact("Email", "ann@example.org").read(found)


@pytest.mark.parametrize(
    "body",
    [
        {"code": "not.found", "message": "No contact has this identifier."},
        {"code": "contact.not.found", "message": "Unable to find ann@example.org"},
        {"code": "not.found", "message": "The requested resource was not found.", "entityName": "contact"},
    ],
)
def test_a_look_up_s_404_in_the_service_s_words_means_nobody(body):
    assert seen(body) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>404 Not Found</html>",
        [],
        {"message": "no Route matched with those values"},
        {"code": "not.found", "message": "The requested resource was not found."},
        {"code": "not.found", "message": "HTTP 404 Not Found"},
    ],
)
def test_a_404_of_somebody_else_is_no_miss(body):
    error = seen(body)
    assert isinstance(error, errors.NotFoundError)
    assert "segments_api='externalcontacts' is the wrong choice" in str(error)


def test_only_a_look_up_may_miss():
    body = {"code": "not.found", "message": "No contact has this identifier."}
    session = operations.list_session_segments("s", segments_api=TODAY).request
    assert isinstance(seen(body, session), errors.NotFoundError)


@pytest.mark.parametrize("status", [301, 400, 403, 404, 409, 422, 429, 500, 501, 502])
def test_no_error_of_a_look_up_repeats_the_identifier(status):
    body = {"message": "HTTP 404: ann@example.org", "code": "c", "entityId": "ann@example.org"}
    for content in (body, {**body, "code": None}, b"ann@example.org"):
        error = seen(content, status=status)
        if error is not None:
            assert "ann@example.org" not in f"{error!r} {vars(error)}"


def test_a_miss_that_had_to_be_a_hit_says_the_kind_alone():
    error = contacts.nobody("Email", LOOKUP, answer({}, 404))
    assert "no contact has this Email" in str(error)
    assert "ann@" not in str(error)
    assert (error.status, error.correlation_id) == (404, "corr-1")


READ = operations.list_external_contact_segments("old", segments_api=TODAY, page_size=7).request


def moved(location, status=307):
    return Answer(status, {"location": location}, b"")


def to(contact, tail="/journey/segments", base="/api/v2"):
    return f"{base}/externalcontacts/contacts/{contact}{tail}"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("base", ["/api/v2", "https://elsewhere.example/api/v2", ""])
def test_a_redirect_changes_the_contact_and_nothing_else(status, base):
    onward = redirects.onward(moved(to("new%2F1", base=base) + "?limit=9", status), READ)
    assert onward == Request(READ.endpoint, "/externalcontacts/contacts/new%2F1/journey/segments", READ.query)
    change = updating().request
    assert redirects.onward(moved(to("new"), status), change).content == change.content


@pytest.mark.parametrize(
    ("location", "request_"),
    [
        (to("old"), READ),
        (to("new", tail=""), READ),
        (to("new", tail="/journey/segments/more"), READ),
        (to("a/b"), READ),
        ("", READ),
        ("https://elsewhere.example/login", READ),
        ("http://[::1", READ),
        ("/api/v2/journey/sessions/new", operations.list_session_segments("s", segments_api=TODAY).request),
    ],
)
def test_no_other_redirect_is_followed(location, request_):
    assert redirects.onward(moved(location), request_) is None
    assert redirects.onward(Answer(200, {"location": to("new")}, b""), READ) is None


def test_a_redirect_is_followed_to_the_connection_s_own_host():
    service = Service(segments_api=TODAY)
    found = answer({"entities": []})
    said = service.talk(
        token(), moved(to("new", base="https://elsewhere.example/api/v2")), found, request=READ
    )
    assert said is found
    host = "https://api.mypurecloud.de/api/v2/externalcontacts/contacts"
    assert [step.url for step in service.asked[1:]] == [
        f"{host}/{contact}/journey/segments?limit=7" for contact in ("old", "new")
    ]
    assert service.exchange.statistics.calls == 2


def test_a_redirect_that_never_arrives_is_an_error():
    service = Service(segments_api=TODAY)
    hops = [moved(to(str(number))) for number in range(4)]
    with pytest.raises(errors.ResponseError, match="307"):
        service.talk(token(), *hops, request=READ)
    assert service.exchange.statistics.calls == 4


def test_every_operation_of_today_is_data():
    today = {name for name, endpoint in endpoints.ENDPOINTS.items() if endpoint.served_by == (TODAY,)}
    assert today == {
        "getExternalcontactsContactJourneySegments",
        "postExternalcontactsContactJourneySegments",
        "postExternalcontactsIdentifierlookupContacts",
        "getJourneySession",
        "getJourneySegments",
    }
    assert [endpoints.ENDPOINTS[name].operation_id for name in sorted(today)] == sorted(today)


def test_an_answer_to_a_look_up_that_is_cut_short_shows_nobody():
    cut = Answer(200, {}, b'{"id": "c", "personalEmail": "canary@example.org"')
    with pytest.raises(errors.ResponseError, match="is not shown") as caught:
        operations.lookup_contact("Email", "canary@example.org").read(cut)
    assert "canary" not in str(caught.value)
