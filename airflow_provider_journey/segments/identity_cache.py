"""What look-ups were answered, kept in the ledger's folder: whose contact somebody is, or nobody's.

A person is known there by an HMAC, whose key lies elsewhere. New answers are appended in small objects, one
run's beside another's, and what is newest holds; so neither a kill nor two runs at the same time lose any.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

from airflow_provider_journey.api.clock import Clock
from airflow_provider_journey.segments.store import Store
from airflow_provider_journey.storage.database import literal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

IDENTITIES = "identities"
DEFAULT_TTL = timedelta(days=30)
# Who is nobody's contact today may be somebody's soon: such an answer lives so much shorter.
_MISS_SHARE = 0.25
# Answers do not all expire in the night in which as many as a month ago were asked for.
_SPREAD = 0.25
CHUNK_ANSWERS = 5000
# What a killed process has to ask again: so many answers, or those of so many seconds.
FLUSH_ANSWERS = 200
FLUSH_SECONDS = 2.0
# Objects of answers that are made one.
_MOST_OBJECTS = 8
COLUMNS = {
    "identity": "VARCHAR",
    "outcome": "VARCHAR",
    "external_contact_id": "VARCHAR",
    "merged_ids": "VARCHAR[]",
    "code": "VARCHAR",
    "looked_up_at": "TIMESTAMPTZ",
}
_KNOWN_PEOPLE = """
CREATE OR REPLACE TEMP TABLE known_people AS
SELECT *, coalesce(looked_up_at >= CAST($began AS TIMESTAMPTZ)
    OR epoch(CAST($now AS TIMESTAMPTZ)) - epoch(looked_up_at) < $lifetime
    * (1 - $spread * (hash(identity) % 1024) / 1024)
    * CASE outcome WHEN 'found' THEN 1 WHEN 'unknown' THEN $miss_share ELSE 0 END, false) AS fresh
FROM (
  SELECT unnest(arg_max(a, looked_up_at)) FROM answers AS a SEMI JOIN identities USING (identity)
  GROUP BY identity
)
"""
_WORTH_KEEPING = """
FROM (SELECT unnest(arg_max(a, looked_up_at)) FROM answers AS a WHERE outcome <> 'refused' GROUP BY identity)
WHERE epoch(CAST($now AS TIMESTAMPTZ)) - epoch(looked_up_at) < 2 * $lifetime
  OR identity IN (SELECT identity FROM identities)
ORDER BY identity
"""


@dataclass(frozen=True)
class IdentityKey:
    """What HMACs of people are made with.

    :param value: 32 bytes.
    """

    value: bytes = field(repr=False)

    @classmethod
    def derived(cls, secret: str) -> IdentityKey:
        """Return the key that follows from a secret, and from which the secret does not follow."""
        context = b"airflow-provider-journey: people in a segment sync's ledger"
        return cls(hmac.digest(secret.encode(), context, hashlib.sha256))

    @property
    def mark(self) -> str:
        """A short name that tells this key from others."""
        return hmac.digest(self.value, b"mark", hashlib.sha256).hex()[:8]

    def identity(self, kind: str, source: str | None, value: str) -> str:
        """Return the HMAC by which a person is known, as the engine makes it."""
        text = "\x1f".join((kind, source or "", value))
        return hmac.digest(self.value, text.encode(), hashlib.sha256).hex()


class IdentityCache:
    """The answers that a ledger keeps.

    :param store: the ledger's.
    :param key: what people are known by; answers under another key are of no use.
    :param lifetime: how old an answer may be; that nobody was found may be a quarter as old.
    :param clock: where moments come from.
    """

    def __init__(self, store: Store, key: IdentityKey, lifetime: timedelta, clock: Clock) -> None:
        self._store = store
        self._key = key
        self._lifetime = lifetime
        self._clock = clock
        self._began = clock.time()

    @property
    def names(self) -> list[str]:
        """The objects of answers under this key."""
        return [name for name in self._store.sizes(IDENTITIES) if name.startswith(self._key.mark)]

    @property
    def foreign(self) -> bool:
        """Whether there are answers under other keys, and none under this one."""
        return not self.names and bool(self._store.sizes(IDENTITIES))

    def load(self, database: DuckDBPyConnection, directory: Path) -> list[str]:
        """Make the view ``answers``, all there are, and the table ``known_people``, each one's newest.

        ``known_people`` has those of the table ``identities`` only, and says whether the answer is ``fresh``.
        What this run was answered is so in any case.

        :param directory: local folder for what is fetched.
        :return: the objects that were read.
        """
        names = self.names
        files = self._store.fetch([f"{IDENTITIES}/{name}" for name in names], directory)
        database.execute(f"CREATE OR REPLACE TEMP VIEW answers AS {rows_of(files)}")
        ages = {"began": _moment(self._began), "spread": _SPREAD, "miss_share": _MISS_SHARE}
        database.execute(_KNOWN_PEOPLE, {**self._moments(), **ages})
        return names

    def compact(self, database: DuckDBPyConnection, directory: Path, names: Sequence[str]) -> None:
        """Make one object of many, without answers that nobody asks for any more.

        :param database: has what :meth:`load` has made.
        :param names: what it has read.
        """
        self._drop_foreign()
        oldest = min((int(name.split("-")[1]) for name in names), default=0) / 1000
        aged = names and self._clock.time() - oldest > self._lifetime.total_seconds()
        if len(names) <= _MOST_OBJECTS and not aged:
            return
        file = directory / "answers.parquet"
        query = _WORTH_KEEPING
        for name, value in self._moments().items():
            query = query.replace(f"${name}", literal(value) if isinstance(value, str) else str(value))
        database.execute(f"COPY ({query}) TO {literal(str(file))} (FORMAT parquet, COMPRESSION zstd)")
        self._store.put(file, f"{IDENTITIES}/{self.new_name()}.parquet")
        for name in names:
            self._store.delete(f"{IDENTITIES}/{name}")

    def _drop_foreign(self) -> None:
        """Remove answers under keys that nobody has used for long."""
        for name in self._store.sizes(IDENTITIES):
            age = self._clock.time() - int(name.split("-")[1]) / 1000
            if not name.startswith(self._key.mark) and age > 2 * self._lifetime.total_seconds():
                self._store.delete(f"{IDENTITIES}/{name}")

    def new_name(self) -> str:
        """Return how the name of a new object begins; names are in the order of time."""
        return f"{self._key.mark}-{int(self._clock.time() * 1000):013d}-{secrets.token_hex(4)}"

    def writer(self) -> AnswerWriter:
        """Return what writes down new answers."""
        return AnswerWriter(self._store, self.new_name, self._clock)

    def _moments(self) -> dict[str, str | float]:
        return {"now": _moment(self._clock.time()), "lifetime": self._lifetime.total_seconds()}


class AnswerWriter:
    """Writes down answers as they come; thread-safe, so that its I/O can leave the event loop.

    An object is published whole, again each time, until it has :data:`CHUNK_ANSWERS` lines; then the next one
    begins.

    :param store: where they go.
    :param new_name: names the next object.
    :param clock: where moments come from.
    """

    def __init__(self, store: Store, new_name: Callable[[], str], clock: Clock) -> None:
        self._store = store
        self._new_name = new_name
        self._clock = clock
        self._lock = threading.Lock()
        self._publishing = threading.Lock()
        self._lines: list[bytes] = []
        self._published = 0
        self._name = new_name()
        self._flushed_at = clock.monotonic()
        self.count = 0

    def add(
        self,
        identity: str,
        outcome: str,
        external_contact_id: str | None = None,
        *,
        merged_ids: Sequence[str] = (),
        code: str | None = None,
    ) -> None:
        """Write down one answer.

        :param identity: the person's HMAC.
        :param outcome: ``found``, ``unknown`` (nobody's contact), or ``refused`` by the service as it stands.
        :param external_contact_id: the contact; where nobody is found now, the one that once was.
        :param merged_ids: contacts that were merged into it.
        :param code: the service's error code.
        """
        values = (identity, outcome, external_contact_id, list(merged_ids), code, _moment(self._clock.time()))
        line = json.dumps(dict(zip(COLUMNS, values, strict=True)), separators=(",", ":")).encode() + b"\n"
        with self._lock:
            self._lines.append(line)
            self.count += 1

    @property
    def due(self) -> bool:
        """Whether it is time to :meth:`flush`."""
        waiting = len(self._lines) - self._published
        return waiting > 0 and (
            waiting >= FLUSH_ANSWERS or self._clock.monotonic() - self._flushed_at >= FLUSH_SECONDS
        )

    def flush(self) -> None:
        """Publish what has come.

        :raises OSError: the store does not take it.
        """
        with self._publishing:
            with self._lock:
                lines = list(self._lines)
                self._flushed_at = self._clock.monotonic()
            if len(lines) == self._published:
                return
            with NamedTemporaryFile(suffix=".jsonl") as copy:
                copy.write(b"".join(lines))
                copy.flush()
                self._store.put(Path(copy.name), f"{IDENTITIES}/{self._name}.jsonl")
            self._published = len(lines)
            if len(lines) >= CHUNK_ANSWERS:
                with self._lock:
                    del self._lines[: len(lines)]
                self._published, self._name = 0, self._new_name()


def rows_of(files: Sequence[Path]) -> str:
    """Return the query for all answers in local files."""
    columns = ", ".join(f"{name}: {literal(kind)}" for name, kind in COLUMNS.items())
    readers = {
        ".parquet": "read_parquet([{}], union_by_name = true)",
        ".jsonl": f"read_json([{{}}], format = 'newline_delimited', columns = {{{{{columns}}}}})",
    }
    parts = [
        "SELECT "
        + ", ".join(f"CAST(NULL AS {kind}) AS {name}" for name, kind in COLUMNS.items())
        + " LIMIT 0"
    ]
    for suffix, reader in readers.items():
        named = ", ".join(literal(str(file)) for file in files if file.suffix == suffix)
        if named:
            parts.append("FROM " + reader.format(named))
    return " UNION ALL BY NAME ".join(f"({part})" for part in parts)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat()
