"""The engine knows no zone but UTC, wherever it runs."""

import os
import subprocess
import sys

ASK = """
from pathlib import Path
from airflow_provider_journey.storage.database import open_database
database = open_database(Path("."), 64)
print(database.execute("SELECT TIMESTAMPTZ '2026-11-22 00:00:00'::VARCHAR").fetchall()[0][0])
"""


def test_a_time_without_an_offset_is_utc_in_every_zone():
    # A process of its own: the engine reads the machine's zone once.
    asked = subprocess.run(
        [sys.executable, "-c", ASK], env=os.environ | {"TZ": "Asia/Kathmandu"}, capture_output=True, text=True
    )
    assert asked.stdout.strip() == "2026-11-22 00:00:00+00", asked.stderr
