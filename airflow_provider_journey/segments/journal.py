"""The journal of a run: which calls were begun, and what came of them."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import secrets
import tempfile
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple

from airflow_provider_journey.api.clock import Clock, SystemClock
from airflow_provider_journey.segments.runs import Run

# What can come of a call, or of one of its changes.
OUTCOMES = ("done", "rejected", "unknown", "unprocessed", "failed")
# How many calls one claim is for, at least and at most.
BLOCK = 100
_LARGEST_BLOCK = 500
CHUNK_OUTCOMES = 500
CHUNK_SECONDS = 1.0
RELEASED = "released"
# One encoder for all lines: json.dumps would make one for each.
_encode = json.JSONEncoder(separators=(",", ":")).encode


def block_size(calls: int) -> int:
    """Return how many calls one claim is for: what a kill makes doubtful, and how fine work is shared out.

    :param calls: how many the plan has; a block is a twentieth of them, within bounds: claims cost time.
    """
    return max(BLOCK, min(_LARGEST_BLOCK, calls // 20))


class Entry(NamedTuple):
    """What came of a call; see :meth:`JournalWriter.record` for what the fields mean."""

    call: int
    outcome: str
    segment_ids: tuple[str, ...] | None = None
    status: int | None = None
    code: str | None = None
    correlation_id: str | None = None
    attempts: int = 1


@functools.lru_cache(maxsize=256)
def _rest_of_line(values: tuple[Any, ...]) -> str:
    """Return the fields after the first as they end a line: most calls' are the same."""
    found = zip(Entry._fields[1:], values, strict=True)
    return "".join(f',"{name}":{_encode(value)}' for name, value in found if value is not None) + "}\n"


class JournalWriter:
    """What one apply task writes down: thread-safe, so that its I/O can leave the event loop.

    Before calls are sent their block is claimed in the store; a claimed call of which nothing is written down
    may have been carried out, and counts as unknown. What comes of a call is one line in a local file at
    once; the file is published whole, again each second, until it has 500 lines and the next begins. So a
    process that ends leaves doubtful what was in flight; what it had written down and not yet published is
    found by the next writer on the same machine. Lines name calls and segments, never contacts: whom a call
    is about stands in the plan.

    :param run: whose journal.
    :param calls: how many calls the plan has, numbered from 0.
    :param writer: the number of this task among those which share the plan (its map index), from 0.
    :param writers: how many tasks share it.
    :param clock: where times come from.
    :param spool: local folder for what is not published yet; by default one in the machine's temporary
        folder that the next try of this task finds again.
    """

    def __init__(
        self,
        run: Run,
        calls: int,
        *,
        writer: int = 0,
        writers: int = 1,
        clock: Clock | None = None,
        spool: Path | None = None,
    ) -> None:
        self.run = run
        self.calls = calls
        self.block = block_size(calls)
        self.writer = writer
        self.writers = writers
        self._clock = clock or SystemClock()
        self._spool = spool or _spool_of(run, writer)
        self._lock = threading.Lock()
        self._publishing = threading.Lock()
        self._count = self._sequence = 0
        self._chunk: list[str] = []
        self._published = 0
        self._file: BinaryIO | None = None
        self._flushed_at = self._clock.monotonic()

    def __enter__(self) -> JournalWriter:
        self._spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._recover()
        self.epoch = 1 + _latest_epoch(self.run)
        self._prefix = f"{self.epoch:04d}-{self.writer:03d}-{secrets.token_hex(4)}"
        self._blocks = self._unclaimed()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.flush()
        finally:
            if self._file:
                self._file.close()
        # A failure before this line leaves the spool for the next try.
        self._discard(self._chunk_name())
        with contextlib.suppress(OSError):
            self._spool.rmdir()

    def reclaim(self, block: int) -> range:
        """Claim a block again which an earlier try of this task had claimed and not finished.

        :param block: one of what :meth:`~airflow_provider_journey.segments.calls.PlannedCalls.unfinished`
            names.
        :return: the numbers of its calls.
        """
        name = f"{block:08d}-{self.epoch:04d}-{secrets.token_hex(4)}.json"
        self.run.store.put_json(f"{self.run.claims}/{name}", self._claim())
        return self._numbers(block)

    def claim(self) -> range | None:
        """Claim the next block of calls that nobody has claimed.

        First those of this task's share; then, where the store can tell who was first, others'.

        :return: the numbers of its calls; ``None`` when all are claimed.
        :raises OSError: the store does not take the claim; nothing may be sent.
        """
        for block in self._blocks:
            with contextlib.suppress(FileExistsError):
                self.run.store.create_json(f"{self.run.claims}/{block:08d}.json", self._claim())
                return self._numbers(block)
        return None

    def record(
        self,
        call: int,
        outcome: str,
        *,
        segment_ids: Sequence[str] | None = None,
        status: int | None = None,
        code: str | None = None,
        correlation_id: str | None = None,
        attempts: int = 1,
    ) -> None:
        """Write down, on local disk, what came of a call.

        :param call: its number.
        :param outcome: one of :data:`OUTCOMES`: done, and confirmed; rejected, and not to be sent again in
            this run; unknown, sent and no answer read; unprocessed, named by the answer as not done; failed,
            answered and not done, to be tried again.
        :param segment_ids: the changes it is about; ``None``: all of the call's that were sent.
        :param status: the HTTP status, if there was an answer.
        :param code: the service's error code, or the name of what went wrong.
        :param correlation_id: what the service's support asks for.
        :param attempts: how often it was sent.
        :raises OSError: the disk is full.
        """
        named = None if segment_ids is None else tuple(segment_ids)
        self.record_all([Entry(call, outcome, named, status, code, correlation_id, attempts)])

    def record_all(self, entries: Sequence[Entry]) -> None:
        """Write down several outcomes at once; see :meth:`record`.

        :raises OSError: the disk is full; the first of them may be there, and nothing may follow.
        """
        now = datetime.fromtimestamp(self._clock.time(), timezone.utc).isoformat()
        with self._lock:
            # Put together by hand: this is done for every call.
            common = f'{{"epoch":{self.epoch},"noted_at":"{now}"'
            lines = [
                f'{common},"n":{number},"call":{entry[0]}{_rest_of_line(entry[1:])}'
                for number, entry in enumerate(entries, self._count + 1)
            ]
            self._count += len(lines)
            self._write(lines)

    def release(self, calls: Sequence[int]) -> None:
        """Write down that claimed calls were not sent after all."""
        self.record_all([Entry(call, RELEASED, attempts=0) for call in calls])

    @property
    def due(self) -> bool:
        """Whether it is time to :meth:`flush`."""
        waiting = len(self._chunk) - self._published
        return waiting > 0 and (
            len(self._chunk) >= CHUNK_OUTCOMES or self._clock.monotonic() - self._flushed_at >= CHUNK_SECONDS
        )

    def flush(self) -> None:
        """Publish what was written down.

        :raises OSError: the store does not take it; it stays on local disk for the next try of the task.
        """
        with self._publishing:
            with self._lock:
                self._flushed_at = self._clock.monotonic()
                lines, name = list(self._chunk), self._chunk_name()
            if len(lines) == self._published:
                return
            self.run.store.put_bytes(f"{self.run.chunks}/{name}", "".join(lines).encode())
            with self._lock:
                self._published = len(lines)
                if len(lines) >= CHUNK_OUTCOMES:
                    self._rotate(len(lines))
            self._discard(name, unless=self._chunk_name())

    def _write(self, lines: Sequence[str]) -> None:
        if self._file is None:
            # Unbuffered: a line that was written survives the process.
            self._file = (self._spool / self._chunk_name()).open("ab", buffering=0)
        rest = memoryview("".join(lines).encode())
        while rest:
            # A disk that is about to be full takes a part and says so by the count alone.
            rest = rest[self._file.write(rest) :]
        self._chunk.extend(lines)

    def _rotate(self, published: int) -> None:
        rest = self._chunk[published:]
        if self._file:
            self._file.close()
        self._file, self._chunk, self._published = None, [], 0
        self._sequence += 1
        if rest:
            self._write(rest)

    def _discard(self, name: str, unless: str = "") -> None:
        if name != unless:
            (self._spool / name).unlink(missing_ok=True)

    def _chunk_name(self) -> str:
        return f"{self._prefix}-{self._sequence:06d}.jsonl"

    def _recover(self) -> None:
        """Publish what an earlier try on this machine wrote down and could not publish."""
        for file in sorted(self._spool.glob("*.jsonl")):
            content = file.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            if whole:
                os.truncate(file, len(whole))
                self.run.store.put(file, f"{self.run.chunks}/{file.name}")
            file.unlink()

    def _unclaimed(self) -> Iterator[int]:
        blocks = range(-(-self.calls // self.block))
        yield from self._not_in_store(blocks[self.writer :: self.writers])
        if not self.run.store.single_writer:
            # From the end, so that two who help each other out meet once.
            yield from self._not_in_store(blocks[::-1])

    def _not_in_store(self, blocks: Sequence[int]) -> Iterator[int]:
        claimed = {int(name[:8]) for name in self.run.store.sizes(self.run.claims)}
        return (block for block in blocks if block not in claimed)

    def _numbers(self, block: int) -> range:
        return range(block * self.block, min(self.calls, (block + 1) * self.block))

    def _claim(self) -> dict[str, int]:
        return {"writer": self.writer, "epoch": self.epoch}


def _latest_epoch(run: Run) -> int:
    chunks = [int(name.split("-")[0]) for name in run.store.sizes(run.chunks)]
    claims = [int(name.split("-")[1]) for name in run.store.sizes(run.claims) if "-" in name]
    return max(chunks + claims, default=0)


def _spool_of(run: Run, writer: int) -> Path:
    key = f"{run.store}\n{run.name}\n{writer}"
    return Path(tempfile.gettempdir()) / f"journey-journal-{hashlib.sha256(key.encode()).hexdigest()[:24]}"
