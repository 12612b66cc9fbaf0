"""The ledger's content in the relational engine, with the journals of runs folded in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_journey.segments.ledger import Head, Ledger
from airflow_provider_journey.segments.merges import move_again
from airflow_provider_journey.segments.outcomes import settle
from airflow_provider_journey.segments.runs import Run
from airflow_provider_journey.segments.summary import PlanSummary
from airflow_provider_journey.storage.database import literal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# Outcomes of two runs that worked at the same time are told apart by their times when these differ by more
# than clocks of two machines do; else the pair is unknown.
_CLOCKS_S = 60

_PAIRS = (
    "external_contact_id VARCHAR, segment_id VARCHAR, state VARCHAR, confirmed_at TIMESTAMPTZ,"
    " plan_hash VARCHAR"
)
_PENDING = (
    "external_contact_id VARCHAR, segment_id VARCHAR, action VARCHAR, outcome VARCHAR, status INTEGER,"
    " code VARCHAR, correlation_id VARCHAR, attempts INTEGER, noted_at TIMESTAMPTZ, refused INTEGER,"
    " run VARCHAR"
)

_EFFECTS = """
CREATE OR REPLACE TEMP TABLE effects AS
WITH known AS (
  FROM overlay UNION ALL BY NAME
  (FROM snapshot SEMI JOIN settled USING (external_contact_id, segment_id)
    ANTI JOIN overlay USING (external_contact_id, segment_id))
), compared AS (
  SELECT n.*, k.state AS old_state, k.confirmed_at AS old_confirmed_at,
    CASE n.outcome WHEN 'done' THEN CASE n.action WHEN 'assign' THEN 'assigned' ELSE 'unassigned' END
      ELSE CASE WHEN n.uncertain THEN 'unknown' ELSE k.state END END AS new_state,
    coalesce(list_contains($foreign_hashes, k.plan_hash) OR list_contains($foreign_runs, o.run), false)
      AS contested,
    epoch(n.noted_at) - epoch(greatest(k.confirmed_at, o.noted_at)) AS later,
    CASE WHEN o.action = n.action
      THEN o.refused - CASE WHEN o.run = $run AND o.outcome = 'rejected' THEN 1 ELSE 0 END
      ELSE 0 END AS refused_before
  FROM settled AS n LEFT JOIN known AS k USING (external_contact_id, segment_id)
  LEFT JOIN pending AS o USING (external_contact_id, segment_id)
)
SELECT *, CASE WHEN NOT contested THEN 'takes' WHEN outcome <> 'done' AND NOT uncertain THEN 'loses'
    WHEN later > $clocks THEN 'takes'
    WHEN later < -$clocks OR new_state IS NOT DISTINCT FROM old_state THEN 'loses'
    ELSE 'clashes' END AS verdict
FROM compared
"""
_CHANGED = """
CREATE OR REPLACE TEMP TABLE changed AS
SELECT external_contact_id, segment_id,
  CASE verdict WHEN 'takes' THEN new_state ELSE 'unknown' END AS state,
  CASE WHEN outcome = 'done' AND verdict = 'takes' THEN noted_at ELSE old_confirmed_at END AS confirmed_at,
  $plan_hash AS plan_hash
FROM effects WHERE verdict = 'clashes' OR (verdict = 'takes' AND (outcome = 'done' OR uncertain))
"""
_STILL_OPEN = """
INSERT INTO pending BY NAME
SELECT external_contact_id, segment_id, action,
  CASE WHEN verdict = 'clashes' THEN 'unknown' ELSE outcome END AS outcome,
  status, code, correlation_id, attempts, noted_at,
  coalesce(refused_before, 0) + CASE WHEN outcome = 'rejected' THEN 1 ELSE 0 END AS refused, $run AS run
FROM effects WHERE verdict = 'clashes' OR (verdict = 'takes' AND outcome <> 'done')
"""


class LedgerState:
    """One head, and what came after it.

    In ``database`` are then: the view ``snapshot``, the head's pairs; the table ``overlay``, pairs that take
    their place, or without a state end them; and the table ``pending``, a row for each pair that a run left
    open: what was wanted, what came of it, and how many runs in a row were refused.

    :param ledger: whose head it is.
    :param head: the version to begin with.
    :param database: where to put it.
    :param directory: local folder for what is fetched.
    """

    def __init__(self, ledger: Ledger, head: Head, database: DuckDBPyConnection, directory: Path) -> None:
        self.head = head
        self.settled = ""
        self.folded = {name: dict(entry) for name, entry in head.folded.items()}
        self._ledger = ledger
        self._database = database
        self._directory = directory
        database.execute(f"CREATE OR REPLACE TEMP TABLE overlay ({_PAIRS})")
        database.execute(f"CREATE OR REPLACE TEMP TABLE pending ({_PENDING})")
        if head.snapshot is None or head.pending is None:
            database.execute(f"CREATE OR REPLACE TEMP TABLE nothing ({_PAIRS})")
            database.execute("CREATE OR REPLACE TEMP VIEW snapshot AS FROM nothing")
            return
        snapshot, pending = ledger.store.fetch([head.snapshot, head.pending], directory)
        database.execute(
            f"CREATE OR REPLACE TEMP VIEW snapshot AS FROM read_parquet({literal(str(snapshot))})"
        )
        database.execute(f"INSERT INTO pending BY NAME FROM read_parquet({literal(str(pending))})")

    def fold_all(self) -> None:
        """Fold in the journal of every run which, wholly or in part, is in no head."""
        for run, summary in self._ledger.unfolded(self.folded):
            self.fold(run, summary)

    def fold(self, run: Run, summary: PlanSummary) -> None:
        """Fold in the journal of one run, as far as it goes now; folding the same again changes nothing.

        What the plan of the run had not seen, because another run came between, is weighed by time: the later
        outcome holds, and where clocks cannot tell which one that is the pair is unknown.
        """
        fingerprint = run.fingerprint()
        if summary.merged_contacts:
            [moved] = self._ledger.store.fetch([run.moved], self._directory)
            move_again(self._database, moved)
        self.settle(run, summary)
        unseen = {
            name: entry["plan_hash"]
            for name, entry in self.folded.items()
            if name != run.name and summary.seen.get(name) != entry["fingerprint"]
        }
        hashes = [plan_hash for plan_hash in unseen.values() if plan_hash != summary.plan_hash]
        execute = self._database.execute
        given = {"foreign_hashes": hashes, "foreign_runs": list(unseen), "run": run.name}
        execute(_EFFECTS, {**given, "clocks": _CLOCKS_S})
        execute(_CHANGED, {"plan_hash": summary.plan_hash})
        execute(
            "DELETE FROM overlay WHERE (external_contact_id, segment_id) IN"
            " (SELECT (external_contact_id, segment_id) FROM changed)"
        )
        execute("INSERT INTO overlay BY NAME FROM changed")
        self._close(run, list(unseen))
        execute(_STILL_OPEN, {"run": run.name})
        self.folded[run.name] = {"fingerprint": fingerprint, "plan_hash": summary.plan_hash}

    def settle(self, run: Run, summary: PlanSummary) -> None:
        """Make the table ``settled`` for ``run``, as its journal is now."""
        settle(self._database, run, summary.planned_at, self._directory, summary.calls)
        self.settled = run.name

    def define_pairs(self) -> None:
        """Make the view ``pairs``: all known pairs as they are with everything folded in."""
        pairs = "FROM snapshot"
        if self._database.execute("SELECT count(*) FROM overlay").fetchall()[0][0]:
            pairs += (
                " ANTI JOIN overlay USING (external_contact_id, segment_id)"
                " UNION ALL BY NAME FROM overlay WHERE state IS NOT NULL"
            )
        self._database.execute(f"CREATE OR REPLACE TEMP VIEW pairs AS {pairs}")

    def write(self, snapshot: Path, pending: Path) -> dict[str, dict[str, int]]:
        """Write all pairs, and what is open, to local Parquet files, sorted by contact and segment.

        :return: number of pairs by segment and state.
        """
        self.define_pairs()
        for name, file in (("pairs", snapshot), ("pending", pending)):
            self._database.execute(
                f"COPY (FROM {name} ORDER BY external_contact_id, segment_id) TO {literal(str(file))}"
                " (FORMAT parquet, COMPRESSION zstd)"
            )
        return count_pairs(self._database, snapshot)

    def _close(self, run: Run, unseen: list[str]) -> None:
        """Take out of ``pending`` what the plan of ``run`` took up, or found settled by its audience."""
        [closed] = self._ledger.store.fetch([run.closed], self._directory)
        self._database.execute(
            "DELETE FROM pending WHERE (external_contact_id, segment_id) IN"
            " (SELECT (external_contact_id, segment_id) FROM effects WHERE verdict <> 'loses')"
            " OR (run <> $run AND NOT list_contains($unseen, run) AND (external_contact_id, segment_id) IN"
            " (SELECT (external_contact_id, segment_id) FROM read_parquet($closed)))",
            {"run": run.name, "unseen": unseen, "closed": str(closed)},
        )


def count_pairs(database: DuckDBPyConnection, snapshot: Path) -> dict[str, dict[str, int]]:
    """Return the number of pairs by segment and state in the local Parquet file ``snapshot``."""
    counts: dict[str, dict[str, int]] = {}
    for segment_id, state, count in database.execute(
        "SELECT segment_id, state, count(*) FROM read_parquet(?) GROUP BY ALL ORDER BY ALL", [str(snapshot)]
    ).fetchall():
        counts.setdefault(segment_id, {})[state] = count
    return counts
