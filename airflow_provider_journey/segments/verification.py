"""The hash of a plan: what was approved is what is applied."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_journey.segments.errors import PlanMismatchError
from airflow_provider_journey.segments.runs import Run
from airflow_provider_journey.segments.summary import PlanSummary

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# Calls whose lines are hashed together; the hash of the plan is over those hashes, in order.
_TOGETHER = 1000
_DIGESTS = """
SELECT sha256(string_agg(to_json([CAST(call AS VARCHAR), external_contact_id, segment_id, action, reason]),
  chr(10) ORDER BY call, external_contact_id, segment_id, action, reason))
FROM read_parquet($file) GROUP BY call // $together ORDER BY call // $together
"""


def plan_hash(
    database: DuckDBPyConnection, file: Path, mode: str, segment_ids: Sequence[str], base: int
) -> str:
    """Return the hash over all lines of a plan and what it was made for.

    It depends on the lines' content alone: not on their order in the file, the machine or its threads.

    :param file: the plan's Parquet file.
    :param base: the ledger's version the plan was made from.
    :return: SHA-256 in hexadecimal.
    """
    whole = hashlib.sha256(json.dumps([mode, sorted(segment_ids), base]).encode())
    rows = database.execute(_DIGESTS, {"file": str(file), "together": _TOGETHER})
    while batch := rows.fetchmany(1000):
        for (digest,) in batch:
            whole.update(digest.encode())
    return whole.hexdigest()


def verify_plan(database: DuckDBPyConnection, run: Run, expected: str, directory: Path) -> PlanSummary:
    """Return the summary of a run's plan after checking that its lines are the ones that were planned.

    :param expected: the hash that was planned, or approved.
    :param directory: local folder for what is fetched.
    :raises PlanMismatchError: there is no such plan, or its lines, mode, segments or base are others.
    """
    try:
        summary = PlanSummary.from_dict(run.store.read_json(run.summary))
        [file] = run.store.fetch([run.plan], directory)
    except FileNotFoundError:
        raise PlanMismatchError(f"there is no plan in {run.store.root / run.file('')}") from None
    found = plan_hash(database, file, summary.mode, summary.segment_ids, summary.base)
    if found != expected:
        raise PlanMismatchError(
            f"the plan in {run.store.root / run.plan} has the hash {found[:12]}…, not {expected[:12]}…: "
            "it is not the one that was made, or approved. Make a new plan."
        )
    return summary
