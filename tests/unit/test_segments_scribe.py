"""How much may be doubtful after a kill: what has come and is not written down is bounded."""

from __future__ import annotations

import asyncio

import pytest

from airflow_provider_journey.api.clock import SystemClock
from airflow_provider_journey.segments.journal import JournalWriter
from airflow_provider_journey.segments.runs import Run
from airflow_provider_journey.segments.scribe import MOST_WAITING, Scribe
from airflow_provider_journey.segments.store import Store


class StillClock(SystemClock):
    """Never lets a pause end by itself."""

    async def sleep_async(self, seconds):
        await asyncio.Event().wait()


@pytest.fixture
def journal(tmp_path):
    run = Run(Store.at(str(tmp_path / "ledger")), "night")
    with JournalWriter(run, 1000, spool=tmp_path / "spool") as journal:
        yield journal


def lines(tmp_path):
    return sum(file.read_bytes().count(b"\n") for file in (tmp_path / "spool").glob("*.jsonl"))


async def test_no_call_begins_while_too_much_is_not_written_down(journal, tmp_path):
    scribe = Scribe(journal, StillClock(), on_failure=lambda error: None)
    for call in range(MOST_WAITING - 1):
        scribe.note(call, "done", None, 1)
    await scribe.room()
    scribe.note(MOST_WAITING, "done", None, 1)
    waiting = asyncio.ensure_future(scribe.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    assert lines(tmp_path) == 0
    keeping = asyncio.ensure_future(scribe.keep())
    await asyncio.wait_for(waiting, 5)
    assert lines(tmp_path) == MOST_WAITING
    # Much that comes cuts the pause short.
    for call in range(MOST_WAITING):
        scribe.note(call, "done", None, 2)
    await asyncio.wait_for(scribe.room(), 5)
    assert lines(tmp_path) == 2 * MOST_WAITING
    keeping.cancel()


async def test_who_waits_for_room_learns_that_the_disk_has_failed(journal, tmp_path):
    failures = []
    scribe = Scribe(journal, StillClock(), on_failure=failures.append)
    (tmp_path / "spool").rmdir()
    for call in range(MOST_WAITING):
        scribe.note(call, "done", None, 1)
    keeping = asyncio.ensure_future(scribe.keep())
    await asyncio.wait_for(scribe.room(), 5)
    assert [type(error) for error in failures] == [FileNotFoundError]
    keeping.cancel()
    (tmp_path / "spool").mkdir()
