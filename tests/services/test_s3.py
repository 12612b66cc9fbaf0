"""The example DAG, unchanged, with a lake on S3: a local server stands for it."""

from __future__ import annotations

import json

import boto3
import duckdb
import pytest
from moto.server import ThreadedMotoServer

from tests.scheduling import running_platform

pytestmark = pytest.mark.xdist_group("s3")

DAG_ID = "journey_nightly_aggregates"
NAMES = ("_manifest.json", "part-0.parquet")
BUCKET = "journey-lake"
KEYS = {"aws_access_key_id": "somebody", "aws_secret_access_key": "something"}


@pytest.fixture(scope="module")
def s3():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client("s3", endpoint_url=endpoint, region_name="eu-central-1", **KEYS)
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    yield client
    server.stop()


@pytest.fixture(scope="module")
def night(s3, tmp_path_factory):
    """A night that was extracted to S3: its run, and the platform it ran on."""
    connection = {
        "conn_type": "aws",
        "login": KEYS["aws_access_key_id"],
        "password": KEYS["aws_secret_access_key"],
        "extra": {"endpoint_url": s3.meta.endpoint_url, "region_name": "eu-central-1"},
    }
    environment = {
        "AIRFLOW_CONN_LAKE": json.dumps(connection),
        "JOURNEY_LAKE": f"s3://lake@{BUCKET}/lake",
    }
    with running_platform(tmp_path_factory.mktemp("s3"), environment=environment) as platform:
        platform.unpause(DAG_ID)
        (run,) = platform.ended_runs(DAG_ID, 1)
        yield platform.airflow.xcom(run, "journey_run")


def objects(s3):
    return {item["Key"]: item["Size"] for item in s3.list_objects_v2(Bucket=BUCKET)["Contents"]}


def test_each_partition_is_one_file_and_its_manifest(s3, night):
    keys = list(objects(s3))
    folders = sorted({key.rpartition("/")[0] for key in keys})
    assert len(folders) == night["counts"]["partitions"] == 4
    assert all(folder.startswith("lake/journey_aggregates/dt=") for folder in folders)
    assert sorted(keys) == sorted(f"{folder}/{name}" for folder in folders for name in NAMES)


def test_the_files_hold_what_the_run_and_the_manifests_say(s3, night, tmp_path):
    rows = 0
    sizes = objects(s3)
    for key, size in sizes.items():
        if not key.endswith(".parquet"):
            continue
        local = tmp_path / "part.parquet"
        s3.download_file(BUCKET, key, str(local))
        manifest = json.load(
            s3.get_object(Bucket=BUCKET, Key=key.replace("part-0.parquet", "_manifest.json"))["Body"]
        )
        ((found,),) = duckdb.sql(f"SELECT count(*) FROM '{local}'").fetchall()
        assert (found, size) == (manifest["rows"], manifest["bytes"])
        rows += found
    assert rows == night["rows"] > 0
