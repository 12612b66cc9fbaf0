"""The command line: ``python -m airflow_provider_journey.emulator``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence

from airflow_provider_journey.emulator.faults import FaultPlan
from airflow_provider_journey.emulator.options import SURFACES, Options, parse_client, parse_faults


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM.

    :param arguments: the command line without the program's name; None: this process's.
    :returns: 0 after a clean end, 2 when the address cannot be listened on.
    """
    parser = _parser()
    given = vars(parser.parse_args(arguments))
    try:
        # Here, not by argparse: it would keep to itself what is wrong with them.
        given["clients"] = tuple(map(parse_client, given["clients"]))
        given["faults"] = parse_faults(given["faults"])
        options = Options(**given)
        FaultPlan(options.faults, options.seed)  # refuses what is no fault
    except ValueError as error:
        parser.error(str(error))
    return asyncio.run(_serve(options))


def _parser() -> argparse.ArgumentParser:
    defaults = Options()
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_journey.emulator", description="A local Genesys Cloud Journey API."
    )
    add = parser.add_argument
    add("--host", default=defaults.host, help="address to listen on (%(default)s)")
    add("--port", type=int, default=defaults.port, help="port to listen on, 0 for a free one (%(default)s)")
    add("--contacts", type=int, default=defaults.contacts, help="external contacts (%(default)s)")
    add("--events", type=int, default=defaults.events, help="events in the trailing 30 days (%(default)s)")
    add("--seed", type=int, default=defaults.seed, help="what all data follows from (%(default)s)")
    add(
        "--rate-limit",
        type=int,
        default=defaults.rate_limit,
        help="calls a window, 0 for no limit (%(default)s)",
    )
    add("--window", type=float, default=defaults.window, help="seconds of a rate-limit window (%(default)s)")
    add("--rate-limit-scope", choices=("client", "token"), default=defaults.rate_limit_scope)
    add("--latency-ms", type=float, default=defaults.latency_ms, help="hold every answer back (%(default)s)")
    add("--late-data", action="store_true", help="a day grows until it is four days old")
    add("--faults", default="", metavar="NAME=SHARE,...", help="share of calls to spoil")
    add("--surface", choices=SURFACES, default=defaults.surface, help="which segment operations are served")
    add("--token-lifetime", type=int, default=defaults.token_lifetime, help="seconds (%(default)s)")
    add(
        "--client",
        dest="clients",
        action="append",
        default=[],
        metavar="ID:SECRET[:permission,...]",
        help="a further OAuth client; may be given more than once",
    )
    return parser


async def _serve(options: Options) -> int:
    from airflow_provider_journey.emulator.server import serving

    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with contextlib.AsyncExitStack() as stack:
        try:
            emulator, base_url = await stack.enter_async_context(serving(options))
        except OSError as error:
            print(f"cannot listen on {options.host}:{options.port}: {error.strerror}", file=sys.stderr)
            return 2
        about = emulator.describe(base_url)
        lines = [
            f"Journey API emulator at {base_url}",
            f"AIRFLOW_CONN_JOURNEY_DEFAULT={about['connection_uri']}",
        ]
        lines += [f"{name}={value}" for name, value in about["examples"].items()]
        print("\n".join(lines), flush=True)
        await stopped.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
