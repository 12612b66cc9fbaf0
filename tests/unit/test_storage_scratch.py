"""Local folders: gone afterwards, also after a kill; a local disk that fails is named."""

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
import pytest

from airflow_provider_journey.storage.scratch import local_folder, scratch_folder


def test_a_folder_is_there_until_the_end():
    with scratch_folder() as folder:
        (folder / "file").write_text("x")
    assert not folder.exists()


def test_a_full_disk_is_named():
    with (
        pytest.raises(OSError, match="No space left") as caught,
        scratch_folder() as folder,
        open("/dev/full", "wb", buffering=0) as stream,
    ):
        stream.write(b"x")
    assert caught.value.errno == errno.ENOSPC
    assert str(folder) in str(caught.value)
    assert not folder.exists()


def test_what_the_engine_cannot_write_is_an_error_of_the_disk():
    with pytest.raises(OSError, match="local disk failed below") as caught, scratch_folder() as folder:
        duckdb.sql("SELECT 1").write_csv(str(folder / "missing" / "file.csv"))
    assert str(folder) in str(caught.value)


def test_other_errors_are_left_as_they_are():
    with pytest.raises(FileNotFoundError, match="somewhere else"), scratch_folder():
        raise FileNotFoundError(errno.ENOENT, "No such file", "somewhere else")
    with pytest.raises(OSError, match=r"\Atold already\Z"), scratch_folder():
        raise OSError("told already")


HOLDER = """
import sys, time
from airflow_provider_journey.storage.scratch import local_folder
with local_folder() as folder:
    (folder / "file").write_text("x")
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def hold(tmp_path, monkeypatch):
    """Start a process that has a folder; return both."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    started = []

    def start():
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        process = subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, env=environment)
        started.append(process)
        return process, Path(process.stdout.readline().decode().strip())

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_what_a_killed_process_left_is_removed_and_nothing_else(hold, tmp_path):
    killed, left = hold()
    _, living = hold()
    # Another process has just made its folder and does not hold it yet.
    (tmp_path / "journey-scratch-new").mkdir()
    killed.kill()
    killed.wait()
    assert (left / "file").exists()
    with local_folder() as own:
        assert {*tmp_path.iterdir()} == {own, living, tmp_path / "journey-scratch-new"}
        assert (living / "file").exists()
    assert not own.exists()
