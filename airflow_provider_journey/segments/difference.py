"""The difference between audience and ledger, in one pass over both.

Rows of either are reduced to contact, segment and a few bits, and grouped: a pair whose bits say that it is
in order, as nearly all do, leaves nothing behind. That costs about as much as the two anti-joins, finds
duplicates and contradictions on the way, and goes to disk when it must.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow_provider_journey.api.endpoints import NO_IDS
from airflow_provider_journey.storage.database import literal

if TYPE_CHECKING:
    from datetime import datetime

    from duckdb import DuckDBPyConnection

# What an id is made of. It goes into a URL's path, so this is generous; the service's own are UUIDs.
_ID = "[A-Za-z0-9._:@+~=-]{1,128}"
_SPACE = " \t\r\n\u00a0\ufeff"
# An e-mail address or a phone number in the place of an id; neither is kept anywhere. Digits alone may be a
# contact's id, but no segment's and no state.
_PERSONAL = "@|^\\+[0-9 ()./-]{6,}$|^[0-9 ()./+\u00a0-]*[ ()/\u00a0][0-9 ()./+\u00a0-]{4,}$"
_DIGITS = "|^[0-9]{6,}$"
_IS_PERSONAL = "external_contact_id is an e-mail address or a phone number"
# Bits: what the audience says, what the ledger says, and what else there is to know of a pair.
_ASSIGN, _UNASSIGN, _ASSIGNED, _UNASSIGNED, _UNKNOWN, _DUE, _PENDING, _INVALID = (
    1 << bit for bit in range(8)
)
# Rows of audience and ledger together that are grouped in one go; of more, a part of the contacts at a time.
# A grouping goes to disk, but the memory for that grows with it, too.
ROWS_AT_ONCE = 25_000_000
# Bits of pairs that need nothing, by mode.
_QUIET = {
    "mirror": (_ASSIGN | _ASSIGNED, _UNASSIGNED),
    "upsert": (_ASSIGN | _ASSIGNED, _ASSIGNED, _UNASSIGNED),
    "changes": (_ASSIGN | _ASSIGNED, _UNASSIGN | _UNASSIGNED, _ASSIGNED, _UNASSIGNED),
}

# What is wrong with a row whoever it is about, in the order in which it is said.
WRONG_PAIR = """
  WHEN segment_text IS NULL OR segment_text = '' THEN 'segment_id is missing'
  WHEN TRY_CAST(segment_text AS listed) IS NULL THEN 'segment_id is not one of those listed'
  WHEN says IS NULL THEN 'state is neither Assigned nor Unassigned'
"""
_CLEANED = """
CREATE OR REPLACE TEMP VIEW cleaned AS
WITH trimmed AS (
  SELECT CASE WHEN regexp_full_match(external_contact_id, getvariable('id')) THEN external_contact_id
      ELSE trim(external_contact_id, getvariable('space')) END AS contact,
    {segment} AS segment_text, state AS state_text, {says} AS says, reason AS given, kind, identity, row
  FROM asked_rows
), judged AS (
  SELECT *, TRY_CAST(segment_text AS listed) AS segment,
    CASE WHEN given IS NOT NULL THEN given
      WHEN contact IS NULL OR contact = '' THEN 'external_contact_id is missing'
      WHEN regexp_matches(contact, getvariable('personal')) THEN '{personal}'
      WHEN NOT regexp_full_match(contact, getvariable('id')) OR contact IN ({no_ids})
        THEN 'external_contact_id is no id'
      {wrong} END AS reason
  FROM trimmed
)
SELECT CASE WHEN reason IS NULL THEN contact
    ELSE to_json([reason, CASE WHEN reason <> '{personal}' THEN contact END,
      CASE WHEN NOT regexp_matches(segment_text, getvariable('misplaced')) THEN segment_text END,
      CASE WHEN NOT regexp_matches(state_text, getvariable('misplaced')) THEN state_text END, kind,
      identity, CAST(row AS VARCHAR)])::VARCHAR END AS contact,
  CASE WHEN reason IS NULL THEN segment END AS segment,
  CASE WHEN reason IS NULL THEN says ELSE getvariable('invalid') END AS bits, 1::UTINYINT AS said
FROM judged
"""
_KNOWN = """
CREATE OR REPLACE TEMP VIEW known_pairs AS
SELECT external_contact_id AS contact, TRY_CAST(segment_id AS listed) AS segment,
  (CASE state WHEN 'assigned'
      THEN CASE WHEN confirmed_at <= getvariable('due') THEN getvariable('assigned_due')
        ELSE getvariable('assigned') END
    WHEN 'unassigned' THEN getvariable('unassigned') ELSE getvariable('unknown') END)::UTINYINT AS bits,
  0::UTINYINT AS said
FROM pairs WHERE TRY_CAST(segment_id AS listed) IS NOT NULL
"""
_FOUND = """
SELECT contact, segment, bit_or(bits) AS bits, sum(said)::BIGINT AS said
FROM (
  SELECT * FROM cleaned UNION ALL SELECT * FROM known_pairs
  UNION ALL SELECT external_contact_id, TRY_CAST(segment_id AS listed), getvariable('pending'), 0::UTINYINT
    FROM pending WHERE TRY_CAST(segment_id AS listed) IS NOT NULL
)
WHERE hash(contact) % getvariable('parts') = getvariable('part')
GROUP BY contact, segment
HAVING sum(said) > 1 OR NOT list_contains(getvariable('quiet'), bit_or(bits))
"""

_NAMED = """
CREATE OR REPLACE TEMP TABLE named AS
SELECT TRY_CAST({segment} AS listed) AS segment, count(*) AS times FROM asked_rows GROUP BY ALL
"""


def define_segments(database: DuckDBPyConnection, segment_ids: Sequence[str]) -> None:
    """Make the type ``listed``, the segments that a plan is about, and the variable ``space``.

    :param segment_ids: the segments' ids.
    """
    database.execute(f"CREATE TYPE listed AS ENUM ({', '.join(map(literal, sorted(segment_ids)))})")
    database.execute(f"SET VARIABLE space = {literal(_SPACE)}")


def find_differences(
    database: DuckDBPyConnection,
    segment_ids: Sequence[str],
    mode: str,
    due_before: datetime | None,
) -> None:
    """Make the table ``found``: what is not in order, of the views ``asked_rows`` and ``pairs``.

    Its columns: ``contact``; ``segment``, one of the type ``listed``; ``bits``; and
    ``said``, how many rows of the audience name the pair. A row without a segment is invalid; its contact is
    then a JSON list of reason, contact, segment, state, and what the row knows a person by: kind, identity
    and its number. The table ``named`` counts the audience's rows by segment.

    :param segment_ids: the segments it is about; ledger pairs of others are left out.
    :param mode: one of :data:`~airflow_provider_journey.segments.audience.MODES`.
    :param due_before: assignments confirmed at this moment or earlier are to be renewed.
    """
    execute = database.execute
    bits = {
        "invalid": _INVALID,
        "assigned": _ASSIGNED,
        "assigned_due": _ASSIGNED | _DUE,
        "unassigned": _UNASSIGNED,
        "unknown": _UNKNOWN,
        "pending": _PENDING,
    }
    for name, value in bits.items():
        execute(f"SET VARIABLE {name} = {value}::UTINYINT")
    execute(f"SET VARIABLE quiet = {list(_QUIET[mode])}::UTINYINT[]")
    execute(f"SET VARIABLE id = {literal(_ID)}")
    execute(f"SET VARIABLE personal = {literal(_PERSONAL)}")
    execute(f"SET VARIABLE misplaced = {literal(_PERSONAL + _DIGITS)}")
    due = literal(due_before.isoformat()) if due_before else "NULL"
    execute(f"SET VARIABLE due = CAST({due} AS TIMESTAMPTZ)")
    row = {"segment": segment_of(segment_ids), "says": says_of(mode)}
    no_ids = ", ".join(map(literal, NO_IDS))
    execute(_CLEANED.format(**row, personal=_IS_PERSONAL, no_ids=no_ids, wrong=WRONG_PAIR))
    execute(_KNOWN)
    execute(_NAMED.format(segment=segment_of(segment_ids)))
    [(rows,)] = execute(
        "SELECT coalesce(sum(times), 0)::BIGINT + (SELECT count(*) FROM snapshot) FROM named"
    ).fetchall()
    # Where rows come out in the order they went in, a grouping holds more of them in memory.
    execute("SET preserve_insertion_order = false")
    parts = max(1, math.ceil(rows / ROWS_AT_ONCE))
    execute(f"SET VARIABLE parts = {parts}::UBIGINT")
    for part in range(parts):
        execute(f"SET VARIABLE part = {part}::UBIGINT")
        execute(f"INSERT INTO found {_FOUND}" if part else f"CREATE OR REPLACE TEMP TABLE found AS {_FOUND}")
    execute("SET preserve_insertion_order = true")


def segment_of(segment_ids: Sequence[str]) -> str:
    """Return the expression for a row's segment: with one segment listed a row need not name it."""
    trimmed = "trim(segment_id, getvariable('space'))"
    return f"coalesce({trimmed}, {literal(segment_ids[0])})" if len(segment_ids) == 1 else trimmed


def says_of(mode: str) -> str:
    """Return the expression for what a row says: the mode says it, but for ``changes``."""
    if mode != "changes":
        return f"{_ASSIGN}::UTINYINT"
    state = "lower(trim(state, getvariable('space')))"
    return f"(CASE {state} WHEN 'assigned' THEN {_ASSIGN} WHEN 'unassigned' THEN {_UNASSIGN} END)::UTINYINT"
