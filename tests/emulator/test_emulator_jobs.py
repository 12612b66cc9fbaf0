"""The emulator's asynchronous jobs: their states, their pages, and what can be made to go wrong with them."""

import pytest

from tests.emulator.asking import QUERY, Asker

JOBS = QUERY.replace("query", "jobs")
DAY = "2026-03-10T00:00:00Z/2026-03-11T00:00:00Z"
BODY = {
    "interval": DAY,
    "metrics": ["nWebActionsOffered", "oJourneyOutcomeValue"],
    "groupBy": ["journeyActionMapId", "journeyDeviceCategory"],
    "granularity": "PT1H",
}


@pytest.fixture
def asker(journey_emulator):
    return Asker(journey_emulator)


def submit(asker, **more):
    answer = asker.ask("POST", JOBS, json={**BODY, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()["jobId"]


def status(asker, job_id):
    return asker.get(f"{JOBS}/{job_id}").json()


def pages(asker, job_id):
    cursor, found = {}, []
    while True:
        answer = asker.get(f"{JOBS}/{job_id}/results", **cursor)
        assert answer.status_code == 200, answer.text
        found.append(answer.json()["results"])
        if "cursor" not in answer.json():
            return found
        cursor = {"cursor": answer.json()["cursor"]}


def fulfilled(asker, job_id):
    assert status(asker, job_id)["state"] == "FULFILLED"
    return job_id


def test_a_job_holds_in_pages_what_the_query_answers(asker):
    whole = asker.query(BODY["interval"], *BODY["metrics"], groupBy=BODY["groupBy"], granularity="PT1H")
    found = pages(asker, fulfilled(asker, submit(asker, pageSize=7)))
    assert [len(page) for page in found[:-1]] == [7] * (len(found) - 1)
    assert 0 < len(found[-1]) <= 7
    assert [result for page in found for result in page] == whole


def test_nothing_at_all_is_one_empty_page(asker):
    job_id = fulfilled(asker, submit(asker, interval="2099-01-01T00:00:00Z/2099-01-02T00:00:00Z"))
    assert pages(asker, job_id) == [[]]


def test_the_states_follow_the_clock(asker, journey_emulator):
    journey_emulator.limits(job_seconds=600, job_lifetime=3600)
    job_id = submit(asker)
    assert status(asker, job_id)["state"] == "QUEUED"
    assert "completionDate" not in status(asker, job_id)
    journey_emulator.advance_clock(310)
    assert status(asker, job_id)["state"] == "PENDING"
    assert asker.get(f"{JOBS}/{job_id}/results").status_code == 400
    journey_emulator.advance_clock(300)
    assert status(asker, fulfilled(asker, job_id)).keys() == {
        "state",
        "submissionDate",
        "completionDate",
        "expirationDate",
    }
    journey_emulator.advance_clock(3600)
    assert status(asker, job_id)["state"] == "EXPIRED"
    assert asker.get(f"{JOBS}/{job_id}/results").status_code == 404


def test_a_job_is_cancelled(asker, journey_emulator):
    job_id = submit(asker)
    assert asker.ask("DELETE", f"{JOBS}/{job_id}").status_code == 204
    assert journey_emulator.jobs() == {job_id: "CANCELLED"}
    assert asker.get(f"{JOBS}/{job_id}/results").status_code == 404


@pytest.mark.parametrize(("method", "ending"), [("GET", ""), ("GET", "/results"), ("DELETE", "")])
def test_a_job_that_nobody_submitted_is_not_found(asker, method, ending):
    answer = asker.ask(method, f"{JOBS}/nobody-s{ending}")
    assert (answer.status_code, answer.json()["entityId"]) == (404, "nobody-s")


@pytest.mark.parametrize("more", [{"pageSize": 0}, {"pageSize": "7"}, {"metrics": ["nNothing"]}, {"x": 1}])
def test_what_cannot_be_is_refused_when_it_is_submitted(asker, journey_emulator, more):
    assert asker.ask("POST", JOBS, json={**BODY, **more}).status_code == 400
    assert journey_emulator.jobs() == {}


def test_faults_of_jobs(asker, journey_emulator):
    journey_emulator.script("job-failed")
    assert "memory" in status(asker, submit(asker))["errorMessage"]
    job_id = fulfilled(asker, submit(asker, pageSize=1))
    journey_emulator.script({"fault": "cursor-expired", "after": 1}, {"fault": "job-expired", "after": 1})
    first = asker.get(f"{JOBS}/{job_id}/results").json()["cursor"]
    answer = asker.get(f"{JOBS}/{job_id}/results", cursor=first)
    assert (answer.status_code, answer.json()["message"]) == (400, "The cursor has expired.")
    assert asker.get(f"{JOBS}/{job_id}/results", cursor="x").status_code == 400
    assert asker.get(f"{JOBS}/{job_id}/results").status_code == 404
    assert status(asker, job_id)["state"] == "EXPIRED"


def test_a_limit_of_buckets_holds_for_jobs(asker, journey_emulator):
    journey_emulator.limits(max_buckets=23)
    assert asker.ask("POST", JOBS, json=BODY).status_code == 413
