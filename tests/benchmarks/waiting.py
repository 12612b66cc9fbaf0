"""What a thousand deferred sensors do to the event loop of the triggerer that they share."""

import asyncio
import gc
import json
import os
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass

from airflow_provider_journey.triggers.segments import SegmentAssignmentTrigger
from tests.benchmarks.calls import emulator
from tests.benchmarks.harness import Figure

LIMIT_MS = 50.0
TRIGGERS = 1000
_EVERY = 0.01
_CONN_ID = "journey_waiting"


def connect(info) -> None:
    """Let the connection of these triggers lead to an emulator."""
    os.environ[f"AIRFLOW_CONN_{_CONN_ID.upper()}"] = json.dumps(
        {
            "conn_type": "journey",
            "login": info["client_id"],
            "password": info["client_secret"],
            "host": info["base_url"],
        }
    )


@dataclass(frozen=True, order=True)
class Sample:
    """One turn of somebody who wants to run every 10 ms.

    :param late: by how many ms the turn came too late.
    :param held: for how many ms of CPU the loop worked on something else until then: what of it was our doing,
        and not that of other processes.
    """

    late: float
    held: float


async def samples(contact: str, triggers: int, interval: float, seconds: float) -> list[Sample]:
    """Let triggers wait for what does not come, and see how the loop is doing meanwhile.

    One of them has waited before, as in any triggerer but a new one: the HTTP library is imported.
    """

    async def wait(every: float) -> None:
        trigger = SegmentAssignmentTrigger(
            journey_conn_id=_CONN_ID,
            interval=every,
            holder={"external_contact_id": contact},
            segment_ids=["there-is-no-such-segment"],
        )
        async for event in trigger.run():
            raise AssertionError(event)

    first = asyncio.create_task(wait(0.5))
    await asyncio.sleep(2)
    first.cancel()
    # From time to time Python's collector looks through all that Airflow has imported, in any of its processes
    # and for 100 to 200 ms, whatever triggers do; what they leave behind it still goes through.
    gc.collect()
    gc.freeze()
    tasks = []
    for _ in range(triggers):
        # As the triggerer starts them.
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(wait(interval)))
    found = []
    end = time.perf_counter() + seconds
    while (before := time.perf_counter()) < end:
        worked = time.thread_time()
        await asyncio.sleep(_EVERY)
        late = time.perf_counter() - before - _EVERY
        found.append(Sample(late * 1000, (time.thread_time() - worked) * 1000))
    assert not [task for task in tasks if task.done()]
    for task in (first, *tasks):
        task.cancel()
    await asyncio.gather(first, *tasks, return_exceptions=True)
    return found


def measure(triggers: int, interval: float, seconds: float) -> dict[str, float]:
    """Measure in a process of its own, in which nothing else happens."""
    command = [sys.executable, "-m", __name__, str(triggers), str(interval), str(seconds)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> list[Figure]:
    """Measure with a tenth of the usual interval, so that there is something to see in a short time."""
    figures = sorted((measure(TRIGGERS, 30.0, 40.0) for _ in range(3)), key=lambda one: one["held"])[1]
    return [
        Figure(
            f"lag of the event loop that {TRIGGERS} deferred sensors make, at worst",
            figures["held"],
            "ms",
            limit=f"< {LIMIT_MS:g} ms",
            ok=figures["held"] < LIMIT_MS,
            note=f"CPU time, which other work on the machine does not stretch; by the clock {figures['worst']:.0f} ms, "
            f"99 of 100 turns under {figures['usual']:.1f}; {figures['calls']:.0f} requests in 40 s, median of 3",
        )
    ]


def _measure(triggers: int, interval: float, seconds: float) -> None:
    with emulator() as info:
        connect(info)
        found = asyncio.run(samples(info["examples"]["external_contact_id"], triggers, interval, seconds))
        with urllib.request.urlopen(f"{info['base_url']}/emulator/calls", timeout=30) as answer:
            calls = sum(json.load(answer)["getJourneyExternalcontactSegments"].values())
    late = sorted(sample.late for sample in found)
    figures = {
        "worst": late[-1],
        "usual": late[int(len(late) * 0.99)],
        "held": max(sample.held for sample in found),
        "calls": calls,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    _measure(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
