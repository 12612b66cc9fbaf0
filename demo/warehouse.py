"""The demo's warehouse: a SQLite file whose tables say which contact belongs to which segment."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from airflow_provider_journey.emulator.identity import make_id
from airflow_provider_journey.emulator.options import Options

# The segments of the one-task example, and that of the one with an approval.
MEMBERS, APPROVED = "segment_members", "campaign_members"


class Warehouse:
    """Every contact of the emulator is in one of two segments.

    :param file: the database; made anew, since the emulator's state begins anew as well.
    :param about: what the emulator says of itself.
    """

    def __init__(self, file: Path, about: Mapping[str, Any]) -> None:
        self.file = file
        seed = Options().seed
        self.contacts = [make_id(seed, "contact", number) for number in range(about["contacts"])]
        empty = [segment["id"] for segment in about["segments"] if not segment["organic"]]
        self.segments, self.approved = (empty[0], empty[1]), empty[2]
        self._fill()

    def environment(self) -> dict[str, str]:
        """Return what the example DAGs want to know: the connection and the segments."""
        return {
            "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "sqlite", "host": str(self.file)}),
            "JOURNEY_SEGMENTS": ",".join(self.segments),
            "JOURNEY_SEGMENTS_APPROVED": self.approved,
        }

    def members(self) -> dict[str, set[str]]:
        """Return the contacts of each segment."""
        with self._open() as database:
            found = database.execute(f"SELECT segment_id, external_contact_id FROM {MEMBERS}").fetchall()
        return {segment: {who for where, who in found if where == segment} for segment in self.segments}

    def move(self, count: int) -> None:
        """Let so many contacts change from the first segment to the second."""
        first, second = self.segments
        leaving = sorted(self.members()[first])[:count]
        with self._open() as database:
            database.executemany(
                f"UPDATE {MEMBERS} SET segment_id = ? WHERE external_contact_id = ?",
                [(second, contact) for contact in leaving],
            )

    def _fill(self) -> None:
        with self._open() as database:
            for table in (MEMBERS, APPROVED):
                database.execute(f"DROP TABLE IF EXISTS {table}")
                database.execute(f"CREATE TABLE {table} (external_contact_id TEXT, segment_id TEXT)")
            members = [(contact, self.segments[number % 2]) for number, contact in enumerate(self.contacts)]
            database.executemany(f"INSERT INTO {MEMBERS} VALUES (?, ?)", members)
            few = [(contact, self.approved) for contact in self.contacts[::10]]
            database.executemany(f"INSERT INTO {APPROVED} VALUES (?, ?)", few)

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(self.file)) as database, database:
            yield database
