"""A ledger on S3, and audiences there: a local server stands for it."""

from __future__ import annotations

import contextlib
import json
import threading

import boto3
import pytest
from moto.server import ThreadedMotoServer

from airflow_provider_journey.segments.audience import FileAudience
from airflow_provider_journey.segments.commit import commit
from airflow_provider_journey.segments.errors import LeaseError
from airflow_provider_journey.segments.forgetting import forget
from airflow_provider_journey.segments.lease import Lease
from airflow_provider_journey.segments.ledger import Ledger
from airflow_provider_journey.segments.plan import PlanRequest, make_plan
from tests.segment_service import Killed, Service, apply, pairs

BUCKET = "journey-ledger"
KEYS = {"aws_access_key_id": "somebody", "aws_secret_access_key": "something"}

pytestmark = pytest.mark.xdist_group("s3")


@pytest.fixture(scope="module")
def s3():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="eu-central-1", **KEYS)
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    yield client
    server.stop()


@pytest.fixture
def ledger(s3, monkeypatch, request):
    connection = {
        "conn_type": "aws",
        "login": KEYS["aws_access_key_id"],
        "password": KEYS["aws_secret_access_key"],
        "extra": {"endpoint_url": s3.meta.endpoint_url, "region_name": "eu-central-1"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps(connection))
    return Ledger.at(f"s3://crm@{BUCKET}/{request.node.name}", keep=2)


def test_of_many_who_create_one_object_one_succeeds(ledger):
    outcomes = []
    barrier = threading.Barrier(6)

    def create(number):
        barrier.wait()
        with contextlib.suppress(FileExistsError):
            ledger.store.create_json("heads/1.json", {"by": number})
            outcomes.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [ledger.store.read_json("heads/1.json")["by"]] == outcomes
    assert [*ledger.store.sizes("")] == []
    assert [*ledger.store.sizes("heads")] == ["1.json"]


def test_what_others_put_is_seen_at_once(ledger, s3, request):
    ledger.store.put_json("heads/1.json", {})
    assert [*ledger.store.sizes("heads")] == ["1.json"]
    s3.put_object(Bucket=BUCKET, Key=f"{request.node.name}/heads/2.json", Body=b"{}")
    assert [*ledger.store.sizes("heads")] == ["1.json", "2.json"]


def test_nights_with_a_kill_and_a_person_forgotten(ledger, s3, request):
    service = Service()

    def night(name, contacts, fate=lambda call: "done"):
        Lease(ledger.store, name).acquire()
        for part, some in enumerate((contacts[::2], contacts[1::2])):
            text = "external_contact_id,segment_id\n" + "".join(f"{contact},s\n" for contact in some)
            key = f"{request.node.name}/in/part-{part}.csv"
            s3.put_object(Bucket=BUCKET, Key=key, Body=text.encode())
        audience = FileAudience(f"s3://{BUCKET}/{request.node.name}/in/part-*.csv", conn_id="crm")
        plan = make_plan(ledger, name, audience, PlanRequest(["s"], "mirror"))
        assert plan.summary.rows == len(contacts)
        apply(plan.run, plan.summary, service, fate)
        commit(ledger, plan.run, plan.summary)
        Lease(ledger.store, name).release()

    contacts = [f"c{number}" for number in range(20)]
    night("one", contacts)
    with pytest.raises(Killed):
        night("two", contacts[5:], lambda call: "killed" if call.number == 3 else "done")
    with pytest.raises(LeaseError, match="two has been at work"):
        night("three", contacts)
    Lease(ledger.store, "two").release()
    night("three", contacts[3:])
    assert service.assigned == {(contact, "s") for contact in contacts[3:]}
    assert {pair for pair, state in pairs(ledger).items() if state == "assigned"} == service.assigned
    night("four", contacts[3:])
    assert ledger.versions() == [2, 3]
    assert forget(ledger, ["c7"]) > 0
    assert ("c7", "s") not in pairs(ledger)
