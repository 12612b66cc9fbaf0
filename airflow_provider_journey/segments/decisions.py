"""What is done about each pair that is not in order, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_journey.segments.progress import MOST_NAMED

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# The most segment changes that one call takes.
CHANGES_PER_CALL = 10
# Reasons of what an earlier run left open.
CARRIED = ("unknown", "refused_before", "unfinished")

_DECIDED = """
CREATE OR REPLACE TEMP TABLE decided AS
WITH read AS (
  SELECT f.contact, f.segment, f.said, bits & 64 > 0 AS pending, bits & 32 > 0 AS due,
    CASE bits & 3 WHEN 1 THEN 'assign' WHEN 2 THEN 'unassign' END AS says, bits & 3 = 3 AS contradicted,
    CASE WHEN bits & 4 > 0 THEN 'assigned' WHEN bits & 8 > 0 THEN 'unassigned'
      WHEN bits & 16 > 0 THEN 'unknown' END AS state,
    p.action AS open_action, p.outcome AS open_outcome, coalesce(p.refused, 0) AS refused,
    $mode = 'mirror' AND bits & 3 = 0 AND (f.segment IN (SELECT segment FROM held)
      OR (f.contact, f.segment) IN (SELECT (contact, segment) FROM spared)) AS spared
  FROM found AS f LEFT JOIN pending AS p
    ON p.external_contact_id = f.contact AND p.segment_id = CAST(f.segment AS VARCHAR)
  WHERE f.segment IS NOT NULL
), wished AS (
  SELECT *, CASE WHEN says IS NOT NULL THEN says
    WHEN $mode = 'mirror'
      THEN CASE WHEN state IN ('assigned', 'unknown') AND NOT spared THEN 'unassign' END
    WHEN open_action IS NOT NULL THEN open_action
    WHEN state = 'unknown' OR due THEN 'assign' END AS wish
  FROM read
), acted AS (
  SELECT *, CASE WHEN wish = 'assign' AND (state IS DISTINCT FROM 'assigned' OR due) THEN 'assign'
    WHEN wish = 'unassign' AND state IS DISTINCT FROM 'unassigned' THEN 'unassign' END AS action
  FROM wished
), weighed AS (
  SELECT *, coalesce(open_action = action AND refused >= $give_up_after, false) AS given_up,
    CASE WHEN state = 'unknown' THEN 'unknown'
      WHEN open_action = action AND refused > 0 THEN 'refused_before'
      WHEN open_action = action THEN 'unfinished'
      WHEN action = 'unassign' THEN 'left' WHEN state = 'assigned' THEN 'renew'
      WHEN state = 'unassigned' THEN 'returned' ELSE 'new' END AS reason
  FROM acted
)
SELECT contact, segment, said, says, contradicted, state, action, given_up, reason, spared,
  pending AND NOT spared AND NOT (action IS NOT NULL AND (NOT given_up
    OR says IS NOT NULL OR state IS NOT DISTINCT FROM 'unknown' OR $mode = 'mirror')) AS closed
FROM weighed
"""
# A contact's changes lie together, ten to a call; the numbers are dense and follow the sorted contacts.
_LINES = """
CREATE OR REPLACE TEMP TABLE lines AS
WITH numbered AS (
  SELECT contact, CAST(segment AS VARCHAR) AS segment, action, reason,
    row_number() OVER (PARTITION BY contact ORDER BY segment) - 1 AS place
  FROM decided WHERE action IS NOT NULL AND NOT given_up
)
SELECT sum(CASE WHEN place % $most = 0 THEN 1 ELSE 0 END)
    OVER (ORDER BY contact, segment ROWS UNBOUNDED PRECEDING)::BIGINT - 1 AS call,
  contact AS external_contact_id, segment AS segment_id, action, reason
FROM numbered
"""
_INVALID = """
CREATE OR REPLACE TEMP TABLE invalid AS
SELECT contact->>1 AS external_contact_id, contact->>2 AS segment_id, contact->>3 AS state,
  contact->>0 AS reason, said AS times, contact->>4 AS kind, contact->>5 AS identity,
  CAST(contact->>6 AS BIGINT) AS row
FROM found WHERE segment IS NULL
UNION ALL BY NAME SELECT contact AS external_contact_id, CAST(segment AS VARCHAR) AS segment_id,
  'both Assigned and Unassigned' AS reason, said AS times
FROM decided WHERE contradicted
UNION ALL BY NAME SELECT contact AS external_contact_id, CAST(segment AS VARCHAR) AS segment_id,
  CASE WHEN $mode = 'changes' THEN CASE says WHEN 'assign' THEN 'Assigned' ELSE 'Unassigned' END END AS state,
  'duplicate' AS reason, said - 1 AS times
FROM decided WHERE said > 1 AND NOT contradicted
UNION ALL BY NAME SELECT line AS external_contact_id, reason, 1 AS times, number AS row FROM unreadable
"""
_BY_SEGMENT = """
WITH members AS (
  SELECT segment_id, count(*) FILTER (WHERE state <> 'unassigned') AS members FROM pairs GROUP BY ALL
), bad AS (
  SELECT segment_id, sum(times) AS times FROM invalid WHERE reason NOT LIKE 'unreadable%' GROUP BY ALL
), acts AS (
  SELECT CAST(segment AS VARCHAR) AS segment_id,
    count(*) FILTER (WHERE sent AND action = 'assign' AND state IS DISTINCT FROM 'assigned') AS assign,
    count(*) FILTER (WHERE sent AND action = 'unassign') AS unassign,
    count(*) FILTER (WHERE sent AND action = 'unassign' AND state IN ('assigned', 'unknown'))
      AS unassign_members,
    count(*) FILTER (WHERE sent AND action = 'assign' AND state = 'assigned') AS renew,
    count(*) FILTER (WHERE says IS NOT NULL AND action IS NOT NULL) AS said,
    count(*) FILTER (WHERE action IS NOT NULL AND given_up) AS given_up
  FROM (SELECT *, action IS NOT NULL AND NOT given_up AS sent FROM decided) GROUP BY ALL
)
SELECT segment_id, coalesce(members, 0), coalesce(n.times, 0) - coalesce(bad.times, 0),
  coalesce(assign, 0), coalesce(unassign, 0), coalesce(unassign_members, 0), coalesce(renew, 0),
  coalesce(n.times, 0) - coalesce(bad.times, 0) - coalesce(said, 0), coalesce(given_up, 0)
FROM (SELECT unnest(enum_range(NULL::listed))::VARCHAR AS segment_id) AS listing
LEFT JOIN members USING (segment_id) LEFT JOIN bad USING (segment_id) LEFT JOIN acts USING (segment_id)
LEFT JOIN named AS n ON CAST(n.segment AS VARCHAR) = listing.segment_id
ORDER BY segment_id
"""
_SEGMENT_FIGURES = (
    "members", "pairs", "assign", "unassign", "unassign_members", "renew", "unchanged", "given_up",
)  # fmt: skip


def decide(database: DuckDBPyConnection, mode: str, give_up_after: int) -> None:
    """Make the tables ``lines``, the plan; ``invalid``, rows never sent; ``decided``, what both come from.

    Of a pair in order nothing is decided. What the audience says comes first. A pair that it does not name is
    taken away by a mirror, unless it may be of somebody who could not be found: one of a segment in ``held``,
    or one in ``spared``. In the other modes what an earlier run left open is sent again as it was wanted
    then. A pair in doubt is thus always sent, whatever the mode. Assignments that are due are renewed, named
    or not. What was refused ``give_up_after`` runs in a row is left alone until the audience says otherwise;
    in ``changes`` and ``upsert``, where an audience need not repeat itself, not naming it any more ends it.

    Reasons: ``new``, ``returned`` (it had been taken away), ``left`` (it is to be taken away), ``renew``, and
    those of what was left open: ``unknown``, ``refused_before``, ``unfinished``.

    :param mode: one of :data:`~airflow_provider_journey.segments.audience.MODES`.
    :param give_up_after: how many refusals in a row are enough.
    """
    database.execute(_DECIDED, {"mode": mode, "give_up_after": give_up_after})
    database.execute(_LINES, {"most": CHANGES_PER_CALL})
    database.execute(_INVALID, {"mode": mode})


def count(database: DuckDBPyConnection, segment_ids: list[str]) -> dict[str, Any]:
    """Return the figures of the plan in ``database``, named as a plan's summary names them."""
    rows = database.execute(_BY_SEGMENT).fetchall()
    segments = {row[0]: dict(zip(_SEGMENT_FIGURES, row[1:], strict=True)) for row in rows}
    names = ("pairs", "assign", "unassign", "renew", "unchanged", "given_up")
    figures: dict[str, Any] = {name: sum(each[name] for each in segments.values()) for name in names}
    figures["segments"] = segments
    figures["reasons"] = dict(
        database.execute("SELECT reason, count(*) FROM lines GROUP BY ALL ORDER BY ALL").fetchall()
    )
    figures["carried_forward"] = sum(figures["reasons"].get(reason, 0) for reason in CARRIED)
    figures["unknown"] = figures["reasons"].get("unknown", 0)
    one = {
        "calls": "SELECT coalesce(max(call) + 1, 0) FROM lines",
        "invalid": "SELECT coalesce(sum(times), 0)::BIGINT FROM invalid WHERE reason <> 'duplicate'",
        "duplicates": "SELECT coalesce(sum(times), 0)::BIGINT FROM invalid WHERE reason = 'duplicate'",
        "held_back": "SELECT count(*) FROM decided WHERE spared AND state IN ('assigned', 'unknown')",
        "rows": "SELECT coalesce(sum(times), 0)::BIGINT + (SELECT count(*) FROM unreadable) FROM named",
    }
    for name, query in one.items():
        figures[name] = database.execute(query).fetchall()[0][0]
    [[figures["untouched"]]] = database.execute(
        "SELECT count(*) FROM pairs WHERE NOT list_contains(?, segment_id)", [segment_ids]
    ).fetchall()
    return figures


def offenders(database: DuckDBPyConnection, most: int = MOST_NAMED) -> str:
    """Return how many rows are invalid for which reason, and at most ``most`` of them; empty for none."""
    reasons = database.execute(
        "SELECT reason, sum(times)::BIGINT FROM invalid WHERE reason <> 'duplicate'"
        " GROUP BY ALL ORDER BY 2 DESC, 1"
    ).fetchall()
    if not reasons:
        return ""
    examples = database.execute(
        "SELECT external_contact_id, segment_id, row FROM invalid WHERE reason <> 'duplicate'"
        " ORDER BY external_contact_id, row, segment_id LIMIT ?",
        [most],
    ).fetchall()
    listed = "; ".join(
        f"{_short(contact) if contact or row is None else f'row {row}'} in {_short(segment)}"
        for contact, segment, row in examples
    )
    return ", ".join(f"{times:,} times {reason}" for reason, times in reasons) + f". Among them: {listed}"


def _short(text: str | None) -> str:
    return "(none)" if text is None else repr(text[:60])
