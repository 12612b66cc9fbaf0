"""What a run leaves a contact in: asked when a change turns out to be a merged contact's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from airflow_provider_journey.segments.ledger import Ledger
from airflow_provider_journey.segments.runs import Run
from airflow_provider_journey.segments.state import LedgerState
from airflow_provider_journey.storage.database import literal, open_database
from airflow_provider_journey.storage.scratch import local_folder

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_MEMORY_MIB = 256
_KEPT = """
SELECT segment_id FROM planned WHERE external_contact_id = $contact AND action = 'assign'
UNION ALL
SELECT segment_id FROM pairs ANTI JOIN (
  FROM planned WHERE external_contact_id = $contact AND action = 'unassign'
) USING (segment_id)
WHERE external_contact_id = $contact AND state = 'assigned'
"""


class Kept:
    """Answers from the plan of a run and the ledger it was made from; opened with the first question.

    :param ledger: the ledger.
    :param run: whose plan.
    """

    def __init__(self, ledger: Ledger, run: Run) -> None:
        self._ledger = ledger
        self._run = run
        self._turn = asyncio.Lock()
        # Who asked may have been cancelled: the thread that looks for an answer is not.
        self._looking = threading.Lock()
        self._stack = ExitStack()
        self._database: DuckDBPyConnection | None = None

    async def segments(self, external_contact_id: str, segment_ids: Sequence[str]) -> set[str]:
        """Return which of ``segment_ids`` the contact is in when the run has done all that it planned.

        :raises OSError: store or disk fail.
        """
        async with self._turn:
            return await asyncio.to_thread(self._find, external_contact_id, segment_ids)

    def close(self) -> None:
        """Give memory and disk back, when nobody is looking for an answer any more."""
        with self._looking:
            self._stack.close()

    def _find(self, external_contact_id: str, segment_ids: Sequence[str]) -> set[str]:
        with self._looking:
            database = self._database or self._open()
            found = database.execute(_KEPT, {"contact": external_contact_id}).fetchall()
        return {segment_id for (segment_id,) in found}.intersection(segment_ids)

    def _open(self) -> DuckDBPyConnection:
        directory = self._stack.enter_context(local_folder())
        database = self._stack.enter_context(open_database(directory, _MEMORY_MIB))
        state = LedgerState(self._ledger, self._ledger.head(), database, directory)
        state.fold_all()
        state.define_pairs()
        [plan] = self._run.store.fetch([self._run.plan], directory)
        database.execute(f"CREATE TEMP VIEW planned AS FROM read_parquet({literal(str(plan))})")
        self._database = database
        return database
