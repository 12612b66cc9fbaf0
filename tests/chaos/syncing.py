"""One try of a segment sync: plans, or goes on with what an earlier try has begun, applies and commits.

Arguments: base URL, client id, client secret, folder of the ledger, the run's id, JSON file
``{segment: [contacts or e-mail addresses]}``, the largest size in bytes that a file may have (0: any), and the segments API. It is
the victim of test_sync_kill.py.
"""

import asyncio
import json
import resource
import signal
import sys
from pathlib import Path

from upath import UPath

from airflow_provider_journey.api.async_client import connect
from airflow_provider_journey.api.settings import ConnectionSettings
from airflow_provider_journey.segments.apply import Apply
from airflow_provider_journey.segments.audience import RowsAudience
from airflow_provider_journey.segments.commit import commit
from airflow_provider_journey.segments.identity_cache import IdentityKey
from airflow_provider_journey.segments.ledger import Ledger
from airflow_provider_journey.segments.plan import PlanRequest, make_plan
from airflow_provider_journey.segments.resolver import LookupRules, Resolver
from airflow_provider_journey.segments.store import Store


def say(line):
    """Say how far it is, to whoever wants to kill it there."""
    print(line, flush=True)


def ledger_in(folder):
    """Return the ledger in a local folder."""
    return Ledger(Store(UPath(f"file://{folder}")))


def column(who):
    """Return the column of an audience which says who somebody is."""
    return "email" if "@" in who else "external_contact_id"


def plan(settings, ledger, run_id, file):
    """Return the plan that an earlier try of this run has begun, or a new one."""
    begun = [each for each in ledger.unfolded(ledger.head().folded) if each[1].run_id == run_id]
    if begun:
        return begun[-1]
    audience = json.loads(Path(file).read_text())
    rows = [{column(who): who, "segment_id": name} for name in audience for who in audience[name]]
    rules = LookupRules(IdentityKey.derived(settings.client_secret))
    made = make_plan(
        ledger,
        run_id,
        RowsAudience(rows),
        PlanRequest(list(audience), "mirror"),
        resolver=Resolver(connect(settings), rules),
    )
    return made.run, made.summary


async def apply(settings, ledger, run, summary):
    """Apply what is left of the plan."""
    client = connect(settings)
    try:
        await Apply(client, ledger, run, summary.plan_hash).run()
    finally:
        await client.aclose()


def main(base_url, client_id, secret, folder, run_id, file, largest, surface):
    """Sync once."""
    settings = ConnectionSettings.from_connection(
        "chaos", login=client_id, password=secret, host=base_url, extra={"segments_api": surface}
    )
    ledger = ledger_in(folder)
    say("planning")
    run, summary = plan(settings, ledger, run_id, file)
    say("applying")
    if int(largest):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest), int(largest)))
    asyncio.run(apply(settings, ledger, run, summary))
    say("committing")
    commit(ledger, run, summary)
    say("done")


if __name__ == "__main__":
    main(*sys.argv[1:])
