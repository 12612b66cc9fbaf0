"""A segment sync whose process is killed, or whose disk is full: the service, the ledger and the audience agree."""

import contextlib
import json
import random
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from airflow_provider_journey.segments.identity_cache import FLUSH_ANSWERS
from airflow_provider_journey.segments.scribe import MOST_WAITING
from demo.processes import wait_until
from tests.chaos import syncing
from tests.emulator.people import LOOKUP, email
from tests.emulator.syncing import UPDATES, contacts, pairs, segments

SCRIPT = Path(syncing.__file__)
ROOT = SCRIPT.parents[2]
IN_FLIGHT = 16
# Calls which a process may have had answered and not yet written down.
UNWRITTEN = MOST_WAITING


class Victim:
    """Starts tries of one sync, in processes of their own."""

    def __init__(self, emulator, folder, surface):
        self.emulator, self.folder, self.surface = emulator, folder, surface
        self.ledger = folder / "ledger"
        self.spool = folder / "machine"
        self.spool.mkdir()

    def start(self, run_id, audience, largest=0):
        file = self.folder / "audience.json"
        file.write_text(json.dumps(audience))
        emulator = self.emulator
        arguments = [
            emulator.base_url,
            emulator.client_id,
            emulator.client_secret,
            self.ledger,
            run_id,
            file,
            largest,
            self.surface,
        ]
        return subprocess.Popen(
            [sys.executable, str(SCRIPT), *map(str, arguments)],
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT), "PATH": "", "TMPDIR": str(self.spool)},
            stdout=subprocess.PIPE,
            text=True,
        )

    def finish(self, run_id, audience):
        with self.start(run_id, audience) as process:
            assert process.stdout.read().endswith("done\n")
        assert process.returncode == 0

    def updates(self):
        calls = self.emulator.calls()
        return sum(count for name in UPDATES for count in calls.get(name, {}).values())

    def await_updates(self, process, count):
        """Wait until the emulator has seen so many updates, or the process has ended."""
        wait_until(
            lambda: process.poll() is not None or self.updates() >= count,
            f"{count} updates",
            60,
            every_s=0.002,
        )

    def noted(self):
        """How many of the calls are written down as carried out, in the store or on the machine's disk."""
        files = [*self.ledger.glob("runs/*/journal/outcomes/*"), *self.spool.glob("journey-journal-*/*")]
        lines = [line for file in files for line in file.read_text().splitlines(keepends=True)]
        # A kill may leave half a line.
        entries = [json.loads(line) for line in lines if line.endswith("\n")]
        return len({entry["call"] for entry in entries if entry["outcome"] == "done"})

    def held(self, audience):
        return {(who, name) for name in audience for who in self.emulator.members(name)}

    def known(self):
        snapshot = syncing.ledger_in(self.ledger).head().snapshot
        return {
            (who, name): state
            for who, name, state in duckdb.execute(
                "SELECT external_contact_id, segment_id, state FROM read_parquet(?)",
                [f"{self.ledger}/{snapshot}"],
            ).fetchall()
        }

    def agree(self, audience):
        assert not [*self.spool.glob("journey-scratch-*")], "no copies are left on the machine"
        assigned = {pair for pair, state in self.known().items() if state == "assigned"}
        assert self.held(audience) == assigned == pairs(audience)
        assert "unknown" not in self.known().values()


@pytest.fixture(params=["journey", "externalcontacts"])
def victim(request, start_journey_emulator, tmp_path):
    return Victim(start_journey_emulator(contacts=5000, events=10), tmp_path, request.param)


def read_until(process, line):
    with contextlib.suppress(StopIteration):
        while next(process.stdout) != f"{line}\n":
            pass


def test_killed_at_twenty_random_moments_and_tried_again(victim):
    one, two = segments(victim.emulator, 2)
    audience = {one: contacts(5000), two: contacts(2500)}
    dice = random.Random(20261123)
    kills, doubtful = 0, [0]
    # Two while it plans, sixteen while it applies, two while it commits.
    moments = [None, None, *sorted(dice.randint(1, 4990) for _ in range(16)), "committing", "committing"]
    for moment in moments:
        with victim.start("run", audience) as process:
            if moment is None:
                read_until(process, "planning")
                time.sleep(dice.uniform(0, 0.3))
            elif moment == "committing":
                read_until(process, "committing")
                time.sleep(dice.uniform(0, 0.2))
            else:
                victim.await_updates(process, moment)
            kills += process.poll() is None
            process.kill()
        # What a try may have sent and not written down; the next one sends it again, and nothing else.
        doubtful.append(victim.updates() - victim.noted())
        assert 0 <= doubtful[-1] - doubtful[-2] <= IN_FLIGHT + UNWRITTEN
    assert kills >= 19
    before = victim.updates()
    victim.finish("run", audience)
    victim.agree(audience)
    repeated = victim.updates() - 5000
    print(f"calls sent again: {repeated} after {kills} kills, {before} before the last try")
    assert repeated == doubtful[-1], "what was written down is not sent again"
    victim.finish("next", audience)
    assert victim.updates() == 5000 + repeated


def test_killed_while_it_looks_people_up_and_tried_again(start_journey_emulator, tmp_path):
    emulator = start_journey_emulator(contacts=2000, events=10, latency_ms=20)
    victim = Victim(emulator, tmp_path, "externalcontacts")
    [name] = segments(emulator, 1)
    audience = {name: [email(number) for number in range(2000)]}

    def lookups():
        return sum(emulator.calls().get(LOOKUP, {}).values())

    for moment in (400, 900, 1500):
        with victim.start("run", audience) as process:
            wait_until(lambda moment=moment: lookups() >= moment, f"{moment} look-ups", 60, every_s=0.002)
            process.kill()
    assert victim.updates() == 0
    victim.finish("run", audience)
    victim.agree({name: contacts(2000)})
    repeated = lookups() - 2000
    print(f"look-ups made again: {repeated}")
    # Answers that were not published yet, and a tenth of a second of them until they are.
    assert 0 <= repeated <= 3 * (IN_FLIGHT + FLUSH_ANSWERS + 100)


def test_killed_for_good_and_followed_by_a_smaller_audience(victim):
    [name] = segments(victim.emulator, 1)
    with victim.start("first", {name: contacts(1000)}) as process:
        victim.await_updates(process, 500)
        process.kill()
    assert 500 <= victim.updates() < 1000
    smaller = {name: contacts(1000)[200:300]}
    victim.finish("second", smaller)
    victim.agree(smaller)


def test_a_full_disk_while_journalling_fails_it_and_loses_nothing(victim):
    [name] = segments(victim.emulator, 1)
    audience = {name: contacts(1000)}
    # Some three hundred lines.
    with victim.start("run", audience, largest=40_000) as process:
        said = process.stdout.read()
    assert process.returncode == 1
    assert said.endswith("applying\n")
    done = victim.updates()
    assert 0 < done < 1000
    victim.finish("run", audience)
    victim.agree(audience)
    assert victim.updates() - 1000 <= IN_FLIGHT + UNWRITTEN
