"""A local disk that fails is named."""

import errno

import duckdb
import pytest

from airflow_provider_journey.storage.scratch import scratch_folder


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
