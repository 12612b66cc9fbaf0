"""The folder of one run in a ledger, and what lies in it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from airflow_provider_journey.segments.store import Store

RUNS = "runs"
_SAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Run:
    """One plan and all that came of it.

    :param store: where the ledger lives.
    :param name: the run's folder in ``runs/``.
    """

    store: Store
    name: str

    def file(self, name: str) -> str:
        """Return the name in the store of ``name`` in this run's folder."""
        return f"{RUNS}/{self.name}/{name}"

    @property
    def plan(self) -> str:
        """One line per contact, segment and action: Parquet."""
        return self.file("plan.parquet")

    @property
    def closed(self) -> str:
        """Pairs which earlier runs had left open and which this plan has nothing to do about: Parquet."""
        return self.file("closed.parquet")

    @property
    def summary(self) -> str:
        """The plan in numbers: JSON, written last, so that a folder without it holds no plan."""
        return self.file("summary.json")

    @property
    def invalid(self) -> str:
        """Rows of the audience that are never sent, and why: Parquet."""
        return self.file("invalid.parquet")

    @property
    def unknown(self) -> str:
        """Rows about people of whom the service knows no contact: Parquet, where there may be any."""
        return self.file("unknown.parquet")

    @property
    def moved(self) -> str:
        """Contacts of the ledger that were found merged, and into whom: Parquet, where there may be any."""
        return self.file("moved.parquet")

    @property
    def rejects(self) -> str:
        """What the service refused: Parquet."""
        return self.file("rejects.parquet")

    @property
    def chunks(self) -> str:
        """Outcomes in the order in which they came: a folder of JSON lines."""
        return self.file("journal/outcomes")

    @property
    def claims(self) -> str:
        """Which blocks of calls were begun: a folder of small JSON objects."""
        return self.file("journal/claims")

    def fingerprint(self) -> str:
        """Return a text that changes whenever something is added to the journal; empty without a journal."""
        claims, chunks = self.store.sizes(self.claims), self.store.sizes(self.chunks)
        return f"{len(claims)}/{len(chunks)}/{sum(chunks.values())}" if claims or chunks else ""


def run_name(run_id: str) -> str:
    """Return a folder name for ``run_id``: readable, and a different one for every different id."""
    safe = _SAFE.sub("_", run_id).strip(".")
    if safe == run_id:
        return safe
    return f"{safe[:150]}.{hashlib.sha256(run_id.encode()).hexdigest()[:8]}"


def new_run(store: Store, run_id: str) -> Run:
    """Return a folder for a new plan of ``run_id``: calls of an earlier plan's journal are not its own."""
    name = run_name(run_id)
    number = 1
    run = Run(store, name)
    while run.fingerprint():
        number += 1
        run = Run(store, f"{name}~{number}")
    return run
