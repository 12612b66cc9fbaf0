"""The command line: ``python -m airflow_provider_journey``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from airflow_provider_journey.api.errors import JourneyError
from airflow_provider_journey.hooks import DEFAULT_CONN_ID
from airflow_provider_journey.segments.audience import FileAudience
from airflow_provider_journey.segments.columns import EXTERNAL_ID, IDENTIFIERS
from airflow_provider_journey.segments.errors import SegmentSyncError
from airflow_provider_journey.segments.forgetting import forget
from airflow_provider_journey.segments.ledger import Ledger
from airflow_provider_journey.segments.upkeep import import_members


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says.

    :param arguments: the command line without the program's name; ``None``: this process's.
    :return: 0 when it was done, 1 when it could not be.
    """
    given = _parser().parse_args(arguments)
    try:
        # How much is kept the DAG says: its next run removes what is too much.
        ledger = Ledger.at(given.ledger, keep=sys.maxsize, single_writer=given.single_writer)
        given.command(ledger, given)
    except (SegmentSyncError, JourneyError, OSError, ValueError, ImportError) as error:
        _say(f"{type(error).__name__}: {error}", error=True)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m airflow_provider_journey")
    tools = parser.add_subparsers(required=True, metavar="TOOL")
    ledger = tools.add_parser("ledger", help="look after the ledger of a segment sync")
    commands = ledger.add_subparsers(required=True, metavar="COMMAND")

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("ledger", help="the ledger's path, as the DAG names it")
    common.add_argument(
        "--single-writer",
        action="store_true",
        help="nobody else writes, so a store without exclusive creation will do",
    )

    show = commands.add_parser("show", parents=[common], help="say what the ledger knows")
    show.add_argument("--json", action="store_true", help="as JSON")
    show.set_defaults(command=_show)

    take = commands.add_parser(
        "import", parents=[common], help="take over contacts that are known to be in segments"
    )
    take.add_argument("members", help="CSV, JSON lines or Parquet with external_contact_id and segment_id")
    take.add_argument(
        "--segment",
        action="append",
        required=True,
        metavar="ID",
        help="a segment they are in; may be repeated",
    )
    take.set_defaults(command=_import)

    forgetful = commands.add_parser(
        "forget", parents=[common], help="remove a person from all that the ledger keeps"
    )
    _name_person(forgetful)
    forgetful.set_defaults(command=_forget)
    return parser


def _name_person(forget: argparse.ArgumentParser) -> None:
    whom = forget.add_mutually_exclusive_group(required=True)
    whom.add_argument("--contact", metavar="ID", help="the external contact's id")
    whom.add_argument("--email", metavar="ADDRESS", help="as audiences name the person")
    whom.add_argument("--phone", metavar="NUMBER", help="as audiences name the person")
    whom.add_argument("--external-id", metavar="ID", help="as audiences name the person")
    forget.add_argument("--external-source", metavar="ID", help="the source of the external id")
    forget.add_argument(
        "--conn-id", default=DEFAULT_CONN_ID, help="the sync's connection, for all but --contact"
    )
    forget.add_argument("--identity-key", metavar="VARIABLE", help="the sync's identity_key, if it has one")


def _show(ledger: Ledger, given: argparse.Namespace) -> None:
    content = ledger.show()
    if given.json:
        _say(json.dumps(content, indent=2))
        return
    if not content["version"]:
        _say(f"{ledger.store}: no version yet")
    else:
        _say(
            f"{ledger.store}: version {content['version']}, by {content['run']} at {content['committed_at']}"
        )
    states = ("assigned", "unassigned", "unknown")
    _table(
        ("segment", *states),
        [
            (segment, *(each.get(state, 0) for state in states))
            for segment, each in content["segments"].items()
        ],
    )
    columns = ("run", "planned_at", "mode", "base", "changes", "calls", "state")
    _table(columns, [tuple(run[name] for name in columns) for run in content["runs"]])


def _import(ledger: Ledger, given: argparse.Namespace) -> None:
    result = import_members(ledger, FileAudience(given.members), given.segment)
    _say(
        f"version {result['version']}: {result['imported']:,} members imported of {result['rows']:,} rows; "
        f"{result['known']:,} were known, {result['invalid']:,} are invalid"
    )
    if result["offenders"]:
        _say(result["offenders"])


def _forget(ledger: Ledger, given: argparse.Namespace) -> None:
    contacts = [given.contact.strip()] if given.contact else []
    count = forget(ledger, contacts, [] if given.contact else [_identity(given)])
    _say(f"removed from {count} objects")


def _identity(given: argparse.Namespace) -> str:
    """Return the HMAC by which the ledger knows the person whom the command line names.

    :raises SegmentSyncError: there is no such connection or Variable.
    """
    from airflow.sdk.exceptions import AirflowRuntimeError

    from airflow_provider_journey.hooks.connection import not_found
    from airflow_provider_journey.operators.segment_people import identity_key
    from airflow_provider_journey.operators.segment_work import read_connection

    try:
        key = identity_key(given.identity_key, read_connection(given.conn_id))
    except (not_found(), AirflowRuntimeError) as error:
        raise SegmentSyncError(
            f"Nobody is known without the sync's key: {error}. Name its connection with --conn-id, and its "
            "Variable, if it has one, with --identity-key."
        ) from error
    kind = next(kind for kind in IDENTIFIERS if getattr(given, kind))
    source = given.external_source if kind == EXTERNAL_ID else None
    return key.identity(kind, source, getattr(given, kind).strip())


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    if not rows:
        return
    lines = [header, *([f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(header))]
    _say()
    for line in lines:
        _say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _say(line: str = "", *, error: bool = False) -> None:
    (sys.stderr if error else sys.stdout).write(f"{line}\n")


if __name__ == "__main__":
    # So that connections and Variables are found in Airflow's database too, as by Airflow's own command line.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    sys.exit(main())
