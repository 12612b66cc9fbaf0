"""The command line: what it prints, how it ends, how fast it is there."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from http.client import HTTPConnection
from urllib.parse import urlencode

import psutil
import pytest

from airflow_provider_journey.emulator.__main__ import main
from airflow_provider_journey.emulator.options import ClientSpec, parse_client, parse_faults

COMMAND = [sys.executable, "-m", "airflow_provider_journey.emulator", "--port", "0"]


@contextmanager
def _running(*arguments):
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process, [process.stdout.readline().rstrip("\n") for _ in range(8)]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_where_it_is_and_ends_cleanly(number):
    with _running("--contacts", "10", "--events", "300") as (process, lines):
        address = lines[0].split()[-1]
        about = json.load(urllib.request.urlopen(f"{address}/emulator", timeout=10))
        process.send_signal(number)
        more, complaints = process.communicate(timeout=10)
    assert process.returncode == 0
    assert (more, complaints) == ("", "")
    assert f"AIRFLOW_CONN_JOURNEY_DEFAULT={about['connection_uri']}" in lines
    assert all(f"{name}={value}" in lines for name, value in about["examples"].items())
    assert set(about["examples"]) == {
        "external_contact_id", "segment_id", "session_id", "customer_id_type", "customer_id", "action_target_id",
    }  # fmt: skip


def test_the_uri_is_what_airflow_reads():
    from airflow.sdk import Connection

    with _running("--contacts", "10", "--events", "0") as (_, lines):
        address = lines[0].split()[-1]
        about = json.load(urllib.request.urlopen(f"{address}/emulator", timeout=10))
    connection = Connection.from_uri(about["connection_uri"], conn_id="journey_default")
    assert (connection.conn_type, connection.host) == ("journey", address)
    assert (connection.login, connection.password) == (about["client_id"], about["client_secret"])


def test_a_taken_port_is_one_plain_line(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["--port", str(port)]) == 2
    complaint = capsys.readouterr().err
    assert complaint == f"cannot listen on 127.0.0.1:{port}: Address already in use\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--faults", "earthquake=0.1"], "'earthquake' is no fault"),
        (["--faults", "500"], "error: a fault is NAME=SHARE, not '500'"),
        (
            ["--client", "only-an-id"],
            "error: a client is ID:SECRET[:permission,permission], not 'only-an-id'",
        ),
        (["--contacts", "0"], "contacts must be at least 1"),
        (["--faults", "500=3"], "between 0 and 1"),
        (["--surface", "elsewhere"], "invalid choice: 'elsewhere'"),
        (["--port", "65536"], "port must lie between 0 and 65535"),
        (["--window", "nan"], "must be positive"),
        (["--latency-ms", "inf"], "must not be negative"),
    ],
)
def test_a_bad_switch_is_refused_in_words(arguments, complaint, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--port", "0", *arguments])
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


def test_clients_and_faults_are_read():
    assert parse_client("a:b") == ClientSpec("a", "b")
    assert parse_client("a:b:journey:x:view, y:z") == ClientSpec("a", "b", ("journey:x:view", "y:z"))
    assert parse_faults("500=0.1, reset-after=0.02") == {"500": 0.1, "reset-after": 0.02}
    assert parse_faults("") == {}


def test_it_shares_nothing_with_the_client_it_judges():
    script = (
        "import sys, airflow_provider_journey.emulator.fixtures\n"
        "assert not {'aiohttp', 'duckdb'} & sys.modules.keys()\n"
        "import airflow_provider_journey.emulator.server\n"
        "ours = {name for name in sys.modules if name.startswith('airflow')}\n"
        "print(sorted(n for n in ours if not (n + '.').startswith('airflow_provider_journey.emulator.')))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "['airflow_provider_journey']"


def test_a_hundred_thousand_contacts_and_a_million_events_within_ten_seconds():
    with _running("--contacts", "100000", "--events", "1000000") as (process, lines):
        # Of the process itself: what else the machine does is not the emulator's.
        took = psutil.Process(process.pid).cpu_times()
        about = json.load(urllib.request.urlopen(f"{lines[0].split()[-1]}/emulator", timeout=10))
    assert about["contacts"] == 100_000
    assert took.user + took.system < 10


def test_a_core_serves_a_thousand_segment_posts_a_second():
    with _running("--rate-limit", "1000000", "--events", "0") as (process, lines):
        about = json.load(urllib.request.urlopen(f"{lines[0].split()[-1]}/emulator", timeout=10))
        address, examples = about["base_url"].partition("//")[2], about["examples"]
        form = urlencode(
            {"grant_type": "client_credentials"} | {k: about[k] for k in ("client_id", "client_secret")}
        )
        connection = HTTPConnection(address, timeout=10)
        connection.request(
            "POST", "/oauth/token", form, {"Content-Type": "application/x-www-form-urlencoded"}
        )
        token = json.load(connection.getresponse())["access_token"]
        path = f"/api/v2/journey/externalcontacts/{examples['external_contact_id']}/segments"
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        bodies = [
            json.dumps([{"segmentId": examples["segment_id"], "state": s}])
            for s in ("Assigned", "Unassigned")
        ]
        before = psutil.Process(process.pid).cpu_times()
        for k in range(1500):
            connection.request("POST", path, bodies[k % 2], headers)
            response = connection.getresponse()
            response.read()
            assert response.status == 204
        after = psutil.Process(process.pid).cpu_times()
    seconds = after.user + after.system - before.user - before.system
    assert 1500 / seconds > 1000
