"""A segment sync without Airflow: plan, apply and commit against an emulator, and what came of them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import duckdb

from airflow_provider_journey.api.async_client import JourneyAsyncClient
from airflow_provider_journey.api.credentials import TokenStore
from airflow_provider_journey.api.exchange import Exchange
from airflow_provider_journey.api.pacing import Governor
from airflow_provider_journey.api.settings import ConnectionSettings
from airflow_provider_journey.emulator.identity import make_id
from airflow_provider_journey.emulator.local import LocalEmulator
from airflow_provider_journey.segments.allotment import Applied
from airflow_provider_journey.segments.apply import Apply
from airflow_provider_journey.segments.audience import RowsAudience
from airflow_provider_journey.segments.commit import Committed, commit
from airflow_provider_journey.segments.ledger import Ledger
from airflow_provider_journey.segments.plan import Plan, PlanRequest, make_plan
from demo.processes import wait_until

UPDATES = ("postJourneyExternalcontactSegments", "postExternalcontactsContactJourneySegments")


class HastyClock:
    """A clock for which long waits pass in a moment."""

    def __init__(self) -> None:
        self.skipped = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.skipped

    def time(self) -> float:
        return time.time() + self.skipped

    def sleep(self, seconds: float) -> None:
        self.skipped += seconds

    async def sleep_async(self, seconds: float) -> None:
        shorter = min(seconds, 0.02)
        self.skipped += seconds - shorter
        await asyncio.sleep(shorter)


def contacts(count: int) -> list[str]:
    """The first ids of the contacts that an emulator of seed 1 has."""
    return [make_id(1, "contact", number) for number in range(count)]


def segments(emulator: LocalEmulator, count: int) -> list[str]:
    """Segments which nobody is in at the start."""
    return [each["id"] for each in emulator.about()["segments"][:count]]


def rows(audience: Mapping[str, Iterable[str]]) -> RowsAudience:
    """The audience in which each segment has these contacts."""
    return RowsAudience(
        [{"external_contact_id": c, "segment_id": s} for s, members in audience.items() for c in members]
    )


class Sync:
    """One ledger, one emulator, one connection."""

    def __init__(self, emulator: LocalEmulator, folder: Path, **extra: Any) -> None:
        self.emulator = emulator
        self.path = f"file://{folder}"
        self.ledger = Ledger.at(self.path)
        self.settings = ConnectionSettings.from_connection(
            "test",
            login=emulator.client_id,
            password=emulator.client_secret,
            host=emulator.base_url,
            extra=extra,
        )
        self.clock = HastyClock()
        self.lines: list[str] = []
        self.client: JourneyAsyncClient | None = None

    def plan(
        self, audience: Mapping[str, Iterable[str]], run_id: str = "one", mode: str = "mirror", **request: Any
    ) -> Plan:
        return make_plan(self.ledger, run_id, rows(audience), PlanRequest(list(audience), mode, **request))

    def plan_rows(self, given: list[dict[str, str]], segment_ids: list[str], mode: str, run_id: str) -> Plan:
        return make_plan(self.ledger, run_id, RowsAudience(given), PlanRequest(segment_ids, mode))

    def task(self, plan: Plan, **options: Any) -> Apply:
        exchange = Exchange(self.settings, self.clock, TokenStore(), Governor())
        self.client = JourneyAsyncClient(exchange)
        options = {"clock": self.clock, "report": self.lines.append} | options
        return Apply(self.client, self.ledger, plan.run, plan.summary.plan_hash, **options)

    async def carry_out(self, apply: Apply) -> Applied:
        assert self.client is not None
        try:
            return await apply.run()
        finally:
            await self.client.aclose()

    def apply(self, plan: Plan, **options: Any) -> Applied:
        return asyncio.run(self.carry_out(self.task(plan, **options)))

    def commit(self, plan: Plan) -> Committed:
        return commit(self.ledger, plan.run, plan.summary)

    def known(self, state: str = "assigned") -> set[tuple[str, str]]:
        """Contacts and segments which the ledger has in a state."""
        head = self.ledger.head()
        if head.snapshot is None:
            return set()
        file = f"{self.path.removeprefix('file://')}/{head.snapshot}"
        found = duckdb.sql(
            f"SELECT external_contact_id, segment_id FROM '{file}' WHERE state = '{state}'"
        ).fetchall()
        return set(found)

    def table(self, plan: Plan, name: str) -> list[tuple[Any, ...]]:
        file = f"{self.path.removeprefix('file://')}/{plan.run.file(name)}.parquet"
        # As text where it is a time: DuckDB would want pytz.
        return duckdb.sql(
            f"SELECT COLUMNS(lambda c: c NOT LIKE '%_at'), COLUMNS(lambda c: c LIKE '%_at')::VARCHAR FROM '{file}'"
        ).fetchall()

    def held(self, audience: Mapping[str, Iterable[str]]) -> set[tuple[str, str]]:
        """Contacts and segments that the service has, of the audience's segments."""
        return {(c, s) for s in audience for c in self.emulator.members(s)}

    def updates(self) -> Counter[str]:
        """How many updates the emulator was asked for, by status; the surfaces' own for success is ``2xx``."""
        found: Counter[str] = Counter()
        for operation in UPDATES:
            for status, count in self.emulator.calls().get(operation, {}).items():
                found["2xx" if status.startswith("2") else status] += count
        return found


def pairs(audience: Mapping[str, Iterable[str]]) -> set[tuple[str, str]]:
    """The audience's contacts and segments."""
    return {(c, s) for s, members in audience.items() for c in members}


def agree(sync, audience):
    """Whether service, ledger and audience say the same."""
    return sync.held(audience) == sync.known() == pairs(audience)


def asked(sync, count):
    """Wait until the emulator has seen so many updates."""
    wait_until(lambda: sum(sync.updates().values()) >= count, f"{count} updates", 30, every_s=0.005)
