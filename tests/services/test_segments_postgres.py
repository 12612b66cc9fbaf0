"""An audience from a real PostgreSQL server, which keeps the rows until they are asked for."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from airflow_provider_journey.segments.audience import SqlAudience
from airflow_provider_journey.segments.ledger import Ledger
from airflow_provider_journey.segments.plan import PlanRequest, make_plan

ROWS = 50_000
# What the server says of its cursors while it is read becomes the name of the segment.
QUERY = f"""
SELECT gen_random_uuid() AS external_contact_id, (SELECT max(name) FROM pg_cursors) AS segment_id
FROM generate_series(1, {ROWS})
"""


@pytest.fixture(scope="module")
def warehouse():
    """A server of its own, reached by a socket in its own folder."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    path = os.pathsep.join([*map(str, reversed(binaries)), os.environ.get("PATH", "")])
    initdb, server = shutil.which("initdb", path=path), shutil.which("postgres", path=path)
    assert initdb, "PostgreSQL's server is wanted: install the package postgresql"
    assert server
    # Short: a socket's path has at most 107 bytes. The server refuses to run as root.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    user = "nobody" if os.geteuid() == 0 else None
    if user:
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
    data = folder / "data"
    subprocess.run(
        [initdb, "-D", data, "-U", "crm", "-A", "trust", "-N"],
        check=True,
        user=user,
        stdout=subprocess.DEVNULL,
        cwd=folder,
    )
    process = subprocess.Popen(
        [server, "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"],
        user=user, stderr=subprocess.PIPE, text=True, cwd=folder,
    )  # fmt: skip
    assert process.stderr
    for line in process.stderr:
        if "ready to accept connections" in line:
            break
    yield folder
    process.terminate()
    process.wait(20)
    process.stderr.close()
    shutil.rmtree(folder)


def test_rows_come_through_a_cursor_on_the_server(warehouse, monkeypatch, tmp_path):
    connection = {"conn_type": "postgres", "host": str(warehouse), "login": "crm", "schema": "postgres"}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))
    ledger = Ledger.at(str(tmp_path / "ledger"))
    request = PlanRequest(["journey_audience", "another"], "mirror")
    summary = make_plan(ledger, "night", SqlAudience("warehouse", QUERY), request).summary
    assert (summary.rows, summary.invalid, summary.calls) == (ROWS, 0, ROWS)
    assert summary.segments["journey_audience"]["assign"] == ROWS
