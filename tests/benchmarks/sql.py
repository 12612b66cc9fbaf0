"""420,000 rows into PostgreSQL: the extract's own load, and a bare COPY of the same rows."""

import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks.extract import COUNTS, GROUP_BY, ROWS, VALUES, make_answer
from tests.benchmarks.harness import Figure, measure, report
from tests.postgres import DATABASE, USER, binaries, running_postgres

RATIO = 0.5
TABLE = "journey_aggregates"


def connect(socket):
    import psycopg

    return psycopg.connect(host=socket, user=USER, dbname=DATABASE)


def ours(socket, answer):
    """Load the rows of an answer that has been read and checked, as an extract does."""
    from types import SimpleNamespace

    import pendulum
    from sqlalchemy.dialects.postgresql import dialect

    from airflow_provider_journey.aggregates.answers import RowTable
    from airflow_provider_journey.aggregates.calendars import Window
    from airflow_provider_journey.aggregates.load import Destination, prepare, replace
    from airflow_provider_journey.aggregates.rows import RowShape
    from airflow_provider_journey.aggregates.tables import SqlTable

    day = Window(pendulum.datetime(2026, 11, 22), pendulum.datetime(2026, 11, 23))
    shape = RowShape("long", GROUP_BY, COUNTS + VALUES)
    table = SqlTable(TABLE, shape, dialect())
    found = RowTable(shape, [day], {}, answer.parent)
    found.add(answer, day)
    found.finish()
    connection = connect(socket)

    def work():
        prepare(connection, table)
        loaded = replace(
            connection, table, Destination(SimpleNamespace(placeholder="%s"), TABLE, "own"), found, day
        )
        assert loaded.rows == ROWS

    return work


def copy(socket, file):
    """Copy a file of the same rows, in the same order, into a table of the same columns."""
    connection = connect(socket)

    def work():
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE TABLE copied (LIKE {TABLE})")
            with file.open("rb") as stream, cursor.copy("COPY copied FROM STDIN WITH (FORMAT csv)") as sink:
                while piece := stream.read(2**18):
                    sink.write(piece)
        connection.commit()

    return work


def export(socket, file):
    statement = f"COPY {TABLE} TO STDOUT WITH (FORMAT csv)"
    with connect(socket) as connection, connection.cursor() as cursor, cursor.copy(statement) as source:
        file.write_bytes(b"".join(source))


def empty(socket, table):
    with connect(socket) as connection:
        connection.execute(f"DROP TABLE IF EXISTS {table}")


def main():
    if binaries() is None or find_spec("psycopg") is None:
        return [
            Figure(
                "rows into PostgreSQL",
                0,
                "rows/s",
                "a server at hand",
                False,
                "install the package postgresql, and psycopg",
            )
        ]
    with running_postgres() as socket, TemporaryDirectory(prefix="journey-benchmark-") as folder:
        import shutil

        answer, spool, file = (Path(folder) / name for name in ("answer.json", "spool.json", "rows.csv"))
        make_answer(answer)

        def anew():
            empty(socket, TABLE)
            shutil.copyfile(answer, spool)

        own = measure("tests.benchmarks.sql", "ours", str(socket), str(spool), before=anew)
        export(socket, file)
        bare = measure(
            "tests.benchmarks.sql", "copy", str(socket), str(file), before=lambda: empty(socket, "copied")
        )
        with connect(socket) as connection:
            difference = connection.execute(
                f"SELECT count(*) FROM (TABLE {TABLE} EXCEPT ALL TABLE copied) AS d"
            ).fetchone()
        assert difference == (0,)
    rate = {"ours": ROWS / own.seconds, "copy": ROWS / bare.seconds}
    ratio = rate["ours"] / rate["copy"]
    return [
        Figure(
            f"{ROWS:,} rows into PostgreSQL: ours",
            rate["ours"],
            "rows/s",
            note=f"peak {own.peak_mib:.0f} MiB",
        ),
        Figure(f"{ROWS:,} rows into PostgreSQL: bare COPY of a file", rate["copy"], "rows/s"),
        Figure("rows per second over bare COPY's", ratio, "x", f">= {RATIO:g}", ratio >= RATIO),
    ]


if __name__ == "__main__":
    way, socket, path = sys.argv[1:]
    job = {"ours": ours, "copy": copy}[way](socket, Path(path))
    report(job)
