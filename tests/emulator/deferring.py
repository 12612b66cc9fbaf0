"""One task instance over its tries, in workers and in the triggerer: what the tests of jobs share."""

import asyncio
import json
import time

from airflow_provider_journey.api import exchange
from airflow_provider_journey.api.credentials import TokenStore
from tests.clocks import FakeClock
from tests.emulator.extracting import TaskInstance, run
from tests.emulator.waiting import TaskDeferred, again

SUBMIT = "postAnalyticsJourneysAggregatesJobs"
STATUS = "getAnalyticsJourneysAggregatesJob"
RESULTS = "getAnalyticsJourneysAggregatesJobResults"
CANCEL = "deleteAnalyticsJourneysAggregatesJob"


class Store:
    """Airflow's task state store: what is kept is JSON, and outlives a try."""

    def __init__(self):
        self.kept = {}

    def get(self, key, default=None):
        return json.loads(self.kept[key]) if key in self.kept else default

    def set(self, key, value, *, retention=None):
        self.kept[key] = json.dumps(value)

    def delete(self, key):
        self.kept.pop(key, None)


class EmulatorClock(FakeClock):
    """Sleeping lets the emulator's time pass, and nobody's else."""

    def __init__(self, emulator):
        super().__init__()
        self.epoch = time.time() - self.now
        self.emulator = emulator

    def sleep(self, seconds):
        super().sleep(seconds)
        self.emulator.advance_clock(seconds)


def another_process():
    """Forget what a process shares: a worker's clock is not the triggerer's."""
    exchange._SHARED_GOVERNORS.clear()
    exchange._SHARED_TOKENS = TokenStore()


class Task:
    """A task instance.

    :param make: makes the operator, anew for each try and each resumption, as a worker does.
    :param store: whether Airflow has a task state store.
    """

    def __init__(self, make, store=True):
        self.make = make
        self.store = Store() if store else None
        self.max_tries = 2
        self.context = None

    def start(self):
        """Run a try to its end, or to its deferral, whose trigger is returned."""
        return self._run("execute", {})

    def resume(self, event):
        """Resume with the payload of a trigger's event."""
        return self._run("resume", {"event": event})

    def fail(self, error):
        """Resume as Airflow does when a deferral has failed."""
        return self._run("__fail__", {"error": error})

    def _run(self, method, kwargs):
        another_process()
        operator = self.make()
        instance = TaskInstance()
        instance.max_tries = self.max_tries
        store = {} if self.store is None else {"task_state_store": self.store}
        if method != "execute":
            operator.execute = lambda context: operator.resume_execution(method, kwargs, context)
        try:
            self.context = run(operator, ti=instance, **store)
        except TaskDeferred as deferred:
            return again(deferred.trigger)
        return self.context["result"]


def wait(trigger, clock):
    """Run a trigger to its only event; return the payload, which is JSON."""

    another_process()

    async def run_it():
        trigger.clock = clock
        return [event.payload async for event in trigger.run()]

    (payload,) = asyncio.run(asyncio.wait_for(run_it(), 30))
    assert json.loads(json.dumps(payload)) == payload
    return payload


def submitted(emulator):
    return [json.loads(r["body"])["interval"] for r in emulator.requests(SUBMIT) if str(r["status"]) == "200"]


def states(emulator):
    return list(emulator.jobs().values())
