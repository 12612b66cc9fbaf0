"""A rate-limited service and tasks that call it, in simulated time: what paces them is the governor's own code.

Every task is a process of its own: a governor which learns only from its own answers, and a number of workers
which each send, wait for the answer and send again. Others may use the same quota: they come at random, and whom
the service refuses comes again after its Retry-After, so that they get their part in every window.
"""

import heapq
import math
import random
from dataclasses import dataclass, field

from airflow_provider_journey.api.pacing import Governor, Standing

ROUNDINGS = {"up": math.ceil, "down": math.floor, "nearest": lambda seconds: math.floor(seconds + 0.5)}


@dataclass(frozen=True)
class Case:
    """What is simulated.

    :param latency: seconds from a call to its answer, on average; a single one takes 0.7 to 1.3 of it.
    :param tasks: how many processes.
    :param in_flight: how many calls each has on its way at most.
    :param foreign: share of the quota that others ask for.
    :param rounding: what the service does to seconds left: ``up``, ``down`` or ``nearest``.
    :param aligned: whether windows follow the clock; otherwise each begins with the first call in it.
    :param shared: whether the tasks share one quota; otherwise each has its own.
    """

    latency: float = 0.05
    tasks: int = 1
    in_flight: int = 8
    foreign: float = 0.0
    rounding: str = "up"
    aligned: bool = False
    shared: bool = True
    allowed: int = 300
    length: float = 60.0
    windows: int = 20
    share: float = 1.0
    seed: int = 1

    @property
    def calls(self) -> int:
        """How many calls the tasks make together: what the windows hold beside the others' calls."""
        quotas = 1 if self.shared else self.tasks
        per_window = min(1 - self.foreign, self.share - self.foreign)
        return round(self.windows * self.allowed * per_window * quotas / self.tasks) * self.tasks


@dataclass
class Outcome:
    """What came of it.

    :param seconds: from the start to the last answer.
    :param ended: when each task had its last answer.
    :param refused: calls of ours that were answered 429.
    :param asked: how often the governors were asked for a place.
    :param counts: calls served in each window that is over, everybody's.
    :param used: share of the quota that was used, by anybody, from the second window's beginning to the last's.
    :param highest: the highest count that one of our calls was told.
    """

    case: Case
    seconds: float = 0.0
    ended: list[float] = field(default_factory=list)
    refused: int = 0
    asked: int = 0
    counts: list[int] = field(default_factory=list)
    used: float = 0.0
    highest: int = 0

    @property
    def stretch(self) -> float:
        """Time taken as a multiple of windows x length."""
        return self.seconds / (self.case.windows * self.case.length)

    @property
    def refused_share(self) -> float:
        """Share of our calls that were answered 429."""
        return self.refused / (self.case.calls + self.refused)


class Service:
    """Counts calls in windows and tells, in whole seconds, where the caller stands."""

    def __init__(self, case, phase=0.0):
        self.allowed = case.allowed
        self.begins = []
        self.counts = []
        self._case = case
        self._phase = phase
        self._round = ROUNDINGS[case.rounding]
        self._count = 0
        self._ends = -math.inf

    @property
    def used(self):
        """Share of the quota that was used from the second window's beginning to the last's."""
        windows = (self.begins[-1] - self.begins[1]) / self._case.length
        return sum(self.counts[1:]) / (self.allowed * windows)

    def call(self, now):
        """Return whether the call is served, and the standing its answer tells."""
        if now >= self._ends:
            length = self._case.length
            if self.begins:
                self.counts.append(self._count)
            elapsed = (now - self._phase) % length if self._case.aligned else 0.0
            self.begins.append(now - elapsed)
            self._ends, self._count = now - elapsed + length, 0
        served = self._count < self.allowed
        self._count += served
        return served, Standing(self._count, self.allowed, self._round(round(self._ends - now, 3)))


class Simulation:
    """Runs one case; the events are (moment, number, what happens, with what)."""

    def __init__(self, case, governor=Governor):
        self.case = case
        self.outcome = Outcome(case)
        self.now = 0.0
        self.chance = random.Random(repr(case))
        self._events = []
        self._number = 0
        phase = self.chance.uniform(0, case.length)
        self.services = [Service(case, phase) for _ in range(1 if case.shared else case.tasks)]
        self._tasks = [Task(self, index, governor(case.share)) for index in range(case.tasks)]
        if case.foreign:
            # They were there before: our first call meets a window that others began.
            self.at(-case.length, self._foreigner_arrives)

    def at(self, moment, event, *arguments):
        self._number += 1
        heapq.heappush(self._events, (moment, self._number, event, arguments))

    def run(self):
        while any(task.unanswered for task in self._tasks):
            self.now, _, event, arguments = heapq.heappop(self._events)
            event(*arguments)
        self.outcome.seconds = self.now
        self.outcome.counts = [count for service in self.services for count in service.counts]
        self.outcome.used = min(service.used for service in self.services)
        return self.outcome

    def comes_again_after(self, asked):
        """Return when a refused call is sent again: after what was asked and jitter, as retrying has it."""
        return asked + self.chance.uniform(0.1, 1.0 + asked * 0.05)

    def _foreigner_arrives(self):
        self.at(
            self.now + self.chance.expovariate(self.case.foreign * self.case.allowed / self.case.length),
            self._foreigner_arrives,
        )
        self._foreigner_calls()

    def _foreigner_calls(self):
        served, standing = self.services[0].call(self.now)
        if not served:
            self.at(self.now + self.comes_again_after(standing.reset or 1.0), self._foreigner_calls)


class Task:
    """One process: a governor, and workers that share what is to be done."""

    def __init__(self, simulation, index, governor):
        case = simulation.case
        self.unanswered = self._unsent = case.calls // case.tasks
        self._simulation = simulation
        self._governor = governor
        self._service = simulation.services[index % len(simulation.services)]
        begins = simulation.chance.uniform(0, 1)
        for _ in range(case.in_flight):
            simulation.at(begins, self._ask)

    def _ask(self):
        if not self._unsent:
            return
        simulation = self._simulation
        simulation.outcome.asked += 1
        delay = self._governor.claim(simulation.now)
        if delay > 0:
            # No timer is exact.
            simulation.at(simulation.now + delay + simulation.chance.uniform(0, 0.001), self._ask)
            return
        self._unsent -= 1
        takes = simulation.case.latency * simulation.chance.uniform(0.7, 1.3)
        there = takes * simulation.chance.uniform(0.3, 0.7)
        sent = simulation.now
        simulation.at(sent + there, self._arrive, sent, sent + takes)

    def _arrive(self, sent, back):
        served, standing = self._service.call(self._simulation.now)
        self._simulation.at(back, self._answered, sent, served, standing)

    def _answered(self, sent, served, standing):
        simulation = self._simulation
        self._governor.answered(standing, sent, simulation.now)
        outcome = simulation.outcome
        outcome.highest = max(outcome.highest, standing.count)
        if served:
            self.unanswered -= 1
            if not self.unanswered:
                outcome.ended.append(simulation.now)
            self._ask()
            return
        outcome.refused += 1
        asked = standing.reset or 1.0
        self._governor.refused(asked, simulation.now)
        self._unsent += 1
        simulation.at(simulation.now + simulation.comes_again_after(asked), self._ask)


def simulate(case):
    return Simulation(case).run()
