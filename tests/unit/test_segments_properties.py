"""Whatever audiences, refusals, kills and races come: ledger and service agree, and nothing is lost."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass
from datetime import timedelta
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_journey.segments.audience import RowsAudience
from airflow_provider_journey.segments.commit import Committed, commit
from airflow_provider_journey.segments.ledger import Ledger
from airflow_provider_journey.segments.plan import Plan, PlanRequest, make_plan
from tests.clocks import FakeClock
from tests.segment_service import FATES, Killed, Service, apply, pairs, rows_of

SEGMENTS = [f"s{number:02}" for number in range(12)]
CONTACTS = ["ann", "bob", "cy", "di"]
PAIR = st.tuples(st.sampled_from(CONTACTS), st.sampled_from(SEGMENTS))
FEW = settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@dataclass
class Night:
    mode: str
    listed: list[str]
    said: dict[tuple[str, str], bool]
    fates: list[str]
    committed: bool
    renewed: bool
    flush_every: int


NIGHTS = st.builds(
    Night,
    mode=st.sampled_from(["mirror", "upsert", "changes"]),
    listed=st.sampled_from([SEGMENTS, SEGMENTS[:1], SEGMENTS[3:8]]),
    said=st.dictionaries(PAIR, st.booleans(), max_size=30),
    fates=st.lists(st.sampled_from(FATES), min_size=1, max_size=6),
    committed=st.booleans(),
    renewed=st.booleans(),
    flush_every=st.sampled_from([1, 3]),
)


class World:
    def __init__(self, folder: str) -> None:
        self.ledger = Ledger.at(folder)
        self.service = Service()
        self.clock = FakeClock()
        self.count = itertools.count()

    def plan(self, night: Night) -> Plan:
        rows = [
            {
                "external_contact_id": contact,
                "segment_id": segment,
                "state": "Assigned" if on else "Unassigned",
            }
            for (contact, segment), on in night.said.items()
            if on or night.mode == "changes"
        ]
        request = PlanRequest(
            night.listed, night.mode, timedelta(0) if night.renewed else None, give_up_after=100
        )
        return make_plan(self.ledger, f"run{next(self.count)}", RowsAudience(rows), request, clock=self.clock)

    def apply(self, plan: Plan, night: Night) -> None:
        fates = itertools.cycle(night.fates)
        with contextlib.suppress(Killed):
            apply(
                plan.run,
                plan.summary,
                self.service,
                lambda call: next(fates),
                clock=self.clock,
                flush_every=night.flush_every,
            )

    def commit(self, plan: Plan) -> Committed:
        return commit(self.ledger, plan.run, plan.summary, clock=self.clock)

    def agree(self) -> None:
        known = pairs(self.ledger)
        for pair, state in known.items():
            assert state == "unknown" or (state == "assigned") == (pair in self.service.assigned), (
                pair,
                state,
            )
        assert self.service.assigned <= known.keys()


def check_plan(world: World, plan: Plan, before: dict[tuple[str, str], str]) -> None:
    summary = plan.summary
    lines = rows_of(world.ledger, plan.run.plan)
    planned = {(line["external_contact_id"], line["segment_id"]) for line in lines}
    assert len(planned) == len(lines) == summary.changes
    doubtful = {
        pair for pair, state in before.items() if state == "unknown" and pair[1] in summary.segment_ids
    }
    assert doubtful <= planned
    assert summary.rows == summary.invalid + summary.duplicates + summary.pairs
    fewest = sum(-(-len(list(group)) // 10) for _, group in itertools.groupby(sorted(p[0] for p in planned)))
    assert summary.calls == fewest
    assert {line["call"] for line in lines} == set(range(fewest))


@FEW
@given(st.lists(NIGHTS, min_size=1, max_size=4), st.dictionaries(PAIR, st.just(True), max_size=30))
def test_after_any_nights_a_mirror_ends_with_exactly_its_audience(nights, audience):
    with TemporaryDirectory() as folder:
        world = World(folder)
        before = {}
        for night in nights:
            plan = world.plan(night)
            check_plan(world, plan, before)
            world.apply(plan, night)
            if night.committed:
                result = world.commit(plan)
                assert result.done + result.rejected + result.to_do == plan.summary.changes
                world.agree()
            # What an uncommitted journal settles is in doubt no more, but no version says so.
            before = pairs(world.ledger) if night.committed else {}
        last = Night("mirror", SEGMENTS, audience, ["done"], True, False, 1)
        plan = world.plan(last)
        world.apply(plan, last)
        world.commit(plan)
        world.agree()
        assert world.service.assigned == audience.keys()
        assert world.plan(last).summary.changes == 0


@FEW
@given(NIGHTS, NIGHTS, st.sampled_from([0, 5, 300]), st.booleans())
def test_a_run_that_outlives_its_lease_loses_nothing_that_was_confirmed(
    first, second, pause, committed_first
):
    with TemporaryDirectory() as folder:
        world = World(folder)
        slow, quick = world.plan(first), None
        world.apply(slow, first)
        world.clock.sleep(pause)
        quick = world.plan(second)
        if committed_first:
            world.apply(quick, second)
            world.commit(quick)
            world.clock.sleep(pause)
        # The first goes on where it was, as if it had never lost its lease.
        world.apply(slow, Night("", [], {}, ["done"], True, False, 1))
        world.clock.sleep(pause)
        if not committed_first:
            world.commit(slow)
            world.apply(quick, second)
        world.commit(slow if committed_first else quick)
        world.agree()
        version = world.ledger.head().version
        world.commit(slow)
        world.commit(quick)
        assert world.ledger.head().version == version
        world.agree()
