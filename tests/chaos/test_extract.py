"""Extracts under a misbehaving service and under ``kill -9``: never short, doubled or half."""

import random
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from airflow_provider_journey.aggregates.extract import extract_to_files
from tests.chaos import extracting

SCRIPT = Path(extracting.__file__)
ROOT = SCRIPT.parents[2]


def files(lake):
    return {
        str(file.relative_to(lake)): file.read_bytes() for file in sorted(lake.rglob("*")) if file.is_file()
    }


def connection(emulator):
    return emulator.base_url, emulator.client_id, emulator.client_secret


@pytest.fixture
def reference(journey_emulator, tmp_path):
    lake = tmp_path / "reference"
    own = extracting.client(*connection(journey_emulator))
    extract_to_files(own, extracting.extract(lake), lambda line: None)
    own.close()
    written = files(lake)
    assert sum(name.endswith("part-0.parquet") for name in written) == 10
    assert duckdb.sql(f"SELECT count(*) > 100 FROM '{lake}/*/part-0.parquet'").fetchall() == [(True,)]
    return written


def test_a_service_that_misbehaves_gives_the_same_files(journey_emulator, reference, tmp_path):
    # A bucket a request, so that there are many; every fault that a try can heal, at once.
    journey_emulator.limits(max_buckets=24)
    shares = {
        "503": 0.05,
        "429": 0.03,
        "reset-before": 0.04,
        "reset-after": 0.04,
        "truncated": 0.04,
        "502-html": 0.03,
    }
    journey_emulator.faults(**shares)
    journey_emulator.reset_calls()
    own = extracting.client(*connection(journey_emulator), max_retries=9)
    lake = tmp_path / "lake"
    for _ in range(3):
        extract_to_files(own, extracting.extract(lake), lambda line: None)
    own.close()
    assert files(lake) == reference
    assert sum(own.statistics.errors.values()) >= 5, "the service did misbehave"


def test_killed_at_any_moment_every_file_is_whole(journey_emulator, reference, tmp_path):
    lake = tmp_path / "lake"
    dice = random.Random(20261123)
    whole = 0
    for _ in range(20):
        command = [sys.executable, str(SCRIPT), *connection(journey_emulator), str(lake), "1000"]
        with subprocess.Popen(
            command, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": ""}, stdout=subprocess.PIPE
        ) as victim:
            # Aimed at the publishing: after so many lines of progress, and a moment.
            for _ in range(dice.randint(1, 30)):
                assert victim.stdout.readline()
            time.sleep(dice.uniform(0.0, 0.004))
            victim.kill()
        for name, content in files(lake).items():
            hidden = Path(name).name.startswith(".")
            assert hidden or content == reference[name], f"{name} is neither the old file nor the new one"
            whole += not hidden
    assert whole > 20, "some of the twenty had published something"
    own = extracting.client(*connection(journey_emulator))
    extract_to_files(own, extracting.extract(lake), lambda line: None)
    own.close()
    shown = {name: content for name, content in files(lake).items() if not Path(name).name.startswith(".")}
    assert shown == reference
