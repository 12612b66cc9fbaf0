"""A sync whose audience knows people by something else than contacts' ids, and what the emulator knows them by."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import duckdb

from airflow_provider_journey.api.async_client import JourneyAsyncClient
from airflow_provider_journey.api.credentials import TokenStore
from airflow_provider_journey.api.exchange import Exchange
from airflow_provider_journey.api.pacing import Governor
from airflow_provider_journey.segments.audience import RowsAudience
from airflow_provider_journey.segments.commit import Committed
from airflow_provider_journey.segments.identity_cache import IdentityKey
from airflow_provider_journey.segments.lease import Lease
from airflow_provider_journey.segments.plan import Plan, PlanRequest, make_plan
from airflow_provider_journey.segments.resolver import LookupRules, Resolver
from tests.emulator.syncing import Sync

LOOKUP = "postExternalcontactsIdentifierlookupContacts"
KEY = IdentityKey.derived("a secret of tests")


def email(number: int) -> str:
    return f"customer{number}@example.com"


def emails(*numbers: int) -> list[dict[str, str]]:
    """Rows about contacts by their numbers, known by e-mail."""
    return [{"email": email(number)} for number in numbers]


class PeopleSync(Sync):
    """A sync over today's surface."""

    def __init__(self, emulator: Any, folder: Any, **extra: Any) -> None:
        super().__init__(emulator, folder, **{"segments_api": "externalcontacts", "max_retries": 0} | extra)
        self.key = KEY

    def resolver(self, lease: Lease | None = None, **rules: Any) -> Resolver:
        client = JourneyAsyncClient(Exchange(self.settings, self.clock, TokenStore(), Governor()))
        return Resolver(
            client, LookupRules(self.key, **rules), lease=lease, clock=self.clock, report=self.lines.append
        )

    def plan_people(
        self,
        given: list[dict[str, Any]],
        segment_ids: list[str],
        run_id: str = "one",
        mode: str = "mirror",
        **rules: Any,
    ) -> Plan:
        request = PlanRequest(segment_ids, mode)
        return make_plan(
            self.ledger,
            run_id,
            RowsAudience(given),
            request,
            resolver=self.resolver(**rules),
            clock=self.clock,
        )

    def night(self, given: list[dict[str, Any]], segment_ids: list[str], *args: Any, **rules: Any) -> Plan:
        """Plan, apply and commit."""
        plan = self.plan_people(given, segment_ids, *args, **rules)
        self.apply(plan)
        self.committed: Committed = self.commit(plan)
        return plan

    def lookups(self) -> int:
        """How many look-ups the emulator was asked for."""
        return sum(self.emulator.calls().get(LOOKUP, {}).values())

    def days_pass(self, days: float) -> None:
        self.clock.skipped += timedelta(days=days).total_seconds()

    def files(self) -> list[str]:
        """The objects that keep look-up answers."""
        return list(self.ledger.store.sizes("identities"))

    def rows(self, plan: Plan, name: str, columns: str = "*") -> list[tuple[Any, ...]]:
        file = f"{self.path.removeprefix('file://')}/{plan.run.file(name)}.parquet"
        return duckdb.sql(f"SELECT {columns} FROM '{file}' ORDER BY ALL").fetchall()
