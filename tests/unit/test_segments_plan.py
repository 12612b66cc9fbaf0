"""What is planned for which pair, and why; and what a plan may not do."""

from __future__ import annotations

import contextlib
import itertools
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from airflow_provider_journey.segments import difference
from airflow_provider_journey.segments.audience import RowsAudience
from airflow_provider_journey.segments.commit import Committed, check_thresholds, commit
from airflow_provider_journey.segments.errors import GuardError
from airflow_provider_journey.segments.guards import check_guards
from airflow_provider_journey.segments.ledger import Ledger
from airflow_provider_journey.segments.plan import PlanRequest, make_plan
from airflow_provider_journey.segments.summary import PlanSummary
from airflow_provider_journey.segments.verification import plan_hash
from tests.clocks import FakeClock
from tests.segment_service import Killed, Service, apply, pairs, rows_of


class Sync:
    def __init__(self, folder):
        self.ledger = Ledger.at(str(folder))
        self.service = Service()
        self.clock = FakeClock()
        self.numbers = itertools.count()

    def plan(self, said, mode="mirror", segments=("s",), **given):
        rows = [
            {
                "external_contact_id": pair[0],
                "segment_id": (*pair, "s")[1],
                "state": (*pair, "s", "Assigned")[2],
            }
            for pair in (each.split() for each in said)
        ]
        request = PlanRequest(list(segments), mode, **given)
        return make_plan(
            self.ledger, f"run{next(self.numbers)}", RowsAudience(rows), request, clock=self.clock
        )

    def run(self, said, mode="mirror", fates=None, segments=("s",), committing=True, **given):
        plan = self.plan(said, mode, segments, **given)
        with contextlib.suppress(Killed):
            apply(
                plan.run,
                plan.summary,
                self.service,
                lambda call: (fates or {}).get(call.external_contact_id, "done"),
                clock=self.clock,
            )
        if committing:
            commit(self.ledger, plan.run, plan.summary, clock=self.clock)
        return plan

    def lines(self, plan):
        return {
            f"{row['external_contact_id']} {row['segment_id']}": f"{row['action']} {row['reason']}"
            for row in rows_of(self.ledger, plan.run.plan)
        }


@pytest.fixture
def sync(tmp_path):
    return Sync(tmp_path / "ledger")


def test_a_mirror_sends_the_difference_and_nothing_else(sync):
    sync.run(["stays", "goes", "back", "stays t", "goes u"], segments="stu")
    sync.run(["stays", "goes", "stays t"], segments="stu")
    plan = sync.plan(["stays", "new", "back", "stays t", "new t"], segments="st")
    assert sync.lines(plan) == {
        "goes s": "unassign left",
        "new s": "assign new",
        "new t": "assign new",
        "back s": "assign returned",
    }
    summary = plan.summary
    assert (summary.assign, summary.unassign, summary.renew, summary.unchanged) == (3, 1, 0, 2)
    assert (summary.untouched, summary.pairs, summary.calls, summary.seconds) == (1, 5, 3, 0.6)
    assert summary.segments["t"] == {
        "members": 1,
        "pairs": 2,
        "assign": 1,
        "unassign": 0,
        "unassign_members": 0,
        "renew": 0,
        "unchanged": 1,
        "given_up": 0,
    }


def test_an_upsert_takes_nothing_away(sync):
    sync.run(["a", "b"])
    assert sync.lines(sync.plan(["c"], "upsert")) == {"c s": "assign new"}


def test_changes_do_what_each_row_says(sync):
    sync.run(["a s Assigned", "b s Assigned", "x s Unassigned"], "changes")
    assert sync.service.assigned == {("a", "s"), ("b", "s")}
    plan = sync.plan(["a s Unassigned", "b s Assigned", "c s Assigned", "x s Unassigned"], "changes")
    assert sync.lines(plan) == {"a s": "unassign left", "c s": "assign new"}
    assert plan.summary.unchanged == 2


@pytest.mark.parametrize("mode", ["mirror", "upsert", "changes"])
def test_what_would_expire_is_renewed(sync, mode):
    sync.run(["old", "gone"])
    sync.clock.sleep(3 * 86400)
    sync.run(["old", "gone", "young"], mode)
    sync.clock.sleep(3600)
    plan = sync.plan(["young s Assigned"], mode, renew_after=timedelta(days=2))
    expected = {"old s": "assign renew", "gone s": "assign renew"}
    if mode == "mirror":
        expected = {"old s": "unassign left", "gone s": "unassign left"}
    assert sync.lines(plan) == expected
    assert plan.summary.renew == (0 if mode == "mirror" else 2)
    everything = sync.run(
        ["old s Assigned", "gone s Assigned", "young s Assigned"], mode, renew_after=timedelta(0)
    )
    assert everything.summary.renew == 3
    assert sync.plan(["old", "gone", "young"], mode, renew_after=timedelta(days=2)).summary.changes == 0


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        # A mirror takes away whom it does not name, if there is a chance that they are in.
        ("mirror", {"lost s": "unassign unknown"}),
        # Elsewhere what was wanted is sent again.
        (
            "upsert",
            {"lost s": "assign unknown", "no s": "assign refused_before", "err s": "assign unfinished"},
        ),
        (
            "changes",
            {"lost s": "assign unknown", "no s": "assign refused_before", "err s": "assign unfinished"},
        ),
    ],
)
def test_what_was_left_open_and_is_not_named_again(sync, mode, expected):
    fates = {"lost": "lost", "no": "rejected", "err": "failed"}
    sync.run(["lost s Assigned", "no s Assigned", "err s Assigned", "ok s Assigned"], mode, fates)
    audience = ["ok s Assigned"]
    plan = sync.run(audience, mode)
    assert sync.lines(plan) == expected
    assert (plan.summary.carried_forward, plan.summary.unknown) == (len(expected), 1)
    assert sync.plan(audience, mode).summary.changes == 0


def test_the_audience_comes_before_what_was_left_open(sync):
    sync.run(["lost s Assigned", "no s Assigned"], "changes", {"lost": "lost", "no": "rejected"})
    plan = sync.run(["lost s Unassigned", "no s Unassigned"], "changes")
    assert sync.lines(plan) == {"lost s": "unassign unknown", "no s": "unassign left"}
    assert sync.service.assigned == set()


@pytest.mark.parametrize("mode", ["upsert", "changes"])
def test_what_is_given_up_stays_so_while_it_is_named(sync, mode):
    for _ in range(2):
        sync.run(["a s Assigned"], mode, {"a": "rejected"}, give_up_after=2)
    for _ in range(2):
        summary = sync.run(["a s Assigned"], mode, give_up_after=2).summary
        assert (summary.given_up, summary.changes) == (1, 0)
    sync.run(["b s Assigned"], mode, give_up_after=2)
    assert sync.lines(sync.plan(["a s Assigned"], mode, give_up_after=2)) == {"a s": "assign new"}


def test_duplicates_of_what_is_in_order_are_told_as_well(sync):
    sync.run(["a"])
    summary = sync.plan(["a", "a", "a"]).summary
    assert (summary.rows, summary.duplicates, summary.unchanged, summary.changes) == (3, 2, 1, 0)


@pytest.mark.parametrize("committing", [False, True])
def test_a_killed_run_is_folded_in(sync, committing):
    said = [f"c{number}" for number in range(9)]
    sync.run(said, fates={"c4": "killed"}, committing=committing)
    assert ("c4", "s") in sync.service.assigned
    plan = sync.plan(said[:3])
    lines = sync.lines(plan)
    # Of the block that was begun, what came after the kill is in doubt as well.
    assert lines == {"c3 s": "unassign left"} | {f"c{n} s": "unassign unknown" for n in range(4, 9)}
    apply(plan.run, plan.summary, sync.service, clock=sync.clock)
    commit(sync.ledger, plan.run, plan.summary, clock=sync.clock)
    assert sync.service.assigned == {(contact, "s") for contact in said[:3]}
    assert {
        pair for pair, state in pairs(sync.ledger).items() if state == "assigned"
    } == sync.service.assigned


def test_a_second_plan_of_a_run_whose_calls_were_begun_has_its_own_folder(sync):
    first = sync.plan(["a"])
    sync.numbers = itertools.count()
    again = sync.plan(["a", "b"])
    assert again.run == first.run
    apply(again.run, again.summary, sync.service, clock=sync.clock)
    sync.numbers = itertools.count()
    other = sync.plan(["a", "b", "c"])
    assert other.run != first.run
    assert sync.lines(other) == {"c s": "assign new"}


def test_a_contacts_changes_share_calls_of_ten(sync):
    segments = [f"s{number:02}" for number in range(23)]
    plan = sync.plan([f"{contact} {segment}" for contact in "ab" for segment in segments], segments=segments)
    assert plan.summary.calls == 6
    sizes = {}
    for row in rows_of(sync.ledger, plan.run.plan):
        sizes.setdefault((row["call"], row["external_contact_id"]), []).append(row["segment_id"])
    assert [(*key, len(found)) for key, found in sorted(sizes.items())] == [
        (0, "a", 10), (1, "a", 10), (2, "a", 3), (3, "b", 10), (4, "b", 10), (5, "b", 3),
    ]  # fmt: skip


def test_the_hash_is_over_the_content_alone(sync, tmp_path):
    said = [f"c{number}" for number in range(2500)]
    one, two = (sync.plan(rows) for rows in (said, said[::-1]))
    assert one.summary.plan_hash == two.summary.plan_hash
    hashes = {one.summary.plan_hash, sync.plan(said[1:]).summary.plan_hash}
    hashes.add(sync.plan(said, "upsert").summary.plan_hash)
    hashes.add(sync.plan(said, segments=["s", "t"]).summary.plan_hash)
    [file] = sync.ledger.store.fetch([one.run.plan], Path())
    for number, change in enumerate(
        ("* REPLACE ('unassign' AS action)", "* REPLACE (call + 1 AS call)", "* REPLACE ('x' AS reason)")
    ):
        changed = tmp_path / f"{number}.parquet"
        duckdb.read_parquet(str(file)).project(change).write_parquet(str(changed))
        hashes.add(plan_hash(duckdb.connect(), changed, "mirror", ["s"], 0))
    hashes.add(plan_hash(duckdb.connect(), file, "mirror", ["s"], 1))
    assert len(hashes) == 8


def test_a_summary_goes_through_json_and_back(sync):
    summary = sync.plan(["a", "b"]).summary
    assert PlanSummary.from_dict(summary.to_dict()) == summary
    assert sync.ledger.store.read_json("runs/run0/summary.json") == summary.to_dict()


def test_an_empty_audience_needs_to_be_allowed(sync):
    sync.run(["a"])
    plan = sync.plan([])
    with pytest.raises(
        GuardError, match=r"The audience is empty: 0 rows, 0 of them invalid\. allow_empty"
    ) as caught:
        check_guards(plan, max_unassign_fraction=1)
    assert caught.value.parameter == "allow_empty"
    check_guards(plan, allow_empty=True, max_unassign_fraction=1)


def test_taking_away_much_needs_to_be_allowed(sync):
    everybody = [f"c{number}" for number in range(10)]
    sync.run(everybody)
    check_guards(sync.plan(everybody[:8]))
    plan = sync.plan(everybody[:7])
    with pytest.raises(
        GuardError, match=r"3 of the 10 known members of s: more than 20%\. max_unassign_fraction allows it"
    ):
        check_guards(plan)
    check_guards(plan, max_unassign_fraction=0.3)
    with pytest.raises(GuardError, match=r"more than 0\.5%\."):
        check_guards(plan, max_unassign_fraction=0.005)


def test_as_much_as_is_allowed_is_not_too_much(sync):
    everybody = [f"c{number}" for number in range(100)]
    sync.run(everybody)
    check_guards(sync.plan(everybody[29:]), max_unassign_fraction=0.29)
    check_thresholds(Committed(1, done=71, rejected=29), max_reject_fraction=0.29)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"segment_ids": []}, "at least one"),
        ({"segment_ids": "s"}, "list"),
        ({"segment_ids": ["s", "s"]}, "twice"),
        ({"segment_ids": ["a b"]}, "no segment"),
        ({"mode": "merge"}, "changes, upsert, mirror"),
        ({"renew_after": timedelta(-1)}, "renew_after"),
        ({"give_up_after": 0}, "give_up_after"),
    ],
)
def test_what_cannot_be_asked_for(wrong, says):
    with pytest.raises(ValueError, match=says):
        PlanRequest(**({"segment_ids": ["s"], "mode": "mirror"} | wrong))


def test_a_difference_too_large_for_one_go_is_found_in_parts(sync, monkeypatch):
    people = [f"c{number}" for number in range(200)]
    sync.run([f"{who} {name}" for who in people for name in ("s", "t")], segments=("s", "t"))
    # Some leave, some come, one is named twice, one row has a number for a contact and one no listed segment.
    said = [f"{who} {name}" for who in (*people[50:], "new1", "new2") for name in ("s", "t")]
    said += ["c60 s", "+4930123456789 s", "c61 other"]
    whole = sync.plan(said, segments=("s", "t"))
    monkeypatch.setattr(difference, "ROWS_AT_ONCE", 50)
    parts = sync.plan(said, segments=("s", "t"))
    assert parts.summary.plan_hash == whole.summary.plan_hash
    assert parts.offenders == whole.offenders
    assert (parts.summary.assign, parts.summary.unassign, parts.summary.invalid) == (4, 100, 2)
    assert parts.summary.duplicates == whole.summary.duplicates == 1
