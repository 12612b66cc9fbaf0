"""Contacts that were merged: one speaks for all of them, and what a ledger knows of the others is its.

A change that is sent to a merged contact reaches the one at the head of the merge. So a ledger that knows
both must not take the one away because an audience names the other.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# Merges of merges; more of them are found by the next plan.
_STEPS = 3
# The newest answer holds. One by which a contact spoke for itself, after it was said to be merged, ends the
# merge: so no two contacts stand for each other.
_MERGES = """
CREATE OR REPLACE TEMP TABLE merges AS
WITH said AS (
  SELECT unnest(merged_ids) AS merged_id, external_contact_id AS canonical_id, looked_up_at FROM answers
  WHERE outcome = 'found' AND len(merged_ids) > 0
), newest AS (
  SELECT merged_id, arg_max(canonical_id, looked_up_at) AS canonical_id, max(looked_up_at) AS said_at
  FROM said GROUP BY merged_id
), heads AS (
  SELECT external_contact_id AS id, max(looked_up_at) AS said_at FROM answers
  WHERE outcome = 'found' AND external_contact_id IN (SELECT merged_id FROM newest) GROUP BY ALL
)
SELECT merged_id, canonical_id FROM newest AS n LEFT JOIN heads AS h ON h.id = n.merged_id
WHERE h.said_at IS NULL OR h.said_at < n.said_at
"""
_ONWARD = """
UPDATE merges SET canonical_id = onward.canonical_id
FROM (SELECT merged_id, canonical_id FROM merges) AS onward WHERE merges.canonical_id = onward.merged_id
"""
_MOVED = """
CREATE OR REPLACE TEMP TABLE moved AS
FROM merges WHERE merged_id IN (
  SELECT external_contact_id FROM snapshot
  UNION ALL SELECT external_contact_id FROM overlay WHERE state IS NOT NULL
  UNION ALL SELECT external_contact_id FROM pending)
"""
# Whether the service hands a merged contact's assignments on is not known: what only the merged one had is in
# doubt for the one that is left, and so is sent again or taken away. In doubt is also what was taken from the
# merged one after the other was assigned: sent after the merge it has reached the other.
_JOINED = """
CREATE OR REPLACE TEMP TABLE joined AS
WITH known AS (
  FROM overlay UNION ALL BY NAME (FROM snapshot ANTI JOIN overlay USING (external_contact_id, segment_id))
), theirs AS (
  SELECT m.merged_id, m.canonical_id, k.*
  FROM known AS k JOIN moved AS m ON m.merged_id = k.external_contact_id
  WHERE k.state IS NOT NULL
)
SELECT canonical_id AS external_contact_id, t.segment_id,
  CASE WHEN any_value(c.state) = 'assigned' THEN CASE WHEN bool_or(t.state = 'unknown'
        OR t.state = 'unassigned' AND t.confirmed_at >= c.confirmed_at) THEN 'unknown' ELSE 'assigned' END
    WHEN any_value(c.state) = 'unknown' OR bool_or(t.state <> 'unassigned') THEN 'unknown'
    ELSE any_value(c.state) END AS state,
  coalesce(any_value(c.confirmed_at), max(t.confirmed_at)) AS confirmed_at,
  coalesce(any_value(c.plan_hash), max(t.plan_hash)) AS plan_hash, list(merged_id) AS merged_ids
FROM theirs AS t LEFT JOIN known AS c
  ON c.external_contact_id = t.canonical_id AND c.segment_id = t.segment_id AND c.state IS NOT NULL
GROUP BY canonical_id, t.segment_id
"""
_PUT = (
    # Without a state a row of the overlay takes a pair away.
    "CREATE OR REPLACE TEMP TABLE ending AS"
    " SELECT unnest(merged_ids) AS external_contact_id, segment_id FROM joined",
    "DELETE FROM overlay WHERE (external_contact_id, segment_id) IN"
    " (SELECT (external_contact_id, segment_id) FROM ending UNION ALL"
    " SELECT (external_contact_id, segment_id) FROM joined)",
    "INSERT INTO overlay BY NAME FROM ending",
    "INSERT INTO overlay BY NAME SELECT * EXCLUDE (merged_ids) FROM joined WHERE state IS NOT NULL",
    "CREATE OR REPLACE TEMP TABLE renamed AS"
    " SELECT p.* REPLACE (coalesce(m.canonical_id, p.external_contact_id) AS external_contact_id)"
    " FROM pending AS p LEFT JOIN moved AS m ON m.merged_id = p.external_contact_id"
    " QUALIFY row_number() OVER (PARTITION BY coalesce(m.canonical_id, p.external_contact_id), segment_id"
    " ORDER BY m.canonical_id IS NOT NULL, noted_at DESC) = 1",
    "DELETE FROM pending",
    "INSERT INTO pending BY NAME FROM renamed",
)


def find_merges(database: DuckDBPyConnection) -> None:
    """Make the table ``merges``, ``merged_id`` and ``canonical_id``, of the view ``answers``."""
    database.execute(_MERGES)
    for _ in range(_STEPS):
        database.execute(_ONWARD)


def move_known(database: DuckDBPyConnection) -> int:
    """Let the ledger's pairs of merged contacts be those of the ones that speak for them.

    Makes the table ``moved`` of those of ``merges`` that the ledger knows anything of.

    :param database: has a ledger's state, everything folded in, and ``merges``.
    :return: how many contacts were moved.
    """
    if not _count(database, "merges"):
        database.execute("CREATE OR REPLACE TEMP TABLE moved AS FROM merges")
        return 0
    database.execute(_MOVED)
    if count := _count(database, "moved"):
        _move(database)
    return count


def move_again(database: DuckDBPyConnection, file: Path) -> None:
    """Do what a plan has done by :func:`move_known`; doing it once more changes nothing.

    :param file: the local Parquet file with the plan's table ``moved``.
    """
    database.execute("CREATE OR REPLACE TEMP TABLE moved AS FROM read_parquet($1)", [str(file)])
    _move(database)


def _move(database: DuckDBPyConnection) -> None:
    database.execute(_JOINED)
    for statement in _PUT:
        database.execute(statement)


def _count(database: DuckDBPyConnection, table: str) -> int:
    return int(database.table(table).count("*").fetchall()[0][0])
