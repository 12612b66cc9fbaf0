"""Triggers and sensors over an emulator, on a clock that does not wait."""

from __future__ import annotations

import asyncio
import importlib
import json
import time

from airflow.sdk import exceptions

from airflow_provider_journey.operators.failing import fail_exception, skip_exception, timeout_exception
from airflow_provider_journey.triggers.outcome import Outcome
from tests.clocks import FakeClock

# Wherever this Airflow keeps them.
AirflowFailException = type(fail_exception(""))
AirflowSensorTimeout = type(timeout_exception(""))
AirflowSkipException = type(skip_exception(""))
TaskDeferred, AirflowRescheduleException = (
    getattr(exceptions, name, None) or getattr(importlib.import_module("airflow.exceptions"), name)
    for name in ("TaskDeferred", "AirflowRescheduleException")
)
SEGMENTS = "getJourneyExternalcontactSegments"
QUERY = "postAnalyticsJourneysAggregatesQuery"


class WatchedClock(FakeClock):
    """A clock that counts, whenever it is slept on, the requests that the emulator has had until then."""

    def __init__(self, emulator, steps=()):
        super().__init__()
        self.emulator = emulator
        self.began = self.now
        self.epoch = time.time() - self.now
        self.steps = dict(steps)
        self.seen = []

    def asked(self):
        """How many requests there were, those for a token and the tests' own apart."""
        calls = self.emulator.calls()
        others = ("token", "postJourneyExternalcontactSegments")
        return sum(sum(by_status.values()) for name, by_status in calls.items() if name not in others)

    def sleep(self, seconds):
        self.seen.append((self.now - self.began, self.asked()))
        if step := self.steps.pop(len(self.seen), None):
            step()
        super().sleep(seconds)

    async def sleep_async(self, seconds):
        self.sleep(seconds)
        await asyncio.sleep(0)

    def check(self, interval):
        """No request has left before its interval was over."""
        self.seen.append((self.now - self.began, self.asked()))
        for elapsed, asked in self.seen:
            assert asked <= elapsed / interval + 1e-6, self.seen


def again(trigger):
    """Make the trigger that a triggerer would make of what is stored."""
    path, arguments = trigger.serialize()
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)(**json.loads(json.dumps(arguments)))


def fire(trigger, clock):
    """Run a trigger to its end, and return how that was."""

    async def run():
        made = again(trigger)
        made.clock = clock
        if made.deadline is not None:
            made.deadline = clock.time() + made.deadline
        events = [event async for event in made.run()]
        assert len(events) == 1
        return Outcome.from_event(json.loads(json.dumps(events[0].payload)))

    return asyncio.run(asyncio.wait_for(run(), 30))
