"""The calls of a plan, as apply reads them: verified, and less what is settled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, TypeAlias

from airflow_provider_journey.segments.journal import block_size
from airflow_provider_journey.segments.outcomes import settle
from airflow_provider_journey.segments.runs import Run
from airflow_provider_journey.segments.summary import PlanSummary
from airflow_provider_journey.segments.verification import verify_plan
from airflow_provider_journey.storage.database import open_database

# About so many calls are held in memory at a time.
_AHEAD = 5000
_MEMORY_MIB = 512
# Segments to assign, segments to take away.
_Changes: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]


class PlannedCall(NamedTuple):
    """One call: at most ten changes of one contact.

    :param number: its number in the plan.
    :param external_contact_id: whom it is about.
    :param assign: segments to assign.
    :param unassign: segments to take away.
    """

    number: int
    external_contact_id: str
    assign: tuple[str, ...]
    unassign: tuple[str, ...]

    @property
    def changes(self) -> int:
        """How many changes it has."""
        return len(self.assign) + len(self.unassign)


class PlannedCalls:
    """The calls of a run that are still to be made, read block by block.

    :param run: whose plan.
    :param plan_hash: the hash that was planned, or approved.
    :param directory: local folder for what is fetched and for what does not fit into memory.
    :raises PlanMismatchError: the plan in the store has another content.
    """

    def __init__(self, run: Run, plan_hash: str, directory: Path) -> None:
        self.run = run
        self._database = open_database(directory, _MEMORY_MIB)
        self.summary: PlanSummary = verify_plan(self._database, run, plan_hash, directory)
        self._block = block_size(self.summary.calls)
        self._ahead = _AHEAD // self._block * self._block
        settle(self._database, run, self.summary.planned_at, directory)
        # The same few changes are made of everybody: each has a number, and most calls make the same ones.
        self._database.execute(
            "CREATE TEMP TABLE changes AS "
            "SELECT row_number() OVER (ORDER BY segment_id, action) - 1 AS change, segment_id, action "
            "FROM (SELECT DISTINCT segment_id, action FROM settled)"
        )
        self._database.execute(
            "CREATE TEMP TABLE todo AS SELECT call, external_contact_id, change "
            "FROM settled JOIN changes USING (segment_id, action) "
            "WHERE outcome NOT IN ('done', 'rejected') ORDER BY call"
        )
        self._changes = self._database.execute(
            "SELECT segment_id, action FROM changes ORDER BY change"
        ).fetchall()
        self._sets: dict[str, _Changes] = {}
        # Plain tuples of plain values: rows that live on would make Python look for garbage everywhere.
        self._held: dict[int, list[tuple[int, str, str]]] = {}

    def __enter__(self) -> PlannedCalls:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    @property
    def counts(self) -> dict[str, int]:
        """How many planned changes had which outcome when this was opened."""
        return dict(self._database.execute("SELECT outcome, count(*) FROM settled GROUP BY ALL").fetchall())

    @property
    def calls_left(self) -> int:
        """How many calls were still to be made when this was opened."""
        return int(self._database.execute("SELECT count(DISTINCT call) FROM todo").fetchall()[0][0])

    def unfinished(self, writer: int, writers: int) -> list[int]:
        """Return the blocks which an earlier try of this task claimed and did not finish.

        :param writer: the number of the task, from 0.
        :param writers: how many tasks share the plan; what belonged to one that is no more is taken over.
        """
        blocks = self._database.execute(
            "SELECT DISTINCT block FROM claimed SEMI JOIN todo ON todo.call // ? = block ORDER BY block",
            [self._block],
        ).fetchall()
        claims = (
            (block, self.run.store.read_json(f"{self.run.claims}/{block:08d}.json")) for (block,) in blocks
        )
        return [block for block, claim in claims if claim["writer"] % writers == writer]

    def read(self, numbers: range) -> Iterator[PlannedCall]:
        """Return what is still to be done in one block, in order.

        :param numbers: a block, as a claim returns it.
        """
        if numbers.start not in self._held:
            self._held = self._load(numbers.start // self._ahead * self._ahead)
        for number, contact, changes in self._held.get(numbers.start, ()):
            yield PlannedCall(number, contact, *(self._sets.get(changes) or self._split(changes)))

    def _split(self, changes: str) -> _Changes:
        """Return what a call assigns and what it takes away, of the numbers of its changes."""
        named = [self._changes[number] for number in sorted(map(int, changes.split()))]
        assign, unassign = (
            tuple(segment_id for segment_id, action in named if action == wanted)
            for wanted in ("assign", "unassign")
        )
        self._sets[changes] = assign, unassign
        return assign, unassign

    def _load(self, first: int) -> dict[int, list[tuple[int, str, str]]]:
        found = self._database.execute(
            "SELECT call, any_value(external_contact_id), string_agg(change, ' ') FROM todo"
            " WHERE call >= ? AND call < ? GROUP BY call ORDER BY call",
            [first, first + self._ahead],
        )
        self._sets = {}
        block = self._block
        held: dict[int, list[tuple[int, str, str]]] = {
            start: [] for start in range(first, first + self._ahead, block)
        }
        while rows := found.fetchmany(block):
            for row in rows:
                held[row[0] // block * block].append(row)
        return held
