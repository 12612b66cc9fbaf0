"""The SQL that reads an answer of the aggregates query into long rows.

Everything that the contract promises is checked on the way: ``error()`` raises as soon as a row breaks it,
which costs less than a second pass over the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from airflow_provider_journey.aggregates.rows import STATS
from airflow_provider_journey.storage.database import literal

# Statistics are read as the JSON they are: a typed column would take the string "5" for a number.
_STATS = "STRUCT(" + ", ".join(f'"{key}" JSON' for _, _, key in STATS) + ")"
_MEASURES = f"metrics STRUCT(metric VARCHAR, qualifier VARCHAR, stats {_STATS})[]"
_VIEWS = f"views STRUCT(name VARCHAR, stats {_STATS})[]"
_GROUP = "MAP(VARCHAR, VARCHAR)"
_DATA = f"STRUCT(interval VARCHAR, {_MEASURES}, {_VIEWS})[]"
_NO_GROUP = f"CAST(MAP {{}} AS {_GROUP})"


def from_list(file: Path) -> str:
    """Return the FROM item for a file that is the list of results: read piece by piece, in bounded memory."""
    columns = f"{{'group': '{_GROUP}', 'data': '{_DATA}'}}"
    return f"read_json({literal(str(file))}, format = 'array', columns = {columns})"


def from_object(file: Path, size: int) -> str:
    """Return the FROM item for a file of ``size`` bytes that is an object, read as one piece."""
    source = (
        f"read_json({literal(str(file))}, format = 'unstructured', records = true,"
        f" maximum_object_size = {size + 16},"
        f" columns = {{'results': 'STRUCT(\"group\" {_GROUP}, data {_DATA})[]'}})"
    )
    results = required("results", "it has no list of results")
    # The only value in it is the file's name, quoted.
    return f"(SELECT unnest({results}, max_depth := 2) FROM {source})"  # noqa: S608


def insert(source: str, group_by: Sequence[str], views: Mapping[str, str], answer: int) -> str:
    """Return the statement that adds the rows of one answer to the table ``answered``.

    :param source: a FROM item with the columns ``group`` and ``data``.
    :param group_by: the dimensions asked for.
    :param views: the metric of each view asked for, by the view's name.
    :param answer: number of the answer, kept with its rows.
    """
    dimensions = [f"d{index}" for index in range(len(group_by))]
    asked = ", ".join(literal(name) for name in group_by)
    others = f'map_entries(coalesce("group", {_NO_GROUP}))'
    if asked:
        others = f"list_filter({others}, lambda entry: entry.key NOT IN ({asked}))"
    values = [
        f'"group"[{literal(name)}] AS {short}' for name, short in zip(group_by, dimensions, strict=True)
    ]
    keys = ", ".join([*dimensions, "others"])
    stats = ", ".join(_number(f'stats."{key}"', kind) for _, kind, key in STATS)
    # Names and values come in through quoted() and literal(): SQL binds no parameters in types and names.
    return f"""
        INSERT INTO answered
        WITH buckets AS (
            SELECT {", ".join([*values, f"map_from_entries(list_sort({others})) AS others"])},
                   unnest({required("data", "a result has no data")}) AS bucket
            FROM {source}),
        measures AS (
            SELECT {keys},
                   CAST(split_part({required("bucket.interval", "a bucket has no interval")}, '/', 1)
                        AS TIMESTAMPTZ) AS bucket_start,
                   CAST(split_part(bucket.interval, '/', 2) AS TIMESTAMPTZ) AS bucket_end,
                   unnest({_measures(views)}) AS measure
            FROM buckets),
        flat AS (
            SELECT {keys}, bucket_start, bucket_end, measure.metric AS metric, measure.qualifier AS qualifier,
                   {"measure.view" if views else "CAST(NULL AS VARCHAR)"} AS view_name, measure.stats AS stats
            FROM measures)
        SELECT bucket_start, bucket_end, {keys},
               {required("metric", "a metric has no name")}, view_name, qualifier, {stats}, {answer}
        FROM flat
        WHERE {required("stats", "a metric has no stats")} IS NOT NULL
    """  # noqa: S608


def _measures(views: Mapping[str, str]) -> str:
    metrics = required("bucket.metrics", "a bucket has no metrics")
    if not views:
        unasked = "error('it has views that were not asked for')"
        return f"CASE WHEN len(bucket.views) > 0 THEN {unasked} ELSE {metrics} END"
    targets = " ".join(f"WHEN {literal(name)} THEN {literal(metric)}" for name, metric in views.items())
    return f"""list_concat(
        list_transform(bucket.metrics, lambda m: struct_pack(
            metric := m.metric, qualifier := m.qualifier, "view" := CAST(NULL AS VARCHAR), stats := m.stats)),
        list_transform(bucket.views, lambda v: struct_pack(
            metric := CASE v.name {targets} ELSE error('it has a view that was not asked for') END,
            qualifier := CAST(NULL AS VARCHAR), "view" := v.name, stats := v.stats)))"""


def required(expression: str, complaint: str) -> str:
    """Return SQL for ``expression`` that raises ``complaint`` where it is null."""
    return f"CASE WHEN {expression} IS NULL THEN error({literal(complaint)}) ELSE {expression} END"


def _number(expression: str, kind: str) -> str:
    text = f"CAST({expression} AS VARCHAR)"
    if kind == "BIGINT":
        # A cast alone would round 5.5 to 6.
        fraction = f"contains({text}, '.') THEN error('a count is not whole')"
        return f"CASE WHEN {fraction} ELSE CAST({text} AS {kind}) END"
    return f"CAST({text} AS {kind})"
