"""From the journal of a run to the next version of the ledger."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_journey.api.clock import Clock, SystemClock
from airflow_provider_journey.segments.errors import LedgerMovedError, ThresholdError
from airflow_provider_journey.segments.ledger import Head, Ledger
from airflow_provider_journey.segments.runs import Run
from airflow_provider_journey.segments.state import LedgerState
from airflow_provider_journey.segments.summary import PlanSummary
from airflow_provider_journey.storage.database import literal, open_database
from airflow_provider_journey.storage.scratch import local_folder

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

DEFAULT_MAX_REJECT_FRACTION = 0.01
_MEMORY_MIB = 1400
# Another run that publishes at the same moment costs one more try.
_TRIES = 20


@dataclass(frozen=True)
class Committed:
    """What became of a plan. The changes of the plan are ``done + rejected + to_do``.

    :param version: the ledger's version that holds it.
    :param done: changes that the service confirmed.
    :param rejected: changes that it refused.
    :param unknown: changes that were sent and of which no answer was read.
    :param unprocessed: changes that an answer named as not done.
    :param failed: changes that were answered by an error which may pass.
    :param unsent: changes that were not sent.
    :param refusals: how many were rejected with which status and code.
    :param rejects: where the table of them is.
    """

    version: int
    done: int = 0
    rejected: int = 0
    unknown: int = 0
    unprocessed: int = 0
    failed: int = 0
    unsent: int = 0
    refusals: dict[str, int] = field(default_factory=dict)
    rejects: str = ""

    @property
    def to_do(self) -> int:
        """Changes that the next plan takes up."""
        return self.unknown + self.unprocessed + self.failed + self.unsent

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain data for XCom, the derived one included."""
        figures = asdict(self)
        del figures["refusals"], figures["rejects"]
        return {**figures, "to_do": self.to_do}

    def what_was_refused(self) -> str:
        """Return how many changes were rejected for what, and where it says which."""
        reasons = ", ".join(f"{count:,} times {reason}" for reason, count in self.refusals.items())
        return f"{reasons or 'none'}. Which ones, and why, is in {self.rejects}"


def commit(
    ledger: Ledger,
    run: Run,
    summary: PlanSummary,
    *,
    calls_per_minute: float | None = None,
    clock: Clock | None = None,
) -> Committed:
    """Publish a version of the ledger with everything that journals say, and the run's table of rejects.

    If the ledger moved meanwhile, the journals are merged into where it is now, and again, until the version
    made is the next one; nothing confirmed is lost. Committing the same again changes nothing.

    :param ledger: the ledger.
    :param run: the run to report on; journals of other runs that are in no version yet go in as well.
    :param summary: the run's plan.
    :param calls_per_minute: the rate that apply saw, for the next plan's estimate.
    :param clock: where the version's time comes from.
    :raises LedgerMovedError: others published each time.
    :raises OSError: the store does not take it; the version before stands, and so does the journal.
    """
    now = datetime.fromtimestamp((clock or SystemClock()).time(), timezone.utc).isoformat()
    for _ in range(_TRIES):
        with local_folder() as directory, open_database(directory, _MEMORY_MIB) as database:
            state = LedgerState(ledger, ledger.head(), database, directory)
            _fold(state, run, summary)
            # Before the version: a run that is killed behind it would have no table of its own.
            committed = _report(database, run, directory)
            try:
                head = _publish(ledger, state, run, (now, calls_per_minute), directory)
            except FileExistsError:
                continue
            return replace(committed, version=head.version)
    raise LedgerMovedError(f"{ledger.store}: {_TRIES} times somebody else published a version first")


def check_thresholds(
    committed: Committed,
    *,
    max_reject_fraction: float = DEFAULT_MAX_REJECT_FRACTION,
    max_rejects: int | None = None,
) -> None:
    """Judge, when all is done and recorded, whether too much was refused.

    :param max_reject_fraction: how much of what was sent may be refused, 0 to 1.
    :param max_rejects: how many changes may be refused; ``None``: any number.
    :raises ThresholdError: with the numbers and the parameter that allows it.
    """
    sent = committed.done + committed.rejected + committed.to_do - committed.unsent
    figures = f"{committed.rejected:,} of {sent:,} changes were rejected"
    told = f"{committed.what_was_refused()}; everything else is done and recorded."
    if max_rejects is not None and committed.rejected > max_rejects:
        raise ThresholdError(f"{figures}, more than max_rejects={max_rejects}: {told}")
    if committed.rejected / max(1, sent) > max_reject_fraction:
        raise ThresholdError(f"{figures}, more than max_reject_fraction={max_reject_fraction}: {told}")


def _fold(state: LedgerState, run: Run, summary: PlanSummary) -> None:
    """Take all journals into ``state``, and leave ``settled`` with what the run's own says."""
    state.fold_all()
    if run.name not in state.folded:
        state.fold(run, summary)  # it had nothing to send, but may have closed what was open
    if state.settled != run.name:
        state.settle(run, summary)


def _publish(
    ledger: Ledger, state: LedgerState, run: Run, news: tuple[str, float | None], directory: Path
) -> Head:
    head = state.head
    if state.folded == head.folded:
        return head
    snapshot, pending = directory / "snapshot.parquet", directory / "pending.parquet"
    counts = state.write(snapshot, pending)
    version = Head(
        version=head.version + 1,
        run=run.name,
        committed_at=news[0],
        counts=counts,
        folded=state.folded,
        calls_per_minute=news[1] or head.calls_per_minute,
    )
    return ledger.publish(version, snapshot, pending)


def _report(database: DuckDBPyConnection, run: Run, directory: Path) -> Committed:
    rejects = directory / "rejects.parquet"
    database.execute(
        "COPY (FROM settled SELECT external_contact_id, segment_id, action, status, code, correlation_id,"
        " attempts, noted_at WHERE outcome = 'rejected' ORDER BY external_contact_id, segment_id)"
        f" TO {literal(str(rejects))} (FORMAT parquet, COMPRESSION zstd)"
    )
    run.store.put(rejects, run.rejects)
    counts = dict(database.execute("SELECT outcome, count(*) FROM settled GROUP BY ALL").fetchall())
    refusals = database.execute(
        "SELECT concat_ws(' ', status, code), count(*) FROM settled WHERE outcome = 'rejected'"
        " GROUP BY ALL ORDER BY 2 DESC, 1"
    ).fetchall()
    where = str(run.store.root / run.rejects)
    return Committed(version=0, **counts, refusals=dict(refusals), rejects=where)
