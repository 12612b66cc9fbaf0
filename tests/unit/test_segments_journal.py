"""What the journal keeps through kills, full disks and stores that refuse."""

from __future__ import annotations

import resource
import signal
from collections import Counter
from pathlib import Path

import duckdb
import pytest

from airflow_provider_journey.segments import journal as journals
from airflow_provider_journey.segments.journal import BLOCK, CHUNK_OUTCOMES, JournalWriter
from airflow_provider_journey.segments.outcomes import settle
from airflow_provider_journey.segments.runs import Run, run_name
from airflow_provider_journey.segments.store import Store
from airflow_provider_journey.storage.database import open_database
from tests.clocks import FakeClock

CALLS = 3 * BLOCK + 20


@pytest.fixture
def run(tmp_path):
    """A run of one change a call; call 7 has three."""
    run = Run(Store.at(str(tmp_path / "ledger")), "night")
    duckdb.sql(
        f"""SELECT i AS call, 'c' || i AS external_contact_id, unnest(CASE WHEN i = 7 THEN ['a', 'b', 'c']
        ELSE ['a'] END) AS segment_id, 'assign' AS action, 'new' AS reason FROM range({CALLS}) AS r(i)"""
    ).write_parquet(str(tmp_path / "plan.parquet"))
    run.store.put(tmp_path / "plan.parquet", run.plan)
    return run


@pytest.fixture
def writer(run, tmp_path):
    def make(**given):
        given = {"clock": FakeClock(), "spool": tmp_path / f"spool{given.get('writer', 0)}"} | given
        return JournalWriter(run, CALLS, **given)

    return make


@pytest.fixture
def settled(run, tmp_path):
    def read(calls=None):
        with open_database(tmp_path, 200) as database:
            settle(database, run, "2026-11-22T00:00:00+00:00", tmp_path)
            rows = database.execute("SELECT call, segment_id, outcome, uncertain FROM settled").fetchall()
        wanted = [row for row in rows if calls is None or row[0] in calls]
        return Counter((outcome, uncertain) for _, _, outcome, uncertain in wanted)

    return read


def test_a_claimed_call_without_an_outcome_is_unknown_and_others_are_unsent(writer, settled):
    journal = writer()
    journal.__enter__()
    assert journal.claim() == range(BLOCK)
    journal.record(0, "done", status=204)
    journal.record(1, "rejected", status=404, code="not.found")
    journal.record(2, "done", segment_ids=["a"])
    journal.flush()
    journal.record(3, "done")  # written down, but the process dies before it is published
    assert settled() == {
        ("done", False): 2,
        ("rejected", False): 1,
        ("unknown", True): BLOCK - 3 + 2,
        ("unsent", False): CALLS - BLOCK,
    }
    # The next try on the same machine finds it.
    with writer():
        assert settled()["done", False] == 3


def test_changes_of_one_call_have_outcomes_of_their_own(writer, settled):
    with writer() as journal:
        journal.claim()
        journal.record(7, "done", segment_ids=["a"])
        journal.record(7, "unprocessed", segment_ids=["b"])
    assert settled([7]) == {("done", False): 1, ("unprocessed", False): 1, ("unknown", True): 1}


def test_a_line_about_some_changes_says_nothing_of_the_others(writer, settled):
    with writer() as journal:
        journal.claim()
        journal.record(7, "done", segment_ids=["a"])
    assert settled([7]) == {("done", False): 1, ("unknown", True): 2}


def test_what_is_released_was_not_sent(writer, settled):
    with writer() as journal:
        journal.release(journal.claim())
    assert settled() == {("unsent", False): CALLS + 2}


@pytest.mark.parametrize(
    ("first", "second", "is_now"),
    [
        (None, "done", ("done", False)),
        (None, "released", ("unknown", True)),
        (None, "rejected", ("rejected", True)),
        (None, "failed", ("unknown", True)),
        ("unknown", "rejected", ("rejected", True)),
        ("unknown", "done", ("done", False)),
        ("failed", None, ("unknown", True)),
        ("failed", "rejected", ("rejected", False)),
        ("unprocessed", "done", ("done", False)),
        # Final: not sent again with the rest of its block.
        ("rejected", None, ("rejected", False)),
        ("done", None, ("done", False)),
    ],
)
def test_two_tries_of_a_call(writer, settled, first, second, is_now):
    for number, outcome in enumerate((first, second)):
        with writer() as journal:
            assert journal.epoch == number + 1
            assert (journal.reclaim(0) if number else journal.claim()) == range(BLOCK)
            if number == 0:
                journal.record(50, "failed")
            if outcome:
                journal.record(5, outcome)
    assert settled([5]) == {is_now: 1}


def test_a_chunk_is_published_each_second_and_closed_when_full(run, writer):
    clock = FakeClock()
    with writer(clock=clock) as journal:
        journal.claim()
        assert not journal.due
        journal.record(0, "done")
        assert not journal.due
        clock.sleep(1.0)
        assert journal.due
        journal.flush()
        assert not journal.due
        [(name, size)] = run.store.sizes(run.chunks).items()
        for number in range(CHUNK_OUTCOMES - 1):
            journal.record(number % BLOCK, "done")
        assert journal.due
        journal.flush()
        assert [*run.store.sizes(run.chunks)] == [name]
        assert run.store.sizes(run.chunks)[name] > size
        journal.record(0, "done")
        journal.flush()
        assert len(run.store.sizes(run.chunks)) == 2
    assert not Path(journal._spool).exists()


def test_tasks_share_the_blocks_and_take_over_each_others(run, writer, settled):
    with writer(writer=0, writers=2) as first, writer(writer=1, writers=2) as second:
        assert [first.claim().start, second.claim().start] == [0, BLOCK]
        # The second has a bad night: the first does the rest.
        assert [first.claim().start, first.claim().start, first.claim()] == [2 * BLOCK, 3 * BLOCK, None]
        assert second.claim() is None
    store = run.store
    assert [store.read_json(f"{run.claims}/{block:08d}.json")["writer"] for block in range(4)] == [0, 1, 0, 0]


def test_where_nobody_can_tell_who_was_first_each_keeps_to_its_share(run, tmp_path):
    single = Run(Store.at(str(tmp_path / "ledger"), single_writer=True), "night")
    with JournalWriter(single, CALLS, writer=0, writers=2, spool=tmp_path / "s") as journal:
        assert [journal.claim().start, journal.claim().start, journal.claim()] == [0, 2 * BLOCK, None]


def test_a_store_that_takes_nothing_loses_nothing(run, writer, settled, monkeypatch):
    journal = writer()
    journal.__enter__()
    journal.claim()
    journal.record(0, "done")
    journal.flush()
    chunks = Path(run.store.root.path) / run.chunks
    kept = chunks.rename(chunks.parent / "away")
    chunks.write_text("a file where the folder was: nothing can be put into it")
    journal.record(1, "done")
    with pytest.raises(OSError, match=r"outcomes"):
        journal.flush()
    with pytest.raises(OSError, match=r"outcomes"):
        journal.__exit__(None, None, None)
    chunks.unlink()
    kept.rename(chunks)
    assert settled([0, 1]) == {("done", False): 1, ("unknown", True): 1}
    with writer():
        assert settled([0, 1]) == {("done", False): 2}


def test_an_outcome_that_does_not_fit_on_the_disk_is_an_error_at_once(run, writer, settled, tmp_path):
    journal = writer()
    journal.__enter__()
    journal.claim()
    journal.record(0, "done")
    [spooled] = (tmp_path / "spool0").glob("*.jsonl")
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    obeyed = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        # Room for the beginning of the second line: such a write takes a part without complaint.
        resource.setrlimit(resource.RLIMIT_FSIZE, (spooled.stat().st_size + 20, unlimited[1]))
        with pytest.raises(OSError, match="too large"):
            journal.record(1, "done")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        signal.signal(signal.SIGXFSZ, obeyed)
    with writer():
        assert settled([0, 1]) == {("done", False): 1, ("unknown", True): 1}


def test_half_a_line_from_a_full_disk_is_left_out(run, writer, settled, tmp_path):
    journal = writer()
    journal.__enter__()
    journal.claim()
    journal.record(0, "done")
    [spooled] = (tmp_path / "spool0").glob("*.jsonl")
    with spooled.open("ab") as stream:
        stream.write(b'{"epoch":1,"n":2,"call":1,"outc')
    with writer():
        assert settled([0, 1]) == {("done", False): 1, ("unknown", True): 1}
    assert not spooled.exists()


def test_a_claim_that_cannot_be_published_stops_before_any_call(run, writer):
    with writer() as journal:
        Path(run.store.root.path, run.claims).parent.write_text("in the way")
        with pytest.raises(OSError, match="claims"):
            journal.claim()


def test_the_next_try_finds_the_spool_of_its_own_run_alone(run):
    other = Run(run.store, "other")
    spools = {journals._spool_of(each, number) for each in (run, other) for number in (0, 1)}
    assert len(spools) == 4


def test_run_ids_become_folder_names():
    assert run_name("nightly") == "nightly"
    odd = [
        run_name(run_id)
        for run_id in ("manual__2026-11-22T00:00:00+00:00", "manual__2026-11-22T00:00:00 00:00")
    ]
    assert odd[0] != odd[1]
    assert odd[0].startswith("manual__2026-11-22T00_00_00_00_00.")
    assert "/" not in run_name("../../etc")
    assert not run_name("..").startswith("..")
