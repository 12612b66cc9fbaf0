"""Whole files or none: what lies in the store, whatever happens on the way."""

import json
import os
from pathlib import Path

import duckdb
import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.io.store import _STORE_CACHE as STORE_CACHE
from airflow.sdk.io.store import attach
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_journey.aggregates import files
from airflow_provider_journey.aggregates.query import AggregateQuery
from airflow_provider_journey.api.errors import (
    ResponseError,
)
from tests.emulator.extracting import (
    LAST_DAY,
    QUERY,
    QUERY_CALL,
    contents,
    run,
    total,
)


def test_the_manifest_says_what_lies_beside_it(to_files, tmp_path):
    run(to_files())
    folder = tmp_path / "lake" / "dt=2026-03-10"
    file = folder / "part-0.parquet"
    text = (folder / "_manifest.json").read_text()
    assert json.loads(text) == {
        "version": 1,
        "file": "part-0.parquet",
        "layout": "long",
        "rows": duckdb.sql(f"SELECT count(*) FROM '{file}'").fetchall()[0][0],
        "bytes": file.stat().st_size,
        "window": LAST_DAY,
        "query": QUERY.to_dict(),
    }
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"


@pytest.mark.parametrize("file_format", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize("layout", ["long", "wide"])
def test_the_same_query_twice_gives_the_same_bytes(to_files, tmp_path, file_format, layout):
    lakes = [tmp_path / "one", tmp_path / "two"]
    for lake in lakes:
        run(to_files(path=lake, lookback=1, file_format=file_format, layout=layout))
    assert contents(lakes[0]) == contents(lakes[1])
    assert sorted(contents(lakes[0])) == [
        f"dt=2026-03-{day}/{name}"
        for day in ("09", "10")
        for name in ("_manifest.json", f"part-0.{file_format}")
    ]


def test_an_empty_night_replaces_yesterday_s_rows_by_an_empty_file(to_files, tmp_path):
    lake = tmp_path / "lake"
    run(to_files())
    assert total(lake) > 0
    full = duckdb.sql(f"DESCRIBE FROM '{lake}/*/*.parquet'").fetchall()
    nobody = {"type": "and", "predicates": [{"dimension": "journeyActionMapId", "value": "nobody"}]}
    run(to_files({**QUERY.to_dict(), "filter": nobody}))
    assert duckdb.sql(f"SELECT count(*) FROM '{lake}/*/*.parquet'").fetchall() == [(0,)]
    assert duckdb.sql(f"DESCRIBE FROM '{lake}/*/*.parquet'").fetchall() == full


@pytest.mark.parametrize("failing", ["replace", "fsync"])
def test_a_store_that_fails_keeps_the_old_partition(to_files, tmp_path, monkeypatch, failing):
    lake = tmp_path / "lake"
    run(to_files())
    before = contents(lake)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(OSError, match=r"lake/dt=2026-03-10/part-0.parquet was not written.*No space left"):
        run(to_files(AggregateQuery(["nWebActionsOffered"])))
    assert contents(lake) == before


def test_nothing_is_published_before_every_file_is_written(to_files, tmp_path, monkeypatch):
    lake = tmp_path / "lake"
    run(to_files(lookback=1))
    before = contents(lake)
    write = files.write_rows

    def full(table, part, file, file_format):
        if "2026-03-10" in file.name:
            raise OSError(28, "No space left on device")
        return write(table, part, file, file_format)

    monkeypatch.setattr(files, "write_rows", full)
    with pytest.raises(OSError, match="No space left on device, on the local disk below"):
        run(to_files(AggregateQuery(["nWebActionsOffered"]), lookback=1))
    assert contents(lake) == before


def test_a_store_that_cannot_be_written_is_an_error(to_files, tmp_path):
    (tmp_path / "lake").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="lake"):
        run(to_files())


def test_local_temporaries_are_gone_afterwards(to_files, journey_emulator, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run(to_files())
    journey_emulator.script({"fault": "cut-json", "operation": QUERY_CALL})
    with pytest.raises(ResponseError):
        run(to_files())
    assert [file.name for file in tmp_path.iterdir()] == ["lake"]


class PutStore(MemoryFileSystem):
    """An object store: takes whole objects in one request, and nothing in pieces."""

    cachable = False

    def __init__(self):
        super().__init__()
        self.store, self.puts, self.broken = {}, [], False

    def put_file(self, lpath, rpath, **_):
        if self.broken:
            raise OSError(28, "No space left on device")
        self.puts.append(rpath)
        self.pipe_file(rpath, Path(lpath).read_bytes())

    def open(self, path, mode="rb", **options):
        assert mode == "rb" or "data" in options
        return super().open(path, mode, **options)


@pytest.fixture
def put_store():
    protocol = "memory"
    store = PutStore()
    attach(protocol, fs=store)
    yield store
    STORE_CACHE.pop(protocol)


def test_another_store_gets_one_put_for_each_object(to_files, put_store):
    lake = "memory://bucket/lake"
    context = run(to_files(path=lake, lookback=1, file_format="csv"))
    # Written as this Airflow writes it: the number of slashes differs.
    root = ObjectStoragePath(lake)
    assert context["result"] == [str(root / f"dt=2026-03-{day}/part-0.csv") for day in ("09", "10")]
    assert put_store.puts == [
        f"/bucket/lake/dt=2026-03-{day}/{name}"
        for day in ("09", "10")
        for name in ("part-0.csv", "_manifest.json")
    ]
    before = {name: put_store.cat_file(name) for name in put_store.puts}
    manifest = json.loads(before["/bucket/lake/dt=2026-03-10/_manifest.json"])
    assert manifest["bytes"] == len(before["/bucket/lake/dt=2026-03-10/part-0.csv"])
    put_store.broken = True
    with pytest.raises(OSError, match="No space left"):
        run(to_files(AggregateQuery(["nJourneySessions"]), path=lake, lookback=1, file_format="csv"))
    assert {name: put_store.cat_file(name) for name in put_store.puts} == before
