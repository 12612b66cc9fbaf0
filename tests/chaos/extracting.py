"""Extracts ten days again and again until it is killed: the victim of test_extract.py.

Arguments: base URL, client id, client secret, folder, number of rounds.
"""

import sys

import pendulum
from upath import UPath

from airflow_provider_journey.aggregates import windows
from airflow_provider_journey.aggregates.calendars import Calendar, Period, Window
from airflow_provider_journey.aggregates.extract import FileExtract, extract_to_files
from airflow_provider_journey.aggregates.query import AggregateQuery
from airflow_provider_journey.aggregates.rows import RowShape
from airflow_provider_journey.api.client import connect
from airflow_provider_journey.api.settings import ConnectionSettings

QUERY = AggregateQuery(
    ["nWebActionsOffered", "nWebActionsAccepted"], group_by=["journeyActionMapId"], granularity="PT1H"
)
WINDOW = Window(pendulum.datetime(2026, 3, 1), pendulum.datetime(2026, 3, 11))


def extract(folder):
    """Return the extract of the ten days into ``folder``."""
    days, hours = (
        Calendar(Period.of(text, windows.parse_period(text)), pendulum.UTC) for text in ("P1D", "PT1H")
    )
    parts = windows.partitions(WINDOW, days, now=pendulum.now("UTC"))
    return FileExtract(QUERY, parts, days, hours, RowShape.of(QUERY), UPath(f"file://{folder}"), "parquet")


def client(base_url, client_id, secret, **extra):
    """Return a client over the emulator."""
    settings = ConnectionSettings.from_connection(
        "chaos", login=client_id, password=secret, host=base_url, extra=extra
    )
    return connect(settings)


if __name__ == "__main__":
    *connection, folder, rounds = sys.argv[1:]
    own = client(*connection)
    for _ in range(int(rounds)):
        extract_to_files(own, extract(folder), lambda line: print(line, flush=True))
