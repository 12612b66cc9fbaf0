"""What a journal says of each planned change, once kills, retries and partial answers are thought through."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_journey.segments.journal import block_size
from airflow_provider_journey.segments.runs import Run
from airflow_provider_journey.storage.database import literal, quoted

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_LINE = {
    "epoch": "INTEGER",
    "n": "BIGINT",
    "call": "BIGINT",
    "outcome": "VARCHAR",
    "segment_ids": "VARCHAR[]",
    "status": "INTEGER",
    "code": "VARCHAR",
    "correlation_id": "VARCHAR",
    "attempts": "INTEGER",
    "noted_at": "TIMESTAMPTZ",
}

# Nearly all calls are claimed once and have one line, about all of their changes: what it says is what there
# is to say. The rest is thought through below.
_PLAIN = """
CREATE OR REPLACE TEMP TABLE plain AS
FROM lines SEMI JOIN (
  SELECT call FROM lines GROUP BY call HAVING count(*) = 1 AND bool_and(segment_ids IS NULL)
) USING (call)
WHERE call // $block NOT IN (SELECT block FROM claimed WHERE since > 0)
"""
_SETTLED = """
CREATE OR REPLACE TEMP TABLE settled AS
SELECT p.call, p.external_contact_id, p.segment_id, p.action,
  CASE l.outcome WHEN 'released' THEN 'unsent' ELSE l.outcome END AS outcome,
  l.outcome = 'unknown' AS uncertain, l.status, l.code, l.correlation_id, l.attempts, l.noted_at
FROM plan AS p JOIN plain AS l USING (call)
"""
# An interval of a claim runs from the epoch in which a writer took a block to the next in which one did.
# Within it a change was answered, or released unsent, or else may have been sent: unknown. What came to a
# final outcome, done or rejected, was not sent in later intervals. A change that is ever left unknown stays
# uncertain until it is done: a refusal later on says nothing about the earlier try.
_OTHERS = """
INSERT INTO settled BY NAME
WITH rest AS (
  FROM plan ANTI JOIN plain USING (call)
), spans AS (
  SELECT block, since, lead(since, 1, 2147483647) OVER (PARTITION BY block ORDER BY since) AS until
  FROM (SELECT DISTINCT block, since FROM claimed)
), tries AS (
  SELECT p.call, p.segment_id, s.since,
    bool_or(l.outcome = 'done') AS done, bool_or(l.outcome = 'unknown') AS unknown,
    arg_max(l, (l.epoch, l.n)) FILTER (WHERE l.outcome IS NOT NULL) AS last
  FROM spans AS s JOIN rest AS p ON p.call // $block = s.block
  LEFT JOIN lines AS l ON l.call = p.call AND l.epoch >= s.since AND l.epoch < s.until
    AND (l.segment_ids IS NULL OR list_contains(l.segment_ids, p.segment_id))
  GROUP BY ALL
), ends AS (
  SELECT *, min(since) FILTER (WHERE done OR last.outcome = 'rejected')
    OVER (PARTITION BY call, segment_id) AS final
  FROM tries
), counted AS (
  SELECT call, segment_id, coalesce(bool_or(done), false) AS done,
    coalesce(bool_or(unknown OR last IS NULL), false) AS doubt, max_by(last, since) AS last
  FROM ends WHERE final IS NULL OR since <= final GROUP BY ALL
)
SELECT p.call, p.external_contact_id, p.segment_id, p.action,
  CASE WHEN c.done THEN 'done' WHEN c.last.outcome = 'rejected' THEN 'rejected' WHEN c.doubt THEN 'unknown'
    WHEN c.last.outcome IN ('unprocessed', 'failed') THEN c.last.outcome ELSE 'unsent' END AS outcome,
  coalesce(c.doubt AND NOT c.done, false) AS uncertain,
  c.last.status AS status, c.last.code AS code, c.last.correlation_id AS correlation_id,
  coalesce(c.last.attempts, 0) AS attempts,
  coalesce(c.last.noted_at, greatest((SELECT max(noted_at) FROM lines), CAST($planned_at AS TIMESTAMPTZ)))
    AS noted_at
FROM rest AS p LEFT JOIN counted AS c USING (call, segment_id)
"""


def settle(
    database: DuckDBPyConnection, run: Run, planned_at: str, directory: Path, calls: int | None = None
) -> None:
    """Make the table ``settled``: a row for each planned change of ``run`` and what came of it so far.

    Columns: ``call, external_contact_id, segment_id, action`` as planned; ``outcome``, one of
    :data:`~airflow_provider_journey.segments.journal.OUTCOMES` or ``unsent``; ``uncertain``, whether it may
    have been carried out nevertheless; ``status, code, correlation_id, attempts, noted_at`` of its last
    answer. A change in doubt has the time of the journal's last line, the last sign of life.
    Beside it ``plan``, the view of the planned changes.

    :param planned_at: when the plan was made, ISO-8601: the time of what has no other.
    :param directory: local folder for what is fetched.
    :param calls: how many calls the plan had when they were claimed, in case somebody who was in it has been
        forgotten since; ``None``: it is as it was made.
    """
    store = run.store
    [plan] = store.fetch([run.plan], directory)
    database.execute(f"CREATE OR REPLACE TEMP VIEW plan AS FROM read_parquet({literal(str(plan))})")
    chunks = store.fetch([f"{run.chunks}/{name}" for name in store.sizes(run.chunks)], directory)
    database.execute(f"CREATE OR REPLACE TEMP TABLE lines AS FROM {_lines(chunks)}")
    database.execute("CREATE OR REPLACE TEMP TABLE claimed (block BIGINT, since INTEGER)")
    claims = [_claim(name) for name in store.sizes(run.claims)]
    if claims:
        database.execute(
            "INSERT INTO claimed SELECT unnest($1), unnest($2)", [*map(list, zip(*claims, strict=True))]
        )
    [(found,)] = database.execute("SELECT coalesce(max(call), -1) + 1 FROM plan").fetchall()
    block = block_size(found if calls is None else calls)
    database.execute(_PLAIN, {"block": block})
    database.execute(_SETTLED)
    database.execute(_OTHERS, {"block": block, "planned_at": planned_at})
    database.execute("DROP TABLE lines")
    database.execute("DROP TABLE plain")


def _lines(chunks: Sequence[Path]) -> str:
    if not chunks:
        columns = ", ".join(f"CAST(NULL AS {kind}) AS {quoted(name)}" for name, kind in _LINE.items())
        return f"(SELECT {columns} LIMIT 0)"
    names = ", ".join(literal(str(chunk)) for chunk in chunks)
    columns = ", ".join(f"{quoted(name)}: {literal(kind)}" for name, kind in _LINE.items())
    return f"read_json([{names}], format = 'newline_delimited', columns = {{{columns}}})"


def _claim(name: str) -> tuple[int, int]:
    """Return block and epoch of a claim from its name: a block's first claim holds from the beginning."""
    block, *again = name.removesuffix(".json").split("-")
    return int(block), int(again[0]) if again else 0
