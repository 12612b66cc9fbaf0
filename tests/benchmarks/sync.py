"""How fast a sync sends where nothing limits it, beside bare loops, and what its journal costs.

``python -m tests.benchmarks.sync <base url> <client id> <secret> <segment> <contacts> <way>`` runs one way in
this process.
"""

import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import requests

from airflow_provider_journey.api.async_client import connect
from airflow_provider_journey.api.settings import ConnectionSettings
from airflow_provider_journey.emulator.identity import make_id
from airflow_provider_journey.segments.apply import DEFAULT_CONCURRENCY, Apply
from airflow_provider_journey.segments.audience import RowsAudience
from airflow_provider_journey.segments.journal import JournalWriter
from airflow_provider_journey.segments.ledger import Ledger
from airflow_provider_journey.segments.plan import PlanRequest, make_plan
from airflow_provider_journey.segments.scribe import Scribe
from tests.benchmarks.calls import emulator
from tests.benchmarks.harness import Figure

SHARE_OF_BARE, SHARE_OF_CPU = 0.8, 0.05
# What a service in the same room takes to answer, with how many contacts; without it only Python's own speed
# is compared, over about as many seconds.
_LATENCY_MS, _CONTACTS = 5, 10_000
_CONTACTS_AT_ONCE = 30_000
_ROUNDS = 5
_PATH = "/api/v2/journey/externalcontacts/{}/segments"
_SDK = Path(".venvs/sdk102/bin/python")


def _ids(count: int) -> list[str]:
    return [make_id(1, "contact", number) for number in range(count)]


def _body(segment_id: str) -> bytes:
    return json.dumps([{"segmentId": segment_id, "state": "Assigned"}]).encode()


def _authorize(base_url: str, client_id: str, secret: str) -> dict[str, str]:
    form = {"grant_type": "client_credentials"}
    answer = requests.post(f"{base_url}/oauth/token", data=form, auth=(client_id, secret), timeout=30)
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    return {**headers, "Content-Type": "application/json"}


def bare_aiohttp(
    base_url: str, client_id: str, secret: str, segment_id: str, contacts: int
) -> dict[str, float]:
    """Post for every contact with as many calls in flight as a sync has."""
    headers = _authorize(base_url, client_id, secret)
    body, waiting = _body(segment_id), iter(_ids(contacts))

    async def work(session: aiohttp.ClientSession) -> None:
        for contact in waiting:
            async with session.post(base_url + _PATH.format(contact), data=body) as answer:
                await answer.read()
                assert answer.status == 204

    async def everything() -> None:
        async with aiohttp.ClientSession(headers=headers) as session:
            await asyncio.gather(*(work(session) for _ in range(DEFAULT_CONCURRENCY)))

    began = time.perf_counter()
    asyncio.run(everything())
    return {"per_second": contacts / (time.perf_counter() - began)}


def bare_requests(
    base_url: str, client_id: str, secret: str, segment_id: str, contacts: int
) -> dict[str, float]:
    """Post for a fifth of the contacts, one after the other."""
    ids, body = _ids(contacts // 5), _body(segment_id)
    with requests.Session() as session:
        session.headers.update(_authorize(base_url, client_id, secret))
        began = time.perf_counter()
        for contact in ids:
            session.post(base_url + _PATH.format(contact), data=body, timeout=30).raise_for_status()
    return {"per_second": len(ids) / (time.perf_counter() - began)}


def ours(base_url: str, client_id: str, secret: str, segment_id: str, contacts: int) -> dict[str, float]:
    """Apply a plan for every contact."""
    took, _ = _apply(base_url, client_id, secret, segment_id, contacts)
    return {"per_second": contacts / took}


def journalling(
    base_url: str, client_id: str, secret: str, segment_id: str, contacts: int
) -> dict[str, float]:
    """Apply a plan for every contact, with clocks in the journal, which cost time as well.

    What it takes of the CPU is what is noted for each call, written down in batches, and published, and the
    claims; less what the clocks measure where there is nothing between two looks at them.
    """
    clocks = [_clocked(Scribe, "note", "_write"), _clocked(JournalWriter, "claim")]
    _, cpu = _apply(base_url, client_id, secret, segment_id, contacts)
    spent = [seconds for clock in clocks for seconds in clock]
    return {"share": (sum(spent) - len(spent) * _between_two_looks()) / cpu}


def _between_two_looks() -> float:
    """Return the CPU seconds that pass, for the clock's sake alone, from one look at it to the next."""
    looks = [(time.thread_time(), time.thread_time()) for _ in range(10_000)]
    return statistics.median(second - first for first, second in looks)


def _apply(base_url: str, client_id: str, secret: str, segment_id: str, contacts: int) -> tuple[float, float]:
    """Return the seconds, and those of the CPU, that it takes to apply a plan for every contact."""
    settings = ConnectionSettings.from_connection(
        uuid.uuid4().hex, login=client_id, password=secret, host=base_url
    )
    with TemporaryDirectory() as folder:
        ledger = Ledger.at(f"file://{folder}")
        audience = RowsAudience([{"external_contact_id": contact} for contact in _ids(contacts)])
        plan = make_plan(ledger, "bench", audience, PlanRequest([segment_id], "upsert"))
        assert plan.summary.calls == contacts

        async def apply() -> None:
            client = connect(settings)
            try:
                applied = await Apply(client, ledger, plan.run, plan.summary.plan_hash).run()
            finally:
                await client.aclose()
            assert applied.done == contacts

        began, cpu = time.perf_counter(), time.process_time()
        asyncio.run(apply())
        return time.perf_counter() - began, time.process_time() - cpu


def _clocked(kind: type, *names: str) -> list[float]:
    """Have the CPU seconds that each of the methods takes added to the list that is returned."""
    spent: list[float] = []

    def clocked(method: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            before = time.thread_time()
            try:
                return method(*args, **kwargs)
            finally:
                spent.append(time.thread_time() - before)

        return call

    for name in names:
        setattr(kind, name, clocked(getattr(kind, name)))
    return spent


_SDK_LOOP = """
import sys, time, PureCloudPlatformClientV2 as sdk
base, client_id, secret, segment, *contacts = sys.argv[1:]
sdk.configuration.host = base
client = sdk.api_client.ApiClient()
client.access_token = open(0).read()
api = sdk.JourneyApi(client)
began = time.perf_counter()
for contact in contacts:
    api.post_journey_externalcontact_segments(contact, body=[{"segmentId": segment, "state": "Assigned"}])
print(len(contacts) / (time.perf_counter() - began))
"""


def _sdk(base_url: str, client_id: str, secret: str, segment_id: str) -> float:
    token = _authorize(base_url, client_id, secret)["Authorization"].partition(" ")[2]
    command = [str(_SDK), "-c", _SDK_LOOP, base_url, client_id, secret, segment_id, *_ids(300)]
    return float(subprocess.run(command, input=token, capture_output=True, text=True, check=True).stdout)


WAYS = {way.__name__: way for way in (ours, journalling, bare_aiohttp, bare_requests)}


def _run(way: Callable[..., object], *arguments: str) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.sync", *arguments, way.__name__]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {name: float(value) for name, value in json.loads(done.stdout.splitlines()[-1]).items()}


def _measure(latency_ms: int, contacts: int) -> tuple[float, float, float, float, str]:
    """Run ours and the bare loop in turn, each in a process of its own, against one emulator.

    Returns contacts a second of ours and of the bare loop, their ratio, the journal's part of ours, and what
    other loops reach.
    """
    with emulator("--contacts", str(contacts), "--events", "0", "--latency-ms", str(latency_ms)) as info:
        access = [info["base_url"], info["client_id"], info["client_secret"]]
        segment_id = info["examples"]["segment_id"]
        arguments = [*access, segment_id, str(contacts)]
        pairs = [(_run(ours, *arguments), _run(bare_aiohttp, *arguments)) for _ in range(_ROUNDS)]
        journal = statistics.median(_run(journalling, *arguments)["share"] for _ in range(_ROUNDS))
        slow = _run(bare_requests, *arguments)["per_second"]
        sdk = _sdk(*access, segment_id) if _SDK.exists() else None
    own, bare = (statistics.median(run["per_second"] for run in runs) for runs in zip(*pairs, strict=True))
    ratio = statistics.median(first["per_second"] / second["per_second"] for first, second in pairs)
    beside = f"beside a requests loop's {slow:,.0f}" + (f" and the SDK 102 loop's {sdk:,.0f}" if sdk else "")
    return own, bare, ratio, journal, beside


def main() -> list[Figure]:
    """Measure with and without a latency."""
    own, bare, ratio, journal, beside = _measure(_LATENCY_MS, _CONTACTS)
    fast, bare_fast, ratio_fast, _, beside_fast = _measure(0, _CONTACTS_AT_ONCE)
    return [
        Figure("contacts a second of an unlimited sync", own, "/s", note=beside),
        Figure(
            "contacts a second over a bare aiohttp loop's",
            ratio,
            "x",
            limit=f">= {SHARE_OF_BARE:g}",
            ok=ratio >= SHARE_OF_BARE,
            note=f"bare {bare:,.0f}/s; {_CONTACTS} contacts, {DEFAULT_CONCURRENCY} in flight, answers in "
            f"{_LATENCY_MS} ms, median of {_ROUNDS}",
        ),
        Figure("the same with answers at once", fast, "/s", note=beside_fast),
        Figure("the same over a bare aiohttp loop's", ratio_fast, "x", note=f"bare {bare_fast:,.0f}/s"),
        Figure(
            "journal's part of apply's CPU",
            journal * 100,
            "%",
            limit=f"<= {SHARE_OF_CPU:.0%}",
            ok=journal <= SHARE_OF_CPU,
            note="claims, outcomes and their publication",
        ),
    ]


if __name__ == "__main__":
    *given, contacts, name = sys.argv[1:]
    with contextlib.redirect_stdout(sys.stderr):
        result = WAYS[name](*given, int(contacts))
    print(json.dumps(result))
