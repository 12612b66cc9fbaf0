"""Loads many rows into PostgreSQL again and again until it is killed: the victim of test_aggregates_postgres.py.

Arguments: folder of the server's socket, folder for files, table, number of rounds.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pendulum

from airflow_provider_journey.aggregates.answers import RowTable
from airflow_provider_journey.aggregates.calendars import Window
from airflow_provider_journey.aggregates.load import Destination, Loaded, prepare, replace
from airflow_provider_journey.aggregates.rows import RowShape
from airflow_provider_journey.aggregates.tables import SqlTable
from tests.postgres import DATABASE, USER

SHAPE = RowShape("long", ("journeyActionMapId", "journeyDeviceType"), ("nWebActionsOffered",))
DAY = Window(pendulum.datetime(2026, 3, 10), pendulum.datetime(2026, 3, 11))
BUCKET = "2026-03-10T00:00:00.000Z/2026-03-10T01:00:00.000Z"


def connect(driver, folder):
    """Return a connection by psycopg2 or by psycopg 3."""
    import psycopg
    import psycopg2

    module = {"psycopg2": psycopg2, "psycopg": psycopg}[driver]
    return module.connect(host=str(folder), user=USER, dbname=DATABASE)


def table(name):
    from sqlalchemy.dialects.postgresql import dialect

    return SqlTable(name, SHAPE, dialect())


def answer(file, groups):
    """Write an answer with a row for each group."""
    results = [
        {
            "group": {key: value for key, value in group.items() if value is not None},
            "data": [
                {
                    "interval": BUCKET,
                    "metrics": [{"metric": "nWebActionsOffered", "stats": {"count": number}}],
                }
            ],
        }
        for number, group in enumerate(groups)
    ]
    file.write_text(json.dumps({"results": results}))
    return file


def rows(directory, groups):
    """Return a table with a row for each group."""
    found = RowTable(SHAPE, [DAY], {}, directory)
    found.add(answer(directory / "answer.json", groups), DAY)
    found.finish()
    return found


def load(connection, found, name, extract="own") -> Loaded:
    """Load the rows into the table ``name``."""
    hook = SimpleNamespace(placeholder="%s")
    prepare(connection, table(name))
    return replace(connection, table(name), Destination(hook, name, extract), found, DAY)


if __name__ == "__main__":
    socket, scratch, name, rounds = sys.argv[1:]
    own = connect("psycopg", socket)
    for turn in range(int(rounds)):
        directory = Path(scratch) / str(turn)
        directory.mkdir()
        many = [
            {"journeyActionMapId": f"{turn}", "journeyDeviceType": f"{number}"} for number in range(20_000)
        ]
        with rows(directory, many) as found:
            print("loading", flush=True)
            load(own, found, name)
