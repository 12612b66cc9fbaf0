"""How many calls and changes leave, beside the fewest that lead to the same end."""

import asyncio
import itertools
import json
import math
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from airflow_provider_journey.api.async_client import connect
from airflow_provider_journey.api.settings import ConnectionSettings
from airflow_provider_journey.emulator.identity import make_id
from airflow_provider_journey.segments.apply import Apply
from airflow_provider_journey.segments.audience import RowsAudience
from airflow_provider_journey.segments.commit import commit
from airflow_provider_journey.segments.ledger import Ledger
from airflow_provider_journey.segments.plan import PlanRequest, make_plan
from tests.benchmarks.calls import emulator
from tests.benchmarks.harness import Figure

PAIRS, CHANGED = 1_000_000, 0.02
CHANGES_A_CALL = 10
_OPERATION = "postJourneyExternalcontactSegments"
_FEW = 600
Pair = tuple[str, str]


class Night:
    """One ledger, and the organisation that it is about."""

    def __init__(self, info: dict, folder: str) -> None:
        self.info = info
        self.ledger = Ledger.at(f"file://{folder}")
        self.settings = ConnectionSettings.from_connection(
            uuid.uuid4().hex, login=info["client_id"], password=info["client_secret"], host=info["base_url"]
        )

    def sync(self, rows: list[dict[str, str]], segment_ids: list[str], mode: str) -> tuple[int, int]:
        """Sync once; return the changes that were sent and the calls that the emulator counted."""
        before = self.calls()
        plan = make_plan(self.ledger, uuid.uuid4().hex, RowsAudience(rows), PlanRequest(segment_ids, mode))

        async def apply() -> int:
            client = connect(self.settings)
            try:
                return (await Apply(client, self.ledger, plan.run, plan.summary.plan_hash).run()).done
            finally:
                await client.aclose()

        done = asyncio.run(apply())
        commit(self.ledger, plan.run, plan.summary)
        return done, self.calls() - before

    def calls(self) -> int:
        with urllib.request.urlopen(f"{self.info['base_url']}/emulator/calls", timeout=30) as answer:
            return sum(json.load(answer).get(_OPERATION, {}).values())

    def held(self, segment_id: str) -> set[Pair]:
        """Return what the service has, as pairs; the emulator alone can tell."""
        url = f"{self.info['base_url']}/emulator/assignments?segment_id={segment_id}"
        with urllib.request.urlopen(url, timeout=120) as answer:
            records = map(json.loads, answer)
            return {(r["external_contact_id"], segment_id) for r in records if r["state"] == "Assigned"}


def fewest(changes: Iterable[Pair]) -> int:
    """Return the fewest calls for these changes: ten of one contact fit into one."""
    by_contact = Counter(contact for contact, _ in changes)
    return sum(math.ceil(count / CHANGES_A_CALL) for count in by_contact.values())


def _rows(pairs: Iterable[Pair], **more: str) -> list[dict[str, str]]:
    return [{"external_contact_id": contact, "segment_id": segment} | more for contact, segment in pairs]


def _mode(night: Night, mode: str, contacts: list[str], segments: list[str]) -> tuple[int, int]:
    """Fill segments, change some and take some away in a mode; return calls made and the fewest."""
    half = set(itertools.product(contacts[: len(contacts) // 2], segments))
    if mode == "changes":
        gone = {pair for number, pair in enumerate(sorted(half)) if number % 3 == 0}
        steps = [(_rows(half, state="Assigned"), half), (_rows(gone, state="Unassigned"), gone)]
        wanted = half - gone
    else:
        other = set(itertools.product(contacts[len(contacts) // 4 :], segments[1:]))
        wanted = half | other if mode == "upsert" else other
        steps = [(_rows(half), half), (_rows(other), (other - half) | (wanted ^ (half | other)))]
    least = made = 0
    others = set().union(*map(night.held, segments))
    for rows, changes in steps:
        # The same once more: nothing may leave.
        for repeated in (False, True):
            made += night.sync(rows, segments, mode)[1]
            least += 0 if repeated else fewest(changes)
    touched = set().union(*(changes for _, changes in steps))
    held = set().union(*map(night.held, segments))
    assert held & touched == wanted & touched
    assert held - touched == others - touched, "what nobody asked to change"
    return made, least


def _million(night: Night, contacts: list[str], segments: list[str]) -> tuple[int, int, int, int]:
    """Sync a million pairs, then with some of them changed; return changes and calls, sent and needed."""
    everything = list(itertools.product(contacts, segments))
    moved = int(PAIRS * CHANGED / 2)
    first, second = everything[:PAIRS], everything[moved : PAIRS + moved]
    night.sync(_rows(first), segments, "mirror")
    changes = set(first) ^ set(second)
    sent, made = night.sync(_rows(second), segments, "mirror")
    assert sum(len(night.held(segment)) for segment in segments) == PAIRS
    return sent, len(changes), made, fewest(changes)


def _segments(info: dict) -> list[str]:
    """Return the segments that a contact can be assigned to; in the last of them some are already."""
    return [segment["id"] for segment in info["segments"] if segment["scope"] == "Customer"]


def main() -> list[Figure]:
    """Count at emulators in processes of their own."""
    contacts = [make_id(1, "contact", number) for number in range(102_000)]
    figures = []
    with TemporaryDirectory() as folder:
        for mode in ("changes", "upsert", "mirror"):
            with emulator("--contacts", str(_FEW), "--events", "0") as info:
                night = Night(info, str(Path(folder) / mode))
                made, least = _mode(night, mode, contacts[:_FEW], _segments(info))
            figures.append(
                Figure(
                    f"calls ÷ least possible calls, {mode}",
                    made / least,
                    "",
                    "= 1",
                    made == least,
                    f"{made:,} calls of {_FEW} contacts with more changes than a call takes; unchanged: none",
                )
            )
        with emulator("--contacts", str(len(contacts)), "--events", "0") as info:
            night = Night(info, str(Path(folder) / "million"))
            sent, needed, made, least = _million(night, contacts, _segments(info)[:CHANGES_A_CALL])
    return [
        *figures,
        Figure(
            f"changes that leave, {PAIRS:,} pairs, {CHANGED:.0%} changed",
            sent,
            "",
            f"= {needed:,}",
            sent == needed and made == least,
            f"in {made:,} calls; the fewest possible: {least:,}",
        ),
    ]
