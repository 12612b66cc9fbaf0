"""The governor's own code against a simulated service: what is promised of pacing, in every setting."""

import itertools

import pytest

from tests.pacing_simulation import Case, Simulation, simulate

SERVICES = list(itertools.product(("up", "down", "nearest"), (False, True)))
PROMISED = list(itertools.product((0.005, 0.05, 0.2), (1, 4), (1, 8, 32), (0.0, 0.3)))


def promised(index, latency, tasks, in_flight, foreign):
    """Give each cell one kind of service in turn; the benchmark crosses them all."""
    rounding, aligned = SERVICES[index * 5 % len(SERVICES)]
    return Case(latency, tasks, in_flight, foreign, rounding, aligned, seed=index)


@pytest.mark.parametrize("case", [promised(index, *cell) for index, cell in enumerate(PROMISED)], ids=repr)
def test_twenty_windows_take_their_time_and_no_more(case):
    outcome = simulate(case)
    assert outcome.stretch <= 1.03
    assert outcome.refused_share <= 0.001


@pytest.mark.parametrize(("rounding", "aligned"), SERVICES)
def test_wrong_guess_costs_a_call_at_the_start_and_not_in_each_window(rounding, aligned):
    outcome = simulate(Case(tasks=1, rounding=rounding, aligned=aligned, windows=60))
    assert outcome.refused <= 1
    assert outcome.stretch <= 1.03


@pytest.mark.parametrize("aligned", [False, True])
def test_tasks_share_a_quota_evenly(aligned):
    case = Case(tasks=4, in_flight=8, windows=10, aligned=aligned)
    outcome = simulate(case)
    assert min(outcome.ended) > 0.8 * outcome.seconds


def test_quota_of_its_own_is_used_in_full_by_each_task():
    outcome = simulate(Case(tasks=4, shared=False, windows=5, rounding="up"))
    assert outcome.refused == 0
    assert outcome.stretch <= 1.03
    assert outcome.counts == [300] * len(outcome.counts)
    assert len(outcome.counts) == 4 * 4


@pytest.mark.parametrize(("tasks", "foreign"), [(1, 0.0), (4, 0.0), (1, 0.2)])
def test_nobody_goes_beyond_the_share(tasks, foreign):
    outcome = simulate(Case(tasks=tasks, foreign=foreign, share=0.5, windows=5))
    assert outcome.refused == 0
    assert outcome.highest <= 150


@pytest.mark.parametrize("tasks", [1, 4])
def test_limit_that_falls_in_mid_run_is_kept(tasks):
    simulation = Simulation(Case(tasks=tasks, windows=10))
    simulation.at(90.0, lambda: setattr(simulation.services[0], "allowed", 180))
    outcome = simulation.run()
    assert outcome.refused <= tasks
    assert outcome.seconds > 60 * (2 + (3000 - 600) / 180 - 1), (
        "the lower limit is what it was simulated with"
    )
    assert outcome.seconds < 60 * (2 + (3000 - 600) / 180 + 1) * 1.03


def test_waiting_costs_little():
    assert simulate(Case(tasks=4, in_flight=32, windows=5)).asked < 15 * 1500
