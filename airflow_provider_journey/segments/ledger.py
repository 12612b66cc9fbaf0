"""The ledger: what this side knows of who is in which segment, version by version."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_journey.segments.errors import LedgerMovedError, StoreError
from airflow_provider_journey.segments.runs import RUNS, Run
from airflow_provider_journey.segments.store import Store
from airflow_provider_journey.segments.summary import PlanSummary

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

HEADS = "heads"
SNAPSHOTS = "snapshots"
DEFAULT_KEEP = 7
# The names of a version's objects begin with its number; what is called otherwise is not the ledger's.
_VERSION = re.compile(r"(\d{8})(?:\.json|-[0-9a-f]{8}(?:-pending)?\.parquet)")
# How the names begin of what came into a ledger without a run.
IMPORT = "import-"


@dataclass(frozen=True)
class Head:
    """One version of the ledger.

    :param version: 0 is the empty ledger, before the first commit.
    :param snapshot: the object with all known pairs; ``None`` for none.
    :param pending: the object with what runs left open; ``None`` for none.
    :param run: the run that published it.
    :param committed_at: when, ISO-8601 in UTC.
    :param counts: number of pairs by segment and state.
    :param folded: for each run whose journal is in it the journal's ``fingerprint`` and the ``plan_hash``.
    :param calls_per_minute: the rate last seen.
    """

    version: int = 0
    snapshot: str | None = None
    pending: str | None = None
    run: str = ""
    committed_at: str = ""
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    folded: dict[str, dict[str, str]] = field(default_factory=dict)
    calls_per_minute: float | None = None


class Ledger:
    """A ledger's folder: ``heads/``, ``snapshots/`` and ``runs/``.

    :param store: the folder.
    :param keep: how many heads, snapshots and runs stay.
    """

    def __init__(self, store: Store, *, keep: int = DEFAULT_KEEP) -> None:
        if keep < 1:
            raise ValueError(f"keep is at least 1, not {keep}")
        self.store = store
        self.keep = keep

    @classmethod
    def at(
        cls, path: ObjectStoragePath | str, *, keep: int = DEFAULT_KEEP, single_writer: bool = False
    ) -> Ledger:
        """Open the ledger in the folder ``path``, which need not be there yet."""
        return cls(Store.at(path, single_writer=single_writer), keep=keep)

    def head(self) -> Head:
        """Return the highest version.

        :raises StoreError: it is not what a head is.
        """
        return self.read_head(max(self.versions(), default=0))

    def versions(self) -> list[int]:
        """Return the versions that are kept, the oldest first."""
        return sorted(version for _, version in self._numbered(HEADS))

    def read_head(self, version: int) -> Head:
        """Return one version; 0 is the empty ledger.

        :raises StoreError: it is not what a head is.
        """
        if version == 0:
            return Head()
        content = self.store.read_json(_head(version))
        try:
            return Head(**{each.name: content[each.name] for each in fields(Head)})
        except KeyError as error:
            raise StoreError(f"{self.store.root / _head(version)} lacks {error}") from None

    def check_base(self, summary: PlanSummary) -> None:
        """Check that the ledger is where a plan was made from, or was moved from there by that run alone.

        :raises LedgerMovedError: another run moved it.
        """
        later = [version for version in self.versions() if version > summary.base]
        foreign = [head for head in map(self.read_head, later) if head.run != summary.run]
        # A base without a trace among the kept versions was passed long ago.
        if foreign or (later and later[0] != summary.base + 1):
            by = f" by {foreign[0].run}" if foreign else ""
            raise LedgerMovedError(
                f"{self.store} is at version {later[-1]}{by}; the plan of {summary.run} was made from "
                f"version {summary.base}. Nothing was sent: make a new plan."
            )

    def publish(self, head: Head, snapshot: Path, pending: Path) -> Head:
        """Publish a new version, and remove what is older than what is kept.

        :param head: the new version, still without the names of its objects.
        :param snapshot: local Parquet file with all known pairs.
        :param pending: local Parquet file with what is left open.
        :return: the head as it was published.
        :raises FileExistsError: somebody else has published this version, or a later one.
        """
        stem = f"{SNAPSHOTS}/{head.version:08d}-{secrets.token_hex(4)}"
        runs = self.store.folders(RUNS)
        folded = {name: each for name, each in head.folded.items() if name in runs or name.startswith(IMPORT)}
        head = replace(head, snapshot=f"{stem}.parquet", pending=f"{stem}-pending.parquet", folded=folded)
        try:
            self.store.put(snapshot, f"{stem}.parquet")
            self.store.put(pending, f"{stem}-pending.parquet")
            self.store.create_json(_head(head.version), asdict(head))
        except OSError:
            self.store.delete(f"{stem}.parquet")
            self.store.delete(f"{stem}-pending.parquet")
            raise
        if max(self.versions()) > head.version:
            # So late that its predecessors were pruned: it took a number that had been given away.
            self.store.delete(_head(head.version))
            raise FileExistsError(head.version)
        self._prune(head)
        return head

    def overwrite(self, head: Head) -> None:
        """Put a head in its own place: only for what must not be kept."""
        self.store.put_json(_head(head.version), asdict(head))

    def runs(self) -> list[tuple[Run, PlanSummary]]:
        """Return the runs that have a plan, in the order in which the plans were made."""
        found = []
        for name in self.store.folders(RUNS):
            run = Run(self.store, name)
            try:
                found.append((run, PlanSummary.from_dict(self.store.read_json(run.summary))))
            except FileNotFoundError:
                continue  # its plan was never finished
        return sorted(found, key=lambda each: (each[1].base, each[1].planned_at, each[0].name))

    def unfolded(self, folded: Mapping[str, Mapping[str, str]]) -> list[tuple[Run, PlanSummary]]:
        """Return the runs whose journal, or a part of it, is not in a head.

        :param folded: the head's :attr:`Head.folded`.
        """
        return [
            (run, summary)
            for run, summary in self.runs()
            if run.fingerprint() not in ("", folded.get(run.name, {}).get("fingerprint"))
        ]

    def _numbered(self, folder: str) -> list[tuple[str, int]]:
        """Return the objects of versions that lie in ``folder``, each with its version's number."""
        found = ((name, _VERSION.fullmatch(name)) for name in self.store.sizes(folder))
        return [(name, int(match[1])) for name, match in found if match]

    def _prune(self, head: Head) -> None:
        versions = self.versions()
        for version in versions[: -self.keep]:
            self.store.delete(_head(version))
        oldest = versions[-self.keep :][0]
        for name, version in self._numbered(SNAPSHOTS):
            if version < oldest:
                self.store.delete(f"{SNAPSHOTS}/{name}")
        needed = {run.name for run, _ in self.unfolded(head.folded)}
        for run, _ in self.runs()[: -self.keep]:
            if run.name not in needed:
                self.store.delete(run.file("").rstrip("/"))

    def show(self) -> dict[str, Any]:
        """Return what a person wants to know: the head, the pairs by segment and state, the latest runs."""
        head = self.head()
        unfolded = {run.name for run, _ in self.unfolded(head.folded)}
        runs = [
            {
                "run": run.name,
                "planned_at": summary.planned_at,
                "mode": summary.mode,
                "base": summary.base,
                "changes": summary.changes,
                "calls": summary.calls,
                "state": _run_state(run, head, unfolded),
            }
            for run, summary in reversed(self.runs())
        ]
        return {
            "version": head.version,
            "committed_at": head.committed_at,
            "run": head.run,
            "segments": head.counts,
            "runs": runs,
        }


def _run_state(run: Run, head: Head, unfolded: set[str]) -> str:
    if run.name in unfolded:
        return "not committed"
    return "committed" if run.name in head.folded else "planned"


def _head(version: int) -> str:
    return f"{HEADS}/{version:08d}.json"
