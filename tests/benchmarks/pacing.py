"""How much of a rate limit is used, and how many calls are refused: simulated in every setting, and once for real."""

import asyncio
import itertools
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor

from airflow_provider_journey.api import async_client, operations
from airflow_provider_journey.api.settings import ConnectionSettings
from airflow_provider_journey.emulator.local import LocalEmulator
from airflow_provider_journey.emulator.options import Options
from tests.benchmarks.harness import Figure
from tests.pacing_simulation import ROUNDINGS, Case, Simulation, simulate

LONGEST, MOST_REFUSED = 1.03, 0.001
PROMISE = f"<= {LONGEST:g} and <= {MOST_REFUSED:.1%} refused"
_LATENCIES, _TASKS, _FOREIGN = (0.005, 0.05, 0.2), (1, 4), (0.0, 0.3)
_SETTINGS = list(itertools.product((1, 8, 32), ROUNDINGS, (False, True)))
_REAL = Options(port=0, contacts=10, events=0, rate_limit=100, window=10.0)
_WINDOWS, _PROCESSES, _IN_FLIGHT = 10, 4, 8


class _Heedless:
    """What the governor is compared with: sends until it is refused, and then waits as it is told."""

    def __init__(self, share):
        self._until = 0.0

    def claim(self, now):
        return max(0.0, self._until - now)

    def answered(self, standing, sent, now):
        """Learn nothing."""

    def refused(self, seconds, now):
        self._until = max(self._until, now + seconds)


def main() -> list[Figure]:
    """Cross what is promised with what is not known of the service, 20 windows each; show each cell's worst."""
    cells = list(itertools.product(_LATENCIES, _TASKS, _FOREIGN))
    cases = [
        Case(latency, tasks, in_flight, foreign, rounding, aligned)
        for latency, tasks, foreign in cells
        for in_flight, rounding, aligned in _SETTINGS
    ]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        outcomes = list(pool.map(simulate, cases, chunksize=4))
        figures = [
            _cell(outcomes[begin : begin + len(_SETTINGS)]) for begin in range(0, len(cases), len(_SETTINGS))
        ]
    heedless = Simulation(Case(0.05, tasks=4, foreign=0.3), _Heedless).run()
    name = "pacing, 50 ms, 4 tasks, 30% foreign, without a governor"
    figures.append(Figure(name, heedless.stretch, "x", note=_note([heedless])))
    return [*figures, _for_real(context)]


def _cell(outcomes) -> Figure:
    case = outcomes[0].case
    longest = max(outcome.stretch for outcome in outcomes)
    holds = longest <= LONGEST and max(outcome.refused_share for outcome in outcomes) <= MOST_REFUSED
    others = f"{case.foreign:.0%} foreign" if case.foreign else "alone"
    name = f"pacing, {case.latency * 1000:.0f} ms, {case.tasks} task{'s' * (case.tasks > 1)}, {others}"
    return Figure(name, longest, "x", PROMISE, holds, _note(outcomes))


def _note(outcomes) -> str:
    most = max(outcomes, key=lambda outcome: outcome.refused_share)
    used = min(outcome.used for outcome in outcomes)
    return f"at most {most.refused} refused ({most.refused_share:.3%}), at least {used:.1%} of the quota used"


def _for_real(context) -> Figure:
    calls = _REAL.rate_limit * _WINDOWS // _PROCESSES
    with LocalEmulator(_REAL) as emulator, ProcessPoolExecutor(_PROCESSES, mp_context=context) as pool:
        job = (emulator.base_url, emulator.client_id, emulator.client_secret, calls)
        times = list(pool.map(_send, [job] * _PROCESSES))
        answers = emulator.calls()["getJourneyActiontargets"]
    stretch = (max(end for _, end in times) - min(begin for begin, _ in times)) / (_REAL.window * _WINDOWS)
    refused = answers.get("429", 0)
    share = refused / sum(answers.values())
    return Figure(
        f"pacing for real, {_PROCESSES} processes",
        stretch,
        "x",
        PROMISE,
        stretch <= LONGEST and share <= MOST_REFUSED and answers["200"] == calls * _PROCESSES,
        f"{refused} refused ({share:.3%}); {_WINDOWS} windows of {_REAL.rate_limit} in {_REAL.window:g} s",
    )


def _send(job) -> tuple[float, float]:
    """Make a process's calls; return when the first left and when the last was answered."""
    base_url, client_id, secret, calls = job
    settings = ConnectionSettings.from_connection("pacing", login=client_id, password=secret, host=base_url)
    todo = iter(range(calls))

    async def work(client):
        for _ in todo:
            await client.run(operations.list_action_targets())

    async def everybody():
        client = async_client.connect(settings)
        try:
            await asyncio.gather(*(work(client) for _ in range(_IN_FLIGHT)))
        finally:
            await client.aclose()

    begin = time.monotonic()
    asyncio.run(everybody())
    return begin, time.monotonic()
