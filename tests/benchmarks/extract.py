"""An aggregate answer of 32 MB to sorted Parquet: the extract's own code, pandas, and bare DuckDB."""

import importlib
import json
import random
import shutil
import sys
import uuid
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks.harness import Figure, measure, report

FASTER, MEMORY = 2.5, 0.7
GROUP_BY = ("journeyActionMapId", "journeyActionMediaType", "journeySessionType")
COUNTS = tuple(f"nWebActions{event}" for event in ("Qualified", "Offered", "Accepted", "Rejected", "Engaged"))
VALUES = ("oJourneyOutcomeValue", "oJourneyOutcomeTouchpointValue")
MAPS, MEDIA, SESSIONS, HOURS = (
    250,
    ("webchat", "contentOffer", "openAction", "architectFlow", "slack"),
    ("web", "app"),
    24,
)
ROWS = MAPS * len(MEDIA) * len(SESSIONS) * HOURS * len(COUNTS + VALUES)
STATS = ("count", "countNegative", "countPositive", "sum", "min", "max", "current", "ratio", "numerator")
STATS += ("denominator", "target", "p95", "p99", "calculatedMetricValue")
COLUMNS = ("count", "count_negative", "count_positive", *STATS[3:-1], "calculated_metric_value")
KEYS = ("interval_start", "interval_end", *GROUP_BY, "other_dimensions", "metric", "view", "qualifier")


def make_answer(file):
    """Write a day's answer: 2,500 groups of 24 hours of seven metrics."""
    chance = random.Random(7)

    def metric(name):
        stats = {"count": chance.randrange(2000)}
        if name in VALUES:
            least, most = sorted((chance.randrange(1000) / 100, chance.randrange(1000) / 100))
            stats |= {"sum": round(stats["count"] * (least + most) / 2), "min": least, "max": most}
        return {"metric": name, "stats": stats}

    hours = [f"2026-11-22T{hour:02d}:00:00.000Z" for hour in range(HOURS)] + ["2026-11-23T00:00:00.000Z"]
    maps = [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(MAPS)]
    results = [
        {
            "group": dict(zip(GROUP_BY, group, strict=True)),
            "data": [
                {"interval": f"{start}/{end}", "metrics": [metric(name) for name in COUNTS + VALUES]}
                for start, end in pairwise(hours)
            ],
        }
        for group in ((a, b, c) for a in maps for b in MEDIA for c in SESSIONS)
    ]
    chance.shuffle(results)
    file.write_text(json.dumps({"results": results}, separators=(",", ":")))


def ours(source, target):
    import pendulum

    from airflow_provider_journey.aggregates import files
    from airflow_provider_journey.aggregates.answers import RowTable
    from airflow_provider_journey.aggregates.calendars import Window
    from airflow_provider_journey.aggregates.rows import RowShape

    importlib.import_module("duckdb")
    day = Window(pendulum.datetime(2026, 11, 22), pendulum.datetime(2026, 11, 23))

    def work():
        with RowTable(RowShape("long", GROUP_BY, COUNTS + VALUES), [day], {}, target.parent) as rows:
            rows.add(source, day)
            rows.finish()
            files.write_rows(rows, day, target, "parquet")

    return work


def pandas(source, target):
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"interval_start": pa.timestamp("us", "UTC"), "interval_end": pa.timestamp("us", "UTC")}
    types |= dict.fromkeys((*GROUP_BY, "metric", "view", "qualifier"), pa.string())
    types |= {"other_dimensions": pa.map_(pa.string(), pa.string())}
    types |= {name: pa.int64() if name.startswith("count") else pa.float64() for name in COLUMNS}

    def work():
        frame = pd.json_normalize(
            json.loads(source.read_bytes())["results"],
            record_path=["data", "metrics"],
            meta=["group", ["data", "interval"]],
        )
        # json_normalize takes keys of a group apart only where the records are one level below it.
        groups = frame.pop("group")
        for name in GROUP_BY:
            frame[name] = [group.get(name) for group in groups]
        frame = frame.rename(columns={f"stats.{key}": name for key, name in zip(STATS, COLUMNS, strict=True)})
        # A bucket's interval is on every row of it: the few there are are taken apart once each.
        ends = {text: text.split("/") for text in frame["data.interval"].unique()}
        for index, name in enumerate(("interval_start", "interval_end")):
            instants = {text: pd.Timestamp(parts[index]) for text, parts in ends.items()}
            frame[name] = frame["data.interval"].map(instants)
        frame = frame.sort_values([name for name in KEYS if name in frame], ignore_index=True)
        arrays = []
        for name in (*KEYS, *COLUMNS):
            if name == "other_dimensions":
                empty = pa.array([0] * (len(frame) + 1), pa.int32())
                arrays.append(
                    pa.MapArray.from_arrays(empty, pa.array([], pa.string()), pa.array([], pa.string()))
                )
            elif name in frame:
                arrays.append(pa.array(frame[name], types[name], from_pandas=True))
            else:
                arrays.append(pa.nulls(len(frame), types[name]))
        pq.write_table(pa.table(arrays, [*KEYS, *COLUMNS]), target, compression="zstd")

    return work


def duckdb(source, target):
    import duckdb as engine

    kinds = {key: "BIGINT" if key.startswith("count") else "DOUBLE" for key in STATS}
    stats = ", ".join(f'"{key}" {kind}' for key, kind in kinds.items())
    metrics = f"STRUCT(metric VARCHAR, qualifier VARCHAR, stats STRUCT({stats}))[]"
    result = f'STRUCT("group" MAP(VARCHAR, VARCHAR), data STRUCT(interval VARCHAR, metrics {metrics})[])'
    dimensions = ", ".join(f"\"group\"['{name}'] AS {name}" for name in GROUP_BY)
    order = ", ".join(KEYS)

    def work():
        engine.sql("SET TimeZone = 'UTC'")
        engine.execute(f"""
            COPY (
                WITH results AS (
                    SELECT unnest(results, max_depth := 2)
                    FROM read_json('{source}', columns = {{'results': '{result}[]'}}, records = true,
                                   format = 'unstructured', maximum_object_size = {source.stat().st_size + 16})),
                buckets AS (SELECT "group", unnest(data) AS bucket FROM results),
                metrics AS (
                    SELECT "group", split_part(bucket.interval, '/', 1)::TIMESTAMPTZ AS interval_start,
                           split_part(bucket.interval, '/', 2)::TIMESTAMPTZ AS interval_end,
                           unnest(bucket.metrics) AS measure
                    FROM buckets)
                SELECT interval_start, interval_end, {dimensions},
                       map_from_entries(list_filter(map_entries("group"), lambda e: e.key NOT IN {GROUP_BY}))
                           AS other_dimensions,
                       measure.metric AS metric, NULL::VARCHAR AS "view",
                       measure.qualifier AS qualifier, unnest(measure.stats)
                FROM metrics ORDER BY {order}
            ) TO '{target}' (FORMAT parquet, COMPRESSION zstd)
        """)

    return work


def same(left, right):
    import duckdb as engine

    both = [
        f"SELECT * REPLACE (map_entries(other_dimensions) AS other_dimensions) FROM '{file}'"
        for file in (left, right)
    ]
    for one, other in (both, both[::-1]):
        if engine.sql(f"SELECT 1 FROM ({one} EXCEPT ALL {other}) LIMIT 1").fetchall():
            raise SystemExit(f"{left} and {right} do not hold the same rows")


def main():
    with TemporaryDirectory(prefix="journey-benchmark-") as folder:
        answer, spool = Path(folder) / "answer.json", Path(folder) / "spool.json"
        make_answer(answer)
        size = answer.stat().st_size / 1e6
        costs, targets = {}, {}
        for way in ("ours", "pandas", "duckdb"):
            targets[way] = Path(folder) / f"{way}.parquet"
            costs[way] = measure(
                "tests.benchmarks.extract",
                *(way, str(spool), str(targets[way])),
                before=lambda: shutil.copyfile(answer, spool),
            )
        same(targets["ours"], targets["duckdb"])
        same(targets["ours"], targets["pandas"])
    rate = {way: ROWS / cost.seconds for way, cost in costs.items()}
    faster = rate["ours"] / rate["pandas"]
    memory = costs["ours"].peak_mib / costs["pandas"].peak_mib
    return [
        *(
            Figure(
                f"{size:.0f} MB of answer to Parquet: {way}",
                rate[way],
                "rows/s",
                note=f"peak {cost.peak_mib:.0f} MiB",
            )
            for way, cost in costs.items()
        ),
        Figure("rows per second over bare DuckDB's", rate["ours"] / rate["duckdb"], "x"),
        Figure("rows per second over pandas'", faster, "x", f">= {FASTER:g}", faster >= FASTER),
        Figure("peak memory over pandas'", memory, "x", f"<= {MEMORY:g}", memory <= MEMORY),
    ]


if __name__ == "__main__":
    way, *paths = sys.argv[1:]
    job = {"ours": ours, "pandas": pandas, "duckdb": duckdb}[way](*map(Path, paths))
    if any(name == "airflow" for name in sys.modules):
        raise SystemExit("Airflow is no part of this measurement")
    report(job)
