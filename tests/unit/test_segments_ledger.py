"""The ledger's versions, its lease, and what a person does to it by hand."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import fsspec
import pytest

from airflow_provider_journey.__main__ import main
from airflow_provider_journey.segments.audience import RowsAudience
from airflow_provider_journey.segments.commit import Committed, check_thresholds, commit
from airflow_provider_journey.segments.errors import (
    LeaseError,
    LedgerMovedError,
    PlanMismatchError,
    StoreError,
    ThresholdError,
)
from airflow_provider_journey.segments.lease import Lease
from airflow_provider_journey.segments.ledger import Ledger
from airflow_provider_journey.segments.plan import PlanRequest, make_plan
from airflow_provider_journey.segments.store import Store
from tests.clocks import FakeClock
from tests.segment_service import Killed, Service, apply, pairs, rows_of


@pytest.fixture
def ledger(tmp_path):
    return Ledger.at(str(tmp_path / "ledger"))


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def night(ledger, clock):
    """Plan, apply and commit an audience of segment s."""
    service = Service()

    def run(name, contacts, *, fate=lambda call: "done", committing=True, of=ledger, **given):
        rows = RowsAudience([{"external_contact_id": contact} for contact in contacts])
        clock.sleep(3600)
        plan = make_plan(of, name, rows, PlanRequest(["s"], "mirror", **given), clock=clock)
        apply(plan.run, plan.summary, service, fate, clock=clock)
        if committing:
            commit(of, plan.run, plan.summary, clock=clock)
        return plan

    run.service = service
    return run


class ForgetfulFileSystem(fsspec.AbstractFileSystem):
    """Like a store that knows nothing of exclusive creation: it overwrites."""

    protocol = "forgetful"
    cachable = False

    def __init__(self, inner=None, **options):
        super().__init__(**options)
        self.inner = fsspec.filesystem("memory")

    def _open(self, path, mode="rb", **_):
        return self.inner.open("/forgetful/" + path, mode.replace("x", "w"))

    def ls(self, path, detail=True, **_):
        return self.inner.ls("/forgetful/" + path, detail=detail)

    def rm(self, path, recursive=False, maxdepth=None):
        self.inner.rm("/forgetful/" + path, recursive=recursive)

    def info(self, path, **_):
        return self.inner.info("/forgetful/" + path)

    def put_file(self, lpath, rpath, **_):
        self.inner.put_file(lpath, "/forgetful/" + rpath)


class Place:
    """As much of a path as a store asks for."""

    protocol = "forgetful"

    def __init__(self, fs, path):
        self.fs, self.path, self.name = fs, path, path.rpartition("/")[2]

    def __truediv__(self, name):
        return Place(self.fs, f"{self.path}/{name}")

    def __str__(self):
        return f"forgetful://{self.path}"


def test_of_many_who_create_one_object_one_succeeds(tmp_path):
    store = Store.at(str(tmp_path))
    outcomes = []
    barrier = threading.Barrier(8)

    def create(number):
        barrier.wait()
        try:
            store.create_json("heads/1.json", {"by": number})
            outcomes.append(number)
        except FileExistsError:
            pass

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [store.read_json("heads/1.json")["by"]] == outcomes
    assert [each.name for each in (tmp_path / "heads").iterdir()] == ["1.json"]


@pytest.mark.parametrize("kind", ["memory", "forgetful"])
def test_a_store_is_asked_whether_it_can_create_exclusively(kind, request):
    fs = fsspec.filesystem("memory") if kind == "memory" else ForgetfulFileSystem()
    root = Place(fs, f"/{request.node.name}")
    if kind == "memory":
        store = Store(root)
        store.create_json("a.json", {"n": 1})
        with pytest.raises(FileExistsError):
            store.create_json("a.json", {"n": 2})
    else:
        with pytest.raises(StoreError, match=r"single_writer=True allows it"):
            Store(root).create_json("a.json", {"n": 1})
        store = Store(root, single_writer=True)
        store.create_json("a.json", {"n": 1})
        with pytest.raises(FileExistsError):
            store.create_json("a.json", {"n": 2})
    assert store.read_json("a.json") == {"n": 1}
    assert [*store.sizes("")] == ["a.json"]


def test_a_version_holds_the_sorted_pairs_and_counts_them(ledger, night):
    night("one", ["c", "a", "b"])
    plan = night("two", ["a", "d"])
    rows = rows_of(ledger, ledger.head().snapshot)
    assert [(row["external_contact_id"], row["segment_id"], row["state"]) for row in rows] == [
        ("a", "s", "assigned"),
        ("b", "s", "unassigned"),
        ("c", "s", "unassigned"),
        ("d", "s", "assigned"),
    ]
    assert [*rows[0]] == ["external_contact_id", "segment_id", "state", "confirmed_at", "plan_hash"]
    assert rows[3]["plan_hash"] == plan.summary.plan_hash
    assert rows[0]["confirmed_at"] < rows[3]["confirmed_at"]
    head = ledger.head()
    assert (head.version, head.run, head.counts) == (2, "two", {"s": {"assigned": 2, "unassigned": 2}})


def test_the_last_versions_snapshots_and_runs_are_kept(tmp_path, night):
    ledger = Ledger.at(str(tmp_path / "ledger"), keep=2)
    for number in range(4):
        night(f"run{number}", [f"c{number}"], of=ledger)
    assert ledger.versions() == [3, 4]
    assert {name[:8] for name in ledger.store.sizes("snapshots")} == {"00000003", "00000004"}
    assert [run.name for run, _ in ledger.runs()] == ["run2", "run3"]


def test_what_others_put_beside_a_ledgers_objects_is_left_alone(tmp_path, night):
    ledger = Ledger.at(str(tmp_path / "ledger"), keep=1)
    night("one", ["a"], of=ledger)
    strays = [
        tmp_path / "ledger" / name
        for name in ("heads/00000001 (copy).json", "heads/x", "snapshots/note-1.txt")
    ]
    for stray in strays:
        stray.write_text("?")
    night("two", ["a", "b"], of=ledger)
    assert ledger.versions() == [2]
    assert pairs(ledger) == {("a", "s"): "assigned", ("b", "s"): "assigned"}
    assert all(stray.exists() for stray in strays)
    assert len(list((tmp_path / "ledger" / "snapshots").glob("*.parquet"))) == 2


def test_a_run_that_is_in_no_version_is_kept_until_it_is(tmp_path, night):
    ledger = Ledger.at(str(tmp_path / "ledger"), keep=1)
    night("died", ["a"], of=ledger, committing=False)
    night("next", ["a", "b"], of=ledger)
    assert pairs(ledger) == {("a", "s"): "assigned", ("b", "s"): "assigned"}
    assert [run.name for run, _ in ledger.runs()] == ["next"]


def test_a_journal_that_is_in_no_version_is_not_pruned(tmp_path, night):
    ledger = Ledger.at(str(tmp_path / "ledger"), keep=1)
    night("one", ["a"], of=ledger)
    night("two", ["a", "b"], of=ledger, committing=False)
    night("three", ["a"], of=ledger, committing=False)
    head = ledger.head()
    files = ledger.store.fetch([head.snapshot, head.pending], tmp_path)
    ledger.publish(replace(head, version=2), *files)
    assert [run.name for run, _ in ledger.runs()] == ["two", "three"]


def test_a_number_given_away_and_pruned_is_not_given_again(tmp_path, night):
    ledger = Ledger.at(str(tmp_path / "ledger"), keep=1)
    for name in ("one", "two"):
        night(name, [name], of=ledger)
    head = ledger.head()
    files = ledger.store.fetch([head.snapshot, head.pending], tmp_path)
    with pytest.raises(FileExistsError):
        ledger.publish(replace(head, version=1), *files)
    assert ledger.versions() == [2]


@pytest.mark.parametrize(("pause", "known"), [(300, "unassigned"), (5, "unknown")])
def test_a_run_that_outlived_its_lease_does_not_bring_back_what_was_changed_since(
    ledger, clock, pause, known
):
    service = Service()

    def plan(name, contacts):
        rows = RowsAudience([{"external_contact_id": contact} for contact in contacts])
        clock.sleep(pause)
        return make_plan(ledger, name, rows, PlanRequest(["s"], "mirror"), clock=clock)

    slow = plan("slow", ["a", "b"])
    apply(slow.run, slow.summary, service, clock=clock, max_calls=1)
    quick = plan("quick", ["c"])
    clock.sleep(pause)
    apply(quick.run, quick.summary, service, clock=clock)
    commit(ledger, quick.run, quick.summary, clock=clock)
    assert pairs(ledger) == {("a", "s"): "unassigned", ("c", "s"): "assigned"}
    clock.sleep(pause)
    apply(slow.run, slow.summary, service, clock=clock)
    commit(ledger, slow.run, slow.summary, clock=clock)
    assert service.assigned == {("b", "s"), ("c", "s")}
    assert pairs(ledger) == {("a", "s"): known, ("b", "s"): "assigned", ("c", "s"): "assigned"}


def test_two_runs_that_commit_at_the_same_time_both_get_in(ledger, night, clock, monkeypatch):
    one = night("one", ["a"], committing=False)
    two = night("two", ["a", "b"], committing=False)
    publish = Ledger.publish

    def late(self, head, snapshot, pending):
        monkeypatch.setattr(Ledger, "publish", publish)
        commit(ledger, two.run, two.summary, clock=clock)
        return publish(self, head, snapshot, pending)

    monkeypatch.setattr(Ledger, "publish", late)
    committed = commit(ledger, one.run, one.summary, clock=clock)
    assert (committed.done, committed.to_do) == (1, 0)
    assert pairs(ledger) == {("a", "s"): "assigned", ("b", "s"): "assigned"}
    assert len([*ledger.store.sizes("snapshots")]) == 2 * len(ledger.versions())


def test_apply_refuses_a_ledger_that_another_run_moved(ledger, night, clock):
    night("one", ["a"])
    waiting = make_plan(
        ledger,
        "waiting",
        RowsAudience([{"external_contact_id": "b"}]),
        PlanRequest(["s"], "upsert"),
        clock=clock,
    )
    ledger.check_base(waiting.summary)
    apply(waiting.run, waiting.summary, Service(), max_calls=0, clock=clock)
    commit(ledger, waiting.run, waiting.summary, clock=clock)
    ledger.check_base(waiting.summary)  # its own commit is no obstacle to going on
    night("two", ["a"])
    with pytest.raises(LedgerMovedError, match=r"version 3 by two; .* from version 1\. Nothing was sent"):
        ledger.check_base(waiting.summary)


def test_a_plan_that_was_changed_is_not_applied(ledger, night, clock):
    plan = night("one", ["a", "b"])
    night("two", ["c"])
    other = next(run for run, _ in ledger.runs() if run.name == "two")
    [file] = ledger.store.fetch([other.plan], Path())
    ledger.store.put(file, plan.run.plan)
    with pytest.raises(PlanMismatchError, match="hash"):
        apply(plan.run, plan.summary, Service(), clock=clock)
    ledger.store.delete(plan.run.summary)
    with pytest.raises(PlanMismatchError, match="no plan"):
        apply(plan.run, plan.summary, Service(), clock=clock)


def test_a_lease_is_for_one_run_at_a_time(ledger):
    clock = FakeClock()
    mine, other = (
        Lease(ledger.store, owner, duration=timedelta(minutes=10), clock=clock) for owner in ("mine", "other")
    )
    mine.acquire()
    clock.sleep(300)
    mine.acquire()  # a retry of the same run
    with pytest.raises(LeaseError, match=r"mine has been at work on .* since 2026-09-21T14:30:00"):
        other.acquire()
    clock.sleep(550)
    mine.renew()
    clock.sleep(550)
    with pytest.raises(LeaseError):
        other.acquire()
    clock.sleep(100)
    other.acquire()  # expired
    with pytest.raises(LeaseError, match="mine has lost its lease .* other holds it"):
        mine.renew()
    mine.release()  # not its own any more
    with pytest.raises(LeaseError):
        mine.acquire()
    other.release()
    mine.acquire()


def test_a_run_that_is_killed_behind_its_version_has_its_table_of_rejects(ledger, night, monkeypatch):
    plan = night("run", ["a", "b"], fate=lambda call: "rejected", committing=False)
    publish = Ledger.publish

    def publish_and_die(*args):
        publish(*args)
        raise Killed

    monkeypatch.setattr(Ledger, "publish", publish_and_die)
    with pytest.raises(Killed):
        commit(ledger, plan.run, plan.summary)
    assert ledger.head().version == 1
    assert len(rows_of(ledger, plan.run.rejects)) == 2


def test_what_was_refused_is_sent_again_until_it_is_given_up(ledger, night):
    for number in range(3):
        plan = night(f"run{number}", ["a", "b"], fate=lambda call: "rejected", give_up_after=3)
        assert plan.summary.calls == 2
        [reject, _] = rows_of(ledger, plan.run.rejects)
        assert (reject["external_contact_id"], reject["status"], reject["code"]) == ("a", 404, "some.code")
        assert (reject["action"], reject["attempts"], bool(reject["noted_at"])) == ("assign", 1, True)
    assert plan.summary.reasons == {"refused_before": 2}
    summary = night("after", ["a"], give_up_after=3).summary
    assert (summary.calls, summary.given_up, summary.pairs, summary.unchanged) == (0, 1, 1, 0)
    # The audience said otherwise of b, which begins anew.
    summary = night("again", ["a", "b"], give_up_after=3).summary
    assert (summary.given_up, summary.reasons) == (1, {"new": 1})


def test_thresholds_count_what_was_sent():
    check_thresholds(Committed(1, done=99, rejected=1, unsent=1000))
    with pytest.raises(
        ThresholdError, match=r"2 of 101 changes were rejected, more than max_reject_fraction=0\.01"
    ):
        check_thresholds(Committed(1, done=99, rejected=2, unsent=1000))
    with pytest.raises(ThresholdError, match="max_rejects=0"):
        check_thresholds(Committed(1, done=99, rejected=1), max_rejects=0)
    check_thresholds(Committed(1))


def test_the_terminal_shows_imports_and_forgets(ledger, night, tmp_path, capsys):
    path = str(tmp_path / "ledger")
    assert main(["ledger", "show", path]) == 0
    assert "no version yet" in capsys.readouterr().out
    night(
        "one", ["ann", "bob"], fate=lambda call: "rejected" if call.external_contact_id == "ann" else "done"
    )
    members = tmp_path / "members.csv"
    members.write_text("external_contact_id\nann\ncy\nbob\nno id\n")
    assert main(["ledger", "import", path, str(members), "--segment", "s"]) == 0
    out = capsys.readouterr().out
    assert "version 2: 2 members imported of 4 rows; 1 were known, 1 are invalid" in out
    assert pairs(ledger) == {("ann", "s"): "assigned", ("bob", "s"): "assigned", ("cy", "s"): "assigned"}
    assert rows_of(ledger, ledger.head().pending) == []
    assert main(["ledger", "show", path, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["version"], shown["segments"]) == (2, {"s": {"assigned": 3}})
    assert [(run["run"], run["state"]) for run in shown["runs"]] == [("one", "committed")]
    # Members taken over are known from then on: a mirror takes away who is not in its audience.
    assert night("two", ["bob"]).summary.reasons == {"left": 2}

    assert main(["ledger", "forget", path, "--contact", "ann"]) == 0
    assert "ann" not in str([rows_of(ledger, name) for name in _parquets(tmp_path, ledger)])
    assert pairs(ledger) == {("bob", "s"): "assigned", ("cy", "s"): "unassigned"}
    assert ledger.head().counts == {"s": {"assigned": 1, "unassigned": 1}}

    Lease(ledger.store, "a running night").acquire()
    assert main(["ledger", "forget", path, "--contact", "bob"]) == 1
    assert "a running night has been at work" in capsys.readouterr().err


def test_to_forget_a_person_leaves_what_is_in_doubt_of_others_in_doubt(ledger, night, tmp_path):
    everybody = [f"c{number:04}" for number in range(2020)]
    with pytest.raises(Killed):
        night("died", everybody, fate=lambda call: "killed" if call.number == 1916 else "done")
    # As many calls as this plan had are claimed in larger blocks than one call less.
    assert main(["ledger", "forget", str(tmp_path / "ledger"), "--contact", everybody[-1]]) == 0
    assert everybody[1916] in {who for who, _ in night.service.assigned}
    night("next", everybody[:1916])
    assert {who for who, _ in night.service.assigned} == set(everybody[:1916])


@pytest.mark.parametrize(
    ("members", "segments", "complaint"),
    [
        ("ann\n", ["s", "s"], "ValueError: segment_ids names a segment twice"),
        ("ann\n", ["s 1"], "ValueError: 's 1' is no segment's id"),
        ("no id\n,\n", ["s"], "none of 2 rows names a member. 1 times external_contact_id is"),
        ("", ["s"], "AudienceError: none of 0 rows names a member."),
    ],
)
def test_the_terminal_imports_nothing_by_mistake(ledger, tmp_path, capsys, members, segments, complaint):
    file = tmp_path / "members.csv"
    file.write_text(f"external_contact_id,x\n{members}")
    named = [f"--segment={each}" for each in segments]
    assert main(["ledger", "import", str(tmp_path / "ledger"), str(file), *named]) == 1
    assert complaint in capsys.readouterr().err
    assert ledger.versions() == []


def test_the_terminal_removes_nothing_that_a_dag_keeps(tmp_path, night, ledger):
    ledger.keep = 10
    for number in range(9):
        night(f"night-{number}", [f"c{number}"])
    (tmp_path / "members.csv").write_text("external_contact_id\nann\n")
    path = str(tmp_path / "ledger")
    assert main(["ledger", "import", path, str(tmp_path / "members.csv"), "--segment", "s"]) == 0
    assert (len(ledger.versions()), len(ledger.runs())) == (10, 9)
    assert main(["ledger", "forget", path, "--contact", " ann "]) == 0
    assert ("ann", "s") not in pairs(ledger)


def test_ids_are_in_parquet_alone(ledger, night, tmp_path):
    contacts = ["ann-the-contact", "bob-the-contact"]
    night("one", contacts, fate=lambda call: "rejected")
    night("two", contacts)
    texts = [path for path in (tmp_path / "ledger").rglob("*.json*") if path.is_file()]
    assert len(texts) > 6
    assert not [path for path in texts if "the-contact" in path.read_text()]


def _parquets(tmp_path, ledger):
    root = tmp_path / "ledger"
    return [str(path.relative_to(root)) for path in root.rglob("*.parquet")]
