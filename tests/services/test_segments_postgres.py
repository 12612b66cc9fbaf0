"""An audience from a real PostgreSQL server, which keeps the rows until they are asked for."""

from __future__ import annotations

import json

from airflow_provider_journey.segments.audience import SqlAudience
from airflow_provider_journey.segments.ledger import Ledger
from airflow_provider_journey.segments.plan import PlanRequest, make_plan
from tests.postgres import connection

ROWS = 50_000
# What the server says of its cursors while it is read becomes the name of the segment.
QUERY = f"""
SELECT gen_random_uuid() AS external_contact_id, (SELECT max(name) FROM pg_cursors) AS segment_id
FROM generate_series(1, {ROWS})
"""


def test_rows_come_through_a_cursor_on_the_server(warehouse, monkeypatch, tmp_path):
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection(warehouse)))
    ledger = Ledger.at(str(tmp_path / "ledger"))
    request = PlanRequest(["journey_audience", "another"], "mirror")
    summary = make_plan(ledger, "night", SqlAudience("warehouse", QUERY), request).summary
    assert (summary.rows, summary.invalid, summary.calls) == (ROWS, 0, ROWS)
    assert summary.segments["journey_audience"]["assign"] == ROWS
