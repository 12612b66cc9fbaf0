"""What one small call costs the client in CPU, beside a bare loop over ``requests.Session``."""

import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import requests

from airflow_provider_journey.hooks.journey import JourneyHook
from tests.benchmarks.harness import Figure

LIMIT = 1.3
_CALLS = 1000
_ROUNDS = 5
_EMPTY = {"interval": "2019-03-01T00:00:00Z/2019-03-02T00:00:00Z", "metrics": ["nJourneySessions"]}


@contextmanager
def emulator(*switches: str):
    """Run an emulator without a rate limit as a process of its own, so that its CPU is not counted."""
    command = [
        sys.executable,
        "-m",
        "airflow_provider_journey.emulator",
        "--port",
        "0",
        "--rate-limit",
        "0",
        *switches,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            base_url = next(
                word.rstrip("/,.")
                for line in process.stdout
                for word in line.split()
                if word.startswith("http://")
            )
            with urllib.request.urlopen(f"{base_url}/emulator", timeout=30) as answer:
                yield json.load(answer)
        finally:
            process.terminate()


def _bare(info) -> float:
    base = info["base_url"]
    with requests.Session() as session:
        answer = session.post(
            f"{base}/oauth/token",
            data={"grant_type": "client_credentials"},
            auth=(info["client_id"], info["client_secret"]),
            timeout=30,
        )
        session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        url = f"{base}/api/v2/analytics/journeys/aggregates/query"
        before = time.process_time()
        for _ in range(_CALLS):
            answer = session.post(url, json=_EMPTY, timeout=30)
            answer.raise_for_status()
            answer.json()
        return (time.process_time() - before) / _CALLS


def _ours() -> float:
    with JourneyHook("journey_benchmark") as hook:
        hook.query_aggregates(_EMPTY)
        before = time.process_time()
        for _ in range(_CALLS):
            hook.query_aggregates(_EMPTY)
        return (time.process_time() - before) / _CALLS


def main() -> list[Figure]:
    """Measure both in turn, in this process, against one emulator."""
    with emulator() as info:
        os.environ["AIRFLOW_CONN_JOURNEY_BENCHMARK"] = json.dumps(
            {
                "conn_type": "journey",
                "login": info["client_id"],
                "password": info["client_secret"],
                "host": info["base_url"],
            }
        )
        pairs = [(_bare(info), _ours()) for _ in range(_ROUNDS)]
    bare, ours = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(own / other for other, own in pairs)
    return [
        Figure(
            "CPU of a query_aggregates call over a bare requests.Session's",
            ratio,
            "x",
            limit=f"<= {LIMIT:g}",
            ok=ratio <= LIMIT,
            note=f"{ours * 1e6:.0f} us beside {bare * 1e6:.0f} us, {_CALLS} calls, median of {_ROUNDS}",
        )
    ]
