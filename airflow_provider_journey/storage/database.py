"""The relational engine, held within bounds of memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def open_database(directory: Path, memory_limit_mib: int) -> DuckDBPyConnection:
    """Open a DuckDB database in memory which goes to disk when it grows, and which knows no zone but UTC.

    :param directory: local folder for what does not fit into memory.
    :param memory_limit_mib: how much memory it may take, in MiB.
    """
    import duckdb

    database = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": f"{memory_limit_mib}MiB",
            "temp_directory": str(directory / "duckdb"),
            "threads": min(4, os.cpu_count() or 1),
            "autoinstall_known_extensions": False,
        },
    )
    # A time without an offset would be read in the machine's zone, and Parquet would carry its name.
    database.execute("SET TimeZone = 'UTC'")
    return database


def quoted(name: str) -> str:
    """Return ``name`` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return ``text`` as an SQL string."""
    return "'" + text.replace("'", "''") + "'"
