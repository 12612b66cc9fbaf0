"""An audience from a real PostgreSQL server, which keeps the rows until they are asked for."""

from __future__ import annotations

import json

import pytest

from airflow_provider_journey.segments.audience import SqlAudience
from airflow_provider_journey.segments.ledger import Ledger
from airflow_provider_journey.segments.plan import PlanRequest, make_plan
from tests.services.postgres import running_postgres

ROWS = 50_000
# What the server says of its cursors while it is read becomes the name of the segment.
QUERY = f"""
SELECT gen_random_uuid() AS external_contact_id, (SELECT max(name) FROM pg_cursors) AS segment_id
FROM generate_series(1, {ROWS})
"""


@pytest.fixture(scope="module")
def warehouse():
    """A server of its own, reached by a socket in its own folder."""
    with running_postgres("crm") as folder:
        yield folder


def test_rows_come_through_a_cursor_on_the_server(warehouse, monkeypatch, tmp_path):
    connection = {"conn_type": "postgres", "host": str(warehouse), "login": "crm", "schema": "postgres"}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))
    ledger = Ledger.at(str(tmp_path / "ledger"))
    request = PlanRequest(["journey_audience", "another"], "mirror")
    summary = make_plan(ledger, "night", SqlAudience("warehouse", QUERY), request).summary
    assert (summary.rows, summary.invalid, summary.calls) == (ROWS, 0, ROWS)
    assert summary.segments["journey_audience"]["assign"] == ROWS
