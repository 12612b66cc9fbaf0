"""An audience from a real PostgreSQL server, read without bringing all of it into memory."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROWS = 1_000_000
# What a client-side cursor would take for the rows alone is several times this.
MOST_MIB = 250

MAKE = f"""
from airflow.providers.postgres.hooks.postgres import PostgresHook
PostgresHook("warehouse").run(
    "CREATE TABLE members AS SELECT gen_random_uuid() AS id, 's' || i % 3 AS segment_id"
    " FROM generate_series(1, {ROWS}) AS r(i)"
)
"""
READ = """
import csv, resource, sys, tempfile
from pathlib import Path
from airflow.providers.postgres.hooks.postgres import PostgresHook
from airflow_provider_journey.segments.audience import SqlAudience
from airflow_provider_journey.segments.sources import view_of_audience
from airflow_provider_journey.storage.database import open_database
with tempfile.TemporaryDirectory() as folder:
    with open_database(Path(folder), 100) as database:
        PostgresHook("warehouse").get_first("SELECT 1")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        audience = SqlAudience("warehouse", "SELECT id AS external_contact_id, segment_id FROM members")
        view_of_audience(database, audience, ["external_contact_id", "segment_id"], Path(folder))
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        rows = database.execute("SELECT count(*), count(DISTINCT external_contact_id), min(segment_id) FROM audience_rows")
        print(*rows.fetchall()[0], (after - before) // 1024)
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


def test_a_million_rows_pass_through_a_cursor_on_the_server(warehouse):
    connection = {"conn_type": "postgres", "host": str(warehouse), "login": "crm", "schema": "postgres"}
    environment = os.environ | {"AIRFLOW_CONN_WAREHOUSE": json.dumps(connection)}
    for program in (MAKE, READ):
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, check=True, stdout=subprocess.PIPE, text=True
        )
    rows, contacts, segment, grown_mib = done.stdout.split()[-4:]
    assert (int(rows), int(contacts), segment) == (ROWS, ROWS, "s0")
    assert int(grown_mib) < MOST_MIB
