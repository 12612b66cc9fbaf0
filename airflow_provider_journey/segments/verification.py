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

# Ids hold no control characters, so that nothing but the same lines gives the same text.
_LINES = (
    "SELECT concat_ws(chr(31), call, external_contact_id, segment_id, action, reason) FROM read_parquet(?)"
)
_BATCH = 50_000


def plan_hash(
    database: DuckDBPyConnection, file: Path, mode: str, segment_ids: Sequence[str], base: int
) -> str:
    """Return the hash over all lines of a plan, in their order, and what it was made for.

    A plan's lines are sorted, so machine and threads make no difference.

    :param file: the plan's Parquet file.
    :param base: the ledger's version the plan was made from.
    :return: SHA-256 in hexadecimal.
    """
    whole = hashlib.sha256(json.dumps([mode, sorted(segment_ids), base]).encode())
    rows = database.execute(_LINES, [str(file)])
    while batch := rows.fetchmany(_BATCH):
        whole.update("\n".join(line for (line,) in batch).encode() + b"\n")
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
