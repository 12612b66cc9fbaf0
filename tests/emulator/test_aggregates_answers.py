"""From a file with an answer to rows: what is read, and what is refused."""

import csv
import json

import duckdb
import pendulum
import pytest

from airflow_provider_journey.aggregates import files
from airflow_provider_journey.aggregates.answers import RowTable
from airflow_provider_journey.aggregates.calendars import Window
from airflow_provider_journey.aggregates.rows import RowShape
from airflow_provider_journey.api.errors import ResponseError

DAY = Window(pendulum.datetime(2026, 11, 22), pendulum.datetime(2026, 11, 23))
NEXT = Window(DAY.end, DAY.end.add(days=1))
HOUR = "2026-11-22T00:00:00.000Z/2026-11-22T01:00:00.000Z"
METRIC = {"metric": "nWebActionsOffered", "stats": {"count": 5}}
VALUE = {"metric": "oJourneyOutcomeValue", "stats": {"count": 2, "sum": 7.5, "min": 2, "max": 5.5}}


def bucket(*metrics, interval=HOUR, **more):
    return {"interval": interval, "metrics": list(metrics or [METRIC]), **more}


def answer(*buckets, **group):
    return {"results": [{"group": group, "data": list(buckets or [bucket()])}]}


@pytest.fixture
def table(tmp_path):
    tables = []

    def make(
        layout="long", group_by=("map",), metrics=("nWebActionsOffered",), partitions=(DAY,), views=None
    ):
        tables.append(RowTable(RowShape(layout, group_by, metrics), partitions, views or {}, tmp_path))
        return tables[-1]

    yield make
    for each in tables:
        each.__exit__(None, None, None)


def add(table, content, window=DAY):
    file = table.directory / "answer.json"
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return table.add(file, window)


def test_long_rows_have_the_query_s_columns_and_everything_in_the_answer(table):
    rows = table()
    assert add(rows, answer(bucket(METRIC, VALUE), map="a", zone="b", region="c")) == 2
    rows.finish()
    empty = dict.fromkeys(name for name, _ in rows.shape.columns[8:])
    key = {
        "interval_start": "2026-11-22T00:00:00.000Z",
        "interval_end": "2026-11-22T01:00:00.000Z",
        "map": "a",
        "other_dimensions": {"region": "c", "zone": "b"},
    }
    long = {"view": None, "qualifier": None}
    found = rows.fetch(DAY, 10)
    assert found == [
        {**key, "metric": "nWebActionsOffered", **long, "count": 5, **empty},
        {
            **key,
            **{"metric": "oJourneyOutcomeValue", **long, "count": 2, **empty},
            **{"sum": 7.5, "min": 2.0, "max": 5.5},
        },
    ]
    assert list(found[0]) == [name for name, _ in rows.shape.columns]
    assert list(found[0]["other_dimensions"]) == ["region", "zone"]


def test_a_group_key_may_lack_and_offsets_are_instants(table):
    rows = table(group_by=("map", "data"))
    berlin = "2026-11-22T01:00:00.000+01:00/2026-11-22T02:00:00.000+01:00"
    add(rows, {"results": [{"data": [bucket(interval=berlin)]}]})
    (row,) = rows.fetch(DAY, 10)
    assert (row["map"], row["data"], row["other_dimensions"]) == (None, None, {})
    assert row["interval_start"] == "2026-11-22T00:00:00.000Z"


def test_every_statistic_of_the_model_has_its_column(table):
    rows = table(group_by=())
    stats = {"count": 1, "countNegative": 2, "countPositive": 3, "sum": 4, "min": 5, "max": 6, "current": 7}
    stats |= {"ratio": 8, "numerator": 9, "denominator": 10, "target": 11, "p95": 12, "p99": 13}
    stats |= {"calculatedMetricValue": 14, "of tomorrow": 15}
    add(rows, answer(bucket({"metric": "nJourneySessions", "qualifier": "q", "stats": stats})))
    (row,) = rows.fetch(DAY, 10)
    assert list(row.values())[3:6] == ["nJourneySessions", None, "q"]
    assert list(row.values())[6:] == list(range(1, 15))


def test_views_are_rows_of_their_metric(table):
    rows = table(group_by=(), views={"small": "oJourneyOutcomeValue"})
    add(rows, answer(bucket(VALUE, views=[{"name": "small", "stats": {"count": 1}}])))
    assert [(row["metric"], row["view"], row["count"]) for row in rows.fetch(DAY, 10)] == [
        ("oJourneyOutcomeValue", "small", 1),
        ("oJourneyOutcomeValue", None, 2),
    ]


def test_wide_rows_have_a_column_for_each_metric(table):
    rows = table("wide", metrics=("nWebActionsOffered", "oJourneyOutcomeValue", "nJourneySessions"))
    add(rows, answer(bucket(METRIC, VALUE), map="a"))
    rows.finish()
    (row,) = rows.fetch(DAY, 10)
    assert list(row.items())[4:] == [
        ("nWebActionsOffered", 5),
        ("oJourneyOutcomeValue_count", 2),
        ("oJourneyOutcomeValue_sum", 7.5),
        ("oJourneyOutcomeValue_min", 2.0),
        ("oJourneyOutcomeValue_max", 5.5),
        ("nJourneySessions", None),
    ]


@pytest.mark.parametrize("content", [b"{}", b' {"results": []} ', b'{"results":[{"data":[]}]}'])
def test_nothing_is_no_row(table, content):
    assert add(table(), content) == 0


def stats(**changed):
    return answer(bucket({**METRIC, "stats": {"count": 5, **changed}}))


BROKEN = {
    "empty": (b"", "not JSON"),
    "html": (b"<html></html>", "not JSON"),
    "list on top": ([answer()], "not an object"),
    "text": (b'"results"', "not an object"),
    "empty list on top": ([], "not an object"),
    "null": (None, "not an object"),
    "zero": (0, "not an object"),
    "no results": ({"message": "x"}, "not an object with a list of results"),
    "results null": ({"results": None}, "list of results"),
    "results an object": ({"results": {}}, "list of results"),
    "result a string": ({"results": ["a"]}, "Expected OBJECT"),
    "result null": ({"results": [None]}, "no data"),
    "no data": ({"results": [{"group": {}}]}, "no data"),
    "data an object": ({"results": [{"data": {}}]}, "Expected ARRAY"),
    "group a list": ({"results": [{"group": ["a"], "data": []}]}, "Expected OBJECT"),
    "no interval": (answer({"metrics": [METRIC]}), "no interval"),
    "interval of one end": (answer(bucket(interval="2026-11-22T00:00:00Z")), "timestamp"),
    "interval a number": (answer(bucket(interval=5)), "timestamp"),
    "interval without end": (answer(bucket(interval="-infinity/infinity")), "outside of the window"),
    "interval far away": (
        answer(bucket(interval="290000-01-01T00:00:00Z/290000-01-02T00:00:00Z")),
        "outside",
    ),
    "interval backwards": (answer(bucket(interval="/".join(reversed(HOUR.split("/"))))), "outside"),
    "no metrics": (answer({"interval": HOUR}), "no metrics"),
    "metric without name": (answer(bucket({"stats": {"count": 1}})), "no name"),
    "metric an object": (answer(bucket({"metric": {"a": 1}, "stats": {"count": 1}})), "not the name"),
    "no stats": (answer(bucket({"metric": "nX"})), "no stats"),
    "stats a list": (answer(bucket({"metric": "nX", "stats": []})), "Expected OBJECT"),
    "count a string": (stats(count="5"), "convert"),
    "count true": (stats(count=True), "convert"),
    "count a fraction": (stats(count=5.5), "not whole"),
    "sum a string": (stats(sum="5"), "convert"),
    "sum not a number": (json.dumps(stats(sum=float("nan"))).encode(), "not a number"),
    "before the window": (
        answer(bucket(interval="2026-11-21T23:00:00Z/2026-11-22T00:00:00Z")),
        "outside of the window",
    ),
    "across the window's end": (
        answer(bucket(interval="2026-11-22T23:00:00Z/2026-11-23T01:00:00Z")),
        "outside of the window",
    ),
    "a view nobody asked for": (answer(bucket(views=[{"name": "v", "stats": {}}])), "not asked for"),
    "bad text": (b'{"results":[{"group":{"map":"\xff"},"data":[]}]}', "not JSON"),
    "two answers": (b"{}{}", "not JSON"),
    "nested deeply": (b'{"results":' + b"[" * 20_000 + b"]" * 20_000 + b"}", "not JSON"),
    "results twice": (json.dumps(answer()).encode()[:-1] + b', "results": []}', "a key twice"),
}


@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize(("content", "cause"), BROKEN.values(), ids=BROKEN)
def test_what_breaks_the_contract_is_refused(table, content, cause, size):
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    if size == "large":
        # Beyond the size that is looked at as a whole before it is read.
        raw, cause = raw + b" " * 70_000, r"breaks the contract"
    with pytest.raises(ResponseError, match=cause):
        add(table(), raw)


@pytest.mark.parametrize("first", ["a", "a" * 66_000], ids=["small", "large"])
def test_no_beginning_of_an_answer_passes_for_one(table, first):
    content = {
        "results": [{"group": {"map": name}, "data": [bucket(METRIC, VALUE)]} for name in (first, "b")]
    }
    raw = json.dumps(content, separators=(",", ":")).encode()
    rows = table()
    for end in range(max(0, len(raw) - 300), len(raw)):
        with pytest.raises(ResponseError):
            add(rows, raw[:end])
    assert add(rows, raw) == 4


def test_a_large_answer_is_read_whatever_stands_around_its_results(table):
    groups = [{"group": {"map": str(number)}, "data": [bucket()]} for number in range(1000)]
    for content in ({"results": groups}, {"a": [1], "results": groups}, {"results": groups, "z": [{}]}):
        for options in ({"separators": (",", ":")}, {"indent": 1}):
            rows = table()
            assert add(rows, json.dumps(content, **options).encode()) == 1000
            rows.finish()


def test_a_bucket_across_two_partitions_is_refused(table):
    both = Window(DAY.start, NEXT.end)
    late = "2026-11-22T23:00:00Z/2026-11-23T01:00:00Z"
    with pytest.raises(ResponseError, match="across two partitions"):
        add(table(partitions=(DAY, NEXT)), answer(bucket(interval=late)), both)


def test_a_row_that_comes_twice_is_refused(table):
    rows = table(partitions=(DAY, NEXT))
    add(rows, answer(map="a"))
    add(rows, answer(map="a"))
    with pytest.raises(ResponseError, match=r"two rows with map='a'.*nWebActionsOffered"):
        rows.finish()


@pytest.mark.parametrize(
    ("metric", "cause"),
    [({**METRIC, "qualifier": "q"}, "has qualifiers"), ({**METRIC, "metric": "nOther"}, "not asked for")],
)
def test_wide_refuses_what_it_has_no_column_for(table, metric, cause):
    with pytest.raises(ResponseError, match=cause):
        add(table("wide"), answer(bucket(metric)))


@pytest.mark.parametrize("layout", ["long", "wide"])
@pytest.mark.parametrize("file_format", files.FORMATS)
def test_types_never_depend_on_the_data(table, tmp_path, layout, file_format):
    full, empty = table(layout), table(layout)
    add(full, answer(map="a"))
    written = [tmp_path / f"{name}.{file_format}" for name in ("full", "empty")]
    assert files.write_rows(full, DAY, written[0], file_format) == 1
    assert files.write_rows(empty, DAY, written[1], file_format) == 0
    if file_format == "parquet":
        schemas = [duckdb.sql(f"DESCRIBE FROM '{file}'").fetchall() for file in written]
        assert schemas[0] == schemas[1]
        assert [row[1] for row in schemas[0][:4]] == [
            "TIMESTAMP WITH TIME ZONE",
            "TIMESTAMP WITH TIME ZONE",
            "VARCHAR",
            "MAP(VARCHAR, VARCHAR)",
        ]
    elif file_format == "csv":
        assert written[0].read_text().splitlines()[0] == written[1].read_text().strip()


def test_text_formats_say_instants_in_utc_and_maps_as_json(table, tmp_path):
    rows = table("wide")
    add(rows, answer(map="a", zone='b"'))
    files.write_rows(rows, DAY, tmp_path / "a.csv", "csv")
    files.write_rows(rows, DAY, tmp_path / "a.jsonl", "jsonl")
    assert (tmp_path / "a.csv").read_text().splitlines() == [
        "interval_start,interval_end,map,other_dimensions,nWebActionsOffered",
        '2026-11-22T00:00:00.000Z,2026-11-22T01:00:00.000Z,a,"{""zone"":""b\\""""}",5',
    ]
    assert json.loads((tmp_path / "a.jsonl").read_text()) == rows.fetch(DAY, 1)[0]


@pytest.mark.parametrize("file_format", files.FORMATS)
@pytest.mark.parametrize(
    "values",
    [
        ["';\ufeff\u00e9\u2028", "NULLa'"],
        ['a;b"\r\n,c', "", "NULL", "\t|"],
        ["\x00", "\u6771\u4eac \U0001f680", "\\"],
    ],
    ids=["quotes that guesses fall for", "separators", "beyond ASCII"],
)
def test_every_value_is_read_back(table, tmp_path, values, file_format):
    rows = table()
    add(rows, {"results": [{"group": {"map": value}, "data": [bucket()]} for value in values]})
    file = tmp_path / f"rows.{file_format}"
    assert files.write_rows(rows, DAY, file, file_format) == len(values)
    if file_format == "parquet":
        found = [row[0] for row in duckdb.sql(f"SELECT map FROM '{file}'").fetchall()]
    else:
        with file.open(encoding="utf-8", newline="") as stream:
            # Python 3.10's csv reads no NUL: something else takes its place meanwhile.
            lines = (line.replace("\0", "\ue000") for line in stream)
            reader = csv.DictReader(lines) if file_format == "csv" else map(json.loads, lines)
            found = [row["map"].replace("\ue000", "\0") for row in reader]
    assert sorted(found) == sorted(values)


def test_a_file_that_is_not_as_written_is_not_taken_for_finished(table, tmp_path):
    rows = table()
    add(rows, answer(map="a"))
    # This name is read as a pattern, so another file's row comes as well.
    (tmp_path / "rows-1.jsonl").write_text('{"interval_start": "2026-11-22"}\n')
    with pytest.raises(OSError, match="holds 2 rows where 1 were written"):
        files.write_rows(rows, DAY, tmp_path / "rows-?.jsonl", "jsonl")


@pytest.mark.parametrize("file_format", files.FORMATS)
def test_rows_are_sorted_whatever_order_they_came_in(table, tmp_path, file_format):
    hours = [f"2026-11-22T{h:02d}:00:00Z/2026-11-22T{h + 1:02d}:00:00Z" for h in range(10)]
    groups = [
        {"group": {"map": name, "x": str(number % 7)}, "data": [bucket(METRIC, VALUE, interval=hour)]}
        for number in range(40)
        for name in (f"{number}", None)
        for hour in hours
        if name or not number
    ]
    for group in groups:
        group["group"] = {key: value for key, value in group["group"].items() if value is not None}
    contents = []
    for order in (groups, groups[::-1]):
        rows = table()
        add(rows, {"results": order})
        file = tmp_path / f"{len(contents)}.{file_format}"
        files.write_rows(rows, DAY, file, file_format)
        contents.append(file.read_bytes())
    assert contents[0] == contents[1]
    found = [(*list(row.values())[:2], row["map"] or "~", row["metric"]) for row in rows.fetch(DAY, 10_000)]
    assert found == sorted(found)
    assert len(found) == len(groups) * 2


def test_each_partition_gets_its_own_rows(table):
    rows = table(partitions=(DAY, NEXT))
    add(
        rows,
        answer(bucket(), bucket(interval="2026-11-23T00:00:00Z/2026-11-23T01:00:00Z")),
        Window(DAY.start, NEXT.end),
    )
    assert [row["interval_start"] for row in rows.fetch(DAY, 9)] == ["2026-11-22T00:00:00.000Z"]
    assert [row["interval_start"] for row in rows.fetch(NEXT, 9)] == ["2026-11-23T00:00:00.000Z"]
