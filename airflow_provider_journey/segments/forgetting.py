"""A person is removed from all that a ledger keeps."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_journey.api.clock import Clock
from airflow_provider_journey.segments.identity_cache import IDENTITIES, rows_of
from airflow_provider_journey.segments.lease import Lease
from airflow_provider_journey.segments.ledger import SNAPSHOTS, Head, Ledger
from airflow_provider_journey.segments.runs import RUNS
from airflow_provider_journey.segments.state import count_pairs
from airflow_provider_journey.storage.database import literal, open_database
from airflow_provider_journey.storage.scratch import local_folder

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_MEMORY_MIB = 1400
# How a row names somebody, by the columns that its table has. Among invalid rows an id may stand with what
# made them invalid.
_NAMES = {
    "external_contact_id": "list_contains(getvariable('contacts'), external_contact_id)",
    "canonical_id": "list_contains(getvariable('contacts'), canonical_id)",
    "merged_id": "list_contains(getvariable('contacts'), merged_id)",
    "merged_ids": "list_has_any(getvariable('contacts'), merged_ids)",
    "identity": "list_contains(getvariable('identities'), identity)",
}
_NAMES_INVALID = (
    "len(list_filter(getvariable('contacts'), lambda contact: contains(external_contact_id, contact))) > 0"
)


def forget(
    ledger: Ledger, contacts: Sequence[str], identities: Sequence[str] = (), *, clock: Clock | None = None
) -> int:
    """Remove a person from all that a ledger keeps: versions, plans, answers of look-ups, tables of rows.

    Whoever was looked up as one of ``contacts``, or as one merged into it, is that person; so is whoever one
    of ``identities`` was found to be. Journals name calls, not contacts, so they hold nothing of anybody. A
    plan that named the person is no longer the one that was made, and is not applied any more.

    :param contacts: external contacts' ids.
    :param identities: HMACs as the ledger knows people by them.
    :return: how many objects named the person.
    :raises LeaseError: a run is at work.
    """
    lease = Lease(ledger.store, f"forget-{secrets.token_hex(4)}", clock=clock)
    lease.acquire()
    try:
        with local_folder() as directory, open_database(directory, _MEMORY_MIB) as database:
            _find(database, ledger, (contacts, identities), directory)
            changed = {name for name in _objects(ledger) if _rewrite(database, ledger, name, directory)}
            for version in ledger.versions():
                head = ledger.read_head(version)
                if head.snapshot in changed:
                    ledger.overwrite(_recounted(database, ledger, head, directory))
        return len(changed)
    finally:
        lease.release()


def _find(
    database: DuckDBPyConnection, ledger: Ledger, named: tuple[Sequence[str], Sequence[str]], directory: Path
) -> None:
    """Set the variables ``contacts`` and ``identities``: all that the person is known by."""
    names = [f"{IDENTITIES}/{name}" for name in ledger.store.sizes(IDENTITIES)]
    answers = rows_of(ledger.store.fetch(names, directory))
    whom = " OR ".join(
        f"coalesce({_NAMES[column]}, false)" for column in ("external_contact_id", "merged_ids", "identity")
    )
    query = f"SELECT external_contact_id, merged_ids, identity FROM ({answers}) WHERE {whom}"  # noqa: S608 - texts of ours
    contacts, identities = map(set, named)
    before = -1
    # One answer leads to others: from an identity to a contact, and from that to those merged into it.
    while before < (before := len(contacts) + len(identities)):
        for name, values in (("contacts", contacts), ("identities", identities)):
            database.execute(f"SET VARIABLE {name} = $1::VARCHAR[]", [sorted(values)])
        for contact, merged, identity in database.execute(query).fetchall():
            contacts.update(filter(None, [contact, *(merged or ())]))
            identities.add(identity)


def _objects(ledger: Ledger) -> list[str]:
    store = ledger.store
    folders = [IDENTITIES, SNAPSHOTS, *(f"{RUNS}/{name}" for name in store.folders(RUNS))]
    return [
        f"{folder}/{name}"
        for folder in folders
        for name in store.sizes(folder)
        if name.endswith((".parquet", ".jsonl"))
    ]


def _rewrite(database: DuckDBPyConnection, ledger: Ledger, name: str, directory: Path) -> bool:
    [file] = ledger.store.fetch([name], directory)
    rows = rows_of([file]) if name.endswith(".jsonl") else f"FROM read_parquet({literal(str(file))})"
    database.execute(f"CREATE OR REPLACE TEMP VIEW kept AS {rows}")
    columns = [column for column, *_ in database.execute("DESCRIBE kept").fetchall()]
    conditions = [condition for column, condition in _NAMES.items() if column in columns]
    if name.endswith("/invalid.parquet"):
        conditions.append(_NAMES_INVALID)
    whom = " OR ".join(f"coalesce({condition}, false)" for condition in conditions) or "false"
    if not database.execute(f"FROM kept SELECT 1 WHERE {whom} LIMIT 1").fetchall():
        return False
    clean = directory / f"{secrets.token_hex(4)}.out"
    form = "json" if name.endswith(".jsonl") else "parquet, COMPRESSION zstd, ROW_GROUP_SIZE 20480"
    database.execute(f"COPY (FROM kept WHERE NOT ({whom})) TO {literal(str(clean))} (FORMAT {form})")
    ledger.store.put(clean, name)
    return True


def _recounted(database: DuckDBPyConnection, ledger: Ledger, head: Head, directory: Path) -> Head:
    [file] = ledger.store.fetch([str(head.snapshot)], directory)
    return replace(head, counts=count_pairs(database, file))
