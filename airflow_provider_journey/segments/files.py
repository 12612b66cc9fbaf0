"""Audiences in files: recognised, and text read as the text that it is."""

from __future__ import annotations

import csv
import re
import secrets
import shutil
from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_journey.segments.audience import FileAudience
from airflow_provider_journey.segments.columns import COLUMNS, names_people, places
from airflow_provider_journey.segments.errors import AudienceError
from airflow_provider_journey.storage.database import literal, quoted
from airflow_provider_journey.storage.objects import fetch

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath
    from duckdb import DuckDBPyConnection

_KINDS = {
    ".csv": "CSV",
    ".tsv": "CSV",
    ".jsonl": "JSON",
    ".ndjson": "JSON",
    ".json": "JSON",
    ".parquet": "Parquet",
}
_COMPRESSED = (".gz", ".zst")
_MAGIC = {
    b"PAR1": "Parquet",
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "gzip",
    b"SQLi": "an SQLite database",
}
# What the engine says further down, in short.
_CAUSES = {
    "not utf-8 encoded": "it is not UTF-8",
    "Maximum line size": "it is too long",
    "state machine": "its lines do not all end with the same signs",
}
_DELIMITERS = ",;\t|"
# A query for the rows of a file of text, or what is selected from one of Parquet; and which of an audience's
# columns the file has.
Rows = tuple[str, set[str]]


def view_of_files(
    database: DuckDBPyConnection, audience: FileAudience, required: Sequence[str], directory: Path
) -> set[str]:
    """Make the view ``audience_rows`` over files, and fill ``unreadable`` with lines that are no rows.

    Parquet is read where it lies. Text is turned into Parquet once, in ``directory``.

    :return: the columns that the files have.
    :raises AudienceError: there is no such file, a column is missing, or a file is not what its name says.
    """
    import duckdb

    paths = _found(audience)
    # Files from which the same is selected are read as one: so many scans side by side take ever longer.
    alike: dict[str, list[Path]] = {}
    found: set[str] = set()
    for number, (path, file) in enumerate(zip(paths, fetch(paths, directory), strict=True)):
        kind = _kind(path, file)
        if kind == "JSON":
            file = _without_mark(file, directory)
        try:
            rows, columns = _READERS[kind](database, path, file, required)
            found.update(columns)
            if kind == "Parquet":
                alike.setdefault(rows, []).append(file)
                continue
            staged = directory / f"audience-{number}.parquet"
            if rows:
                database.execute(f"COPY ({rows}) TO {literal(str(staged))} (FORMAT parquet)")
                alike.setdefault("*", []).append(staged)
            if kind == "CSV":
                _note_rejects(database, path)
        except duckdb.Error as error:
            raise AudienceError(f"{path} is not the {kind} that its name says: {cause(error)}") from None
    items = [
        f"FROM read_parquet([{', '.join(literal(str(file)) for file in files)}]) SELECT {selected}"
        for selected, files in alike.items()
    ]
    nothing = "SELECT " + ", ".join(f"CAST(NULL AS VARCHAR) AS {name}" for name in COLUMNS) + " LIMIT 0"
    whole = " UNION ALL BY NAME ".join(f"({item})" for item in items or [nothing])
    database.execute(f"CREATE OR REPLACE TEMP VIEW audience_rows AS {whole}")
    return found


def _found(audience: FileAudience) -> list[ObjectStoragePath]:
    from airflow.sdk import ObjectStoragePath

    path = ObjectStoragePath(audience.path, conn_id=audience.conn_id)
    fs = path.fs
    if not any(sign in path.path for sign in "*?["):
        if not fs.exists(path.path):
            raise AudienceError(f"there is no audience {path}")
        if fs.isdir(path.path):
            raise AudienceError(f"{path} is a folder: name its files, for example by a glob")
        return [path]
    names = sorted(fs.glob(path.path))
    if not names:
        raise AudienceError(f"no file matches {path}")
    # Airflow 3.1 keeps the connection among the options of the store.
    conn_id = getattr(path, "conn_id", None) or path.storage_options.get("conn_id")
    return [ObjectStoragePath(fs.unstrip_protocol(name), conn_id=conn_id) for name in names]


def _kind(path: ObjectStoragePath, file: Path) -> str:
    suffixes = [suffix.lower() for suffix in file.suffixes[-2:]]
    packed = suffixes[-1:] and suffixes[-1] in _COMPRESSED
    ending = (suffixes[-2] if len(suffixes) > 1 else "") if packed else "".join(suffixes[-1:])
    kind = _KINDS.get(ending)
    if kind is None or (packed and kind == "Parquet"):
        raise AudienceError(f"{path}: an audience's name ends in one of {', '.join(_KINDS)}")
    with file.open("rb") as stream:
        start = stream.read(4)
    looks = next((what for magic, what in _MAGIC.items() if start.startswith(magic)), "text")
    expected = "Parquet" if kind == "Parquet" else "gzip" if suffixes[-1] == ".gz" else "text"
    if looks != expected and suffixes[-1] != ".zst":
        raise AudienceError(f"{path} is not the {kind} that its name says: it looks like {looks}")
    return kind


def _parquet(
    database: DuckDBPyConnection, path: ObjectStoragePath, file: Path, required: Sequence[str]
) -> Rows:
    source = f"read_parquet({literal(str(file))})"
    described = [row[:2] for row in database.execute(f"DESCRIBE FROM {source}").fetchall()]
    found = [name for name, _ in described]
    at = places(found, required, str(path))
    for index in at.values():
        name, kind = described[index]
        if kind in ("FLOAT", "DOUBLE"):
            # 12 would be sent as 12.0. So writes who has whole numbers and nulls in one column.
            raise AudienceError(f"{path} has {name} as {kind}: write it as text, or as whole numbers")
    # With its type, so that only what is of the same types is read as one.
    typed = {name: f"{quoted(found[index])}::{described[index][1]}" for name, index in at.items()}
    return _selected(typed), set(at)


def _csv(database: DuckDBPyConnection, path: ObjectStoragePath, file: Path, required: Sequence[str]) -> Rows:
    whole_lines = f"read_csv({literal(str(file))}, auto_detect = false, header = false, delim = chr(1),"
    first = database.execute(
        f"FROM {whole_lines} quote = '', escape = '', columns = {{'line': 'VARCHAR'}}) LIMIT 1"
    ).fetchall()
    if not first or not first[0][0]:
        raise AudienceError(f"{path} is empty, or its first line is: a header is wanted there")
    headers = {sign: next(csv.reader([first[0][0]], delimiter=sign)) for sign in _DELIMITERS}
    delimiter = next(
        (sign for sign, names in headers.items() if names_people(name.strip().lower() for name in names)),
        max(headers, key=lambda sign: len(headers[sign])),
    )
    header = headers[delimiter]
    at = places(header, required, str(path))
    # By number: a header may name a column twice.
    columns = ", ".join(f"'c{index}': 'VARCHAR'" for index in range(len(header)))
    source = (
        f"read_csv({literal(str(file))}, auto_detect = false, header = true, delim = {literal(delimiter)},"
        f" quote = '\"', escape = '\"', columns = {{{columns}}}, store_rejects = true)"
    )
    return f"FROM {source} SELECT {_selected({name: f'c{index}' for name, index in at.items()})}", set(at)


def _note_rejects(database: DuckDBPyConnection, path: ObjectStoragePath) -> None:
    """Take over the lines that are no rows, unless they show that rows around them were not read as such."""
    unlike = database.execute(
        "SELECT line, error_type FROM reject_errors WHERE error_type = 'INVALID ENCODING'"
        " OR error_type = 'UNQUOTED VALUE' AND regexp_matches(csv_line, '[\\r\\n][^\\r\\n]')"
        " ORDER BY line LIMIT 1"
    ).fetchall()
    for line, error in unlike:
        what = (
            "is not UTF-8" if error == "INVALID ENCODING" else "has a quote that swallows the lines behind it"
        )
        raise AudienceError(f"{path} is not the CSV that its name says: line {line} {what}")
    database.execute(
        "INSERT INTO unreadable SELECT csv_line, 'unreadable: ' || lower(string_agg(DISTINCT error_type, ', '"
        " ORDER BY error_type)), line FROM reject_errors GROUP BY scan_id, file_id, line, csv_line"
    )
    database.execute("DROP TABLE reject_errors")
    database.execute("DROP TABLE reject_scans")


def _json(database: DuckDBPyConnection, path: ObjectStoragePath, file: Path, required: Sequence[str]) -> Rows:
    # Where each line is an object, one that is none is a row without values, and invalid as such.
    lines = not re.search(r"\.json(\.gz|\.zst)?$", file.name, re.IGNORECASE)
    form = "format = 'newline_delimited', ignore_errors = true" if lines else "format = 'auto'"
    name = literal(str(file))
    # Of all objects, not of a sample: what nobody has may be left out of each of them.
    [(rows, found)] = database.execute(
        f"FROM read_json_objects({name}, {form})"
        " SELECT count(*), list_sort(list_distinct(flatten(list(DISTINCT json_keys(json)))))"
    ).fetchall()
    if not rows:
        return "", set()
    at = places(found, required, str(path))
    columns = ", ".join(f"{quoted(found[index])}: 'VARCHAR'" for index in at.values())
    source = f"read_json({name}, {form}, columns = {{{columns}}})"
    return f"FROM {source} SELECT {_selected({name: quoted(found[i]) for name, i in at.items()})}", set(at)


def cause(error: Exception) -> str:
    """Return what the engine says is wrong, without what it shows of a file: that may be about somebody."""
    text = str(error)
    first = text.splitlines()[0].partition(': value "')[0].rstrip(".:")
    return ": ".join([first, *(plain for sign, plain in _CAUSES.items() if sign in text)])


def _without_mark(file: Path, directory: Path) -> Path:
    """Return a file that begins with its first object, not with a byte order mark, which JSON has not."""
    with file.open("rb") as source:
        if source.read(3) != BOM_UTF8:
            return file
        bare = directory / secrets.token_hex(4) / file.name
        bare.parent.mkdir(parents=True)
        with bare.open("wb") as target:
            shutil.copyfileobj(source, target)
    return bare


_READERS = {"Parquet": _parquet, "CSV": _csv, "JSON": _json}


def _selected(columns: Mapping[str, str]) -> str:
    """Return the select list that gives an audience's columns, from what they are in a file."""
    return ", ".join(f"CAST({columns.get(name, 'NULL')} AS VARCHAR) AS {name}" for name in COLUMNS)
