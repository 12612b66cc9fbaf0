"""What an audience may be, and what is said of one that is none."""

from __future__ import annotations

import gzip
import json
import sqlite3

import duckdb
import pytest

from airflow_provider_journey.segments.audience import (
    FileAudience,
    RowsAudience,
    SqlAudience,
    audience_from,
)
from airflow_provider_journey.segments.errors import AudienceError, GuardError
from airflow_provider_journey.segments.files import view_of_files
from airflow_provider_journey.segments.guards import check_guards
from airflow_provider_journey.segments.ledger import Ledger
from airflow_provider_journey.segments.plan import PlanRequest, make_plan
from airflow_provider_journey.segments.progress import MOST_NAMED
from tests.segment_service import rows_of

ID = "00123"
HEADER = b"external_contact_id,segment_id\n"
OTHER = "f0b1a7f4-8a2e-4c55-9a59-3c6ac7a5b9a1"


@pytest.fixture
def plan(tmp_path):
    ledger = Ledger.at(str(tmp_path / "ledger"))

    def looked_at(audience, **request):
        made = make_plan(
            ledger,
            "run",
            audience,
            PlanRequest(list(request.get("segments", ("s1", "s2"))), request.get("mode", "upsert")),
        )
        lines = [tuple(row.values())[1:4] for row in rows_of(ledger, made.run.plan)]
        bad = [
            (row["external_contact_id"], row["segment_id"], row["reason"], row["times"])
            for row in rows_of(ledger, made.run.invalid)
        ]
        return made, lines, bad

    return looked_at


WANTED = [(ID, "s1", "assign"), (OTHER, "s2", "assign")]


def write_text(path, text, pack=False):
    data = text.encode()
    path.write_bytes(gzip.compress(data) if pack else data)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", f"external_contact_id,segment_id\n{ID},s1\n{OTHER},s2\n"),
        ("a.csv", f'\ufeffSegment_ID;x;EXTERNAL_CONTACT_ID\r\ns1;;{ID}\r\ns2;;"{OTHER}"\r\n'),
        ("a.csv", f"x|x|external_contact_id|segment_id\n1|2| {ID}\t|s1 \n3|4|{OTHER}|s2\n"),
        ("a.tsv", f"external_contact_id\tsegment_id\n{ID}\ts1\n{OTHER}\ts2\n"),
        ("a.csv.gz", f"external_contact_id,segment_id\n{ID},s1\n{OTHER},s2\n"),
        (
            "a.jsonl",
            f'{{"external_contact_id": "{ID}", "segment_id": "s1"}}\n{{"segment_id": "s2", "external_contact_id": "{OTHER}", "x": [1]}}\n',
        ),
        (
            "a.json",
            f'[{{"external_contact_id": "{ID}", "segment_id": "s1"}}, {{"segment_id": "s2", "external_contact_id": "{OTHER}"}}]',
        ),
        (
            "a.ndjson",
            f'\ufeff{{"external_contact_id": "{ID}", "segment_id": "s1"}}\n{{"segment_id": "s2", "external_contact_id": "{OTHER}"}}\n',
        ),
        (
            "A.JSON",
            f'\ufeff[{{"external_contact_id": "{ID}", "segment_id": "s1"}}, {{"segment_id": "s2", "external_contact_id": "{OTHER}"}}]',
        ),
        (
            "a.json",
            f'{{"external_contact_id": "{ID}", "segment_id": "s1"}}\n{{"segment_id": "s2", "external_contact_id": "{OTHER}"}}\n',
        ),
    ],
)
def test_text_is_read_as_text(plan, tmp_path, name, text):
    write_text(tmp_path / name, text, pack=name.endswith(".gz"))
    _, lines, bad = plan(FileAudience(str(tmp_path / name)))
    assert lines == WANTED
    assert bad == []


def test_parquet_and_globs_are_read(plan, tmp_path):
    for number, (contact, segment, _) in enumerate(WANTED):
        duckdb.sql(
            f"SELECT '{segment}' AS segment_id, '{contact}' AS External_Contact_Id, 1 AS x"
        ).write_parquet(str(tmp_path / f"part-{number}.parquet"))
    _, lines, _ = plan(FileAudience(f"file://{tmp_path}/part-*.parquet"))
    assert lines == WANTED


def test_files_that_are_alike_are_read_as_one(tmp_path):
    for number in range(4):
        duckdb.sql(f"SELECT {number} AS external_contact_id").write_parquet(
            str(tmp_path / f"{number}.parquet")
        )
    duckdb.sql("SELECT 'four' AS External_Contact_Id, 1 AS x").write_parquet(str(tmp_path / "4.parquet"))
    for number in (5, 6):
        write_text(tmp_path / f"{number}.csv", f"external_contact_id\n0{number}\n")
    database = duckdb.connect()
    database.execute("CREATE TABLE unreadable (line VARCHAR, reason VARCHAR, number BIGINT)")
    assert view_of_files(database, FileAudience(f"{tmp_path}/*.*"), [], tmp_path) == {"external_contact_id"}
    rows = database.execute("SELECT external_contact_id FROM audience_rows ORDER BY ALL").fetchall()
    assert [who for (who,) in rows] == ["0", "05", "06", "1", "2", "3", "four"]
    [(view,)] = database.execute(
        "SELECT sql FROM duckdb_views() WHERE view_name = 'audience_rows'"
    ).fetchall()
    assert view.count("read_parquet") == 3


@pytest.mark.parametrize(("kind", "text"), [("BIGINT", "12"), ("UUID", OTHER), ("BLOB", "12")])
def test_ids_in_parquet_are_as_they_would_be_in_text(plan, tmp_path, kind, text):
    file = str(tmp_path / "a.parquet")
    duckdb.sql(f"SELECT '{text}'::{kind} AS external_contact_id").write_parquet(file)
    assert plan(FileAudience(file), segments=["s1"])[1] == [(text, "s1", "assign")]
    duckdb.sql("SELECT 12::DOUBLE AS External_Contact_Id").write_parquet(file)
    with pytest.raises(
        AudienceError, match=r"a\.parquet has External_Contact_Id as DOUBLE: write it as text"
    ):
        plan(FileAudience(file), segments=["s1"])


def test_one_listed_segment_needs_no_column(plan, tmp_path):
    write_text(tmp_path / "a.csv", f"external_contact_id\n{ID}\n")
    _, lines, _ = plan(FileAudience(str(tmp_path / "a.csv")), segments=["s9"])
    assert lines == [(ID, "s9", "assign")]
    with pytest.raises(AudienceError, match=r"no column segment_id; its columns are: 'external_contact_id'"):
        plan(FileAudience(str(tmp_path / "a.csv")))
    with pytest.raises(AudienceError, match="no column state"):
        plan(FileAudience(str(tmp_path / "a.csv")), segments=["s9"], mode="changes")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.parquet", b"external_contact_id,segment_id\n1,s1\n", "looks like text"),
        ("a.csv", b"PAR1" + bytes(range(256)), "looks like Parquet"),
        ("a.csv", b"PK\x03\x04" + bytes(99), "looks like a zip archive"),
        ("a.csv", b"", "empty"),
        ("a.csv", b'{"external_contact_id": "1", "segment_id": "s1"}\n', "no column external_contact_id"),
        ("a.csv", b"\xff\xfe\x00\x01" * 50, "is not the CSV|no column"),
        ("a.csv", "external_contact_id,name\n1,Böll\n".encode("latin-1"), "Line: 2: it is not UTF-8"),
        pytest.param(
            "a.csv", HEADER + b"1,s1\n" * 9_999 + b"\xfc,s1\n", "line 10001 is not UTF-8", id="late"
        ),
        ("a.csv", HEADER + b'1,s1\n"2,s1\n3,s1\n4,s1\n', "line 3 has a quote that swallows"),
        ("a.csv", HEADER + b'1,s1\n2,"s1\n3,s1\n"4",s1\n5,s1\n', "line 3 has a quote that swallows"),
        ("a.csv", HEADER + b"1,s1\r\n2,s1\n", "do not all end with the same signs"),
        ("a.csv", b"\n" + HEADER, "or its first line is"),
        ("a.jsonl", b"external_contact_id,segment_id\n1,s1\n", "is not the JSON|no column"),
        ("a.jsonl", b'[{"external_contact_id": "1", "segment_id": "s1"}]', "no column"),
        ("a.json", b'{"external_contact_id": "1", "segment_id":\n', "is not the JSON"),
        ("a.parquet", b"PAR1" + bytes(99), "is not the Parquet"),
        ("a.xlsx", b"PK", "ends in one of"),
        ("a.parquet.gz", b"\x1f\x8b", "ends in one of"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused_by_name(plan, tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AudienceError, match=says) as caught:
        plan(FileAudience(str(tmp_path / name)))
    assert name in str(caught.value)


@pytest.mark.parametrize("at", [4, 2000])
def test_a_file_that_is_broken_in_its_middle_is_refused_by_name(plan, tmp_path, at):
    file = tmp_path / "a.parquet"
    duckdb.sql(
        "COPY (SELECT md5(range::VARCHAR) AS external_contact_id, 's1' AS segment_id FROM range(20000))"
        f" TO '{file}' (FORMAT parquet, COMPRESSION snappy)"
    )
    broken = bytearray(file.read_bytes())
    broken[at : at + 200] = b"\xff" * 200
    file.write_bytes(broken)
    with pytest.raises(AudienceError, match=r"a\.parquet cannot be read to its end: .+") as caught:
        plan(FileAudience(str(file)))
    assert "value" not in str(caught.value)


def test_no_file_is_no_empty_audience(plan, tmp_path):
    (tmp_path / "day.parquet").mkdir()
    with pytest.raises(AudienceError, match=r"day\.parquet is a folder: name its files"):
        plan(FileAudience(str(tmp_path / "day.parquet")))
    with pytest.raises(AudienceError, match=r"there is no audience .*gone\.csv"):
        plan(FileAudience(str(tmp_path / "gone.csv")))
    with pytest.raises(AudienceError, match=r"no file matches"):
        plan(FileAudience(str(tmp_path / "*.csv")))


def test_bad_rows_are_kept_with_their_reasons(plan, tmp_path):
    rows = f"{ID},s1\n{ID} , s1\n,s1\nno id,s1\n{ID},\n{ID},s3\nshort\na,b,c,d\n" + "no id,s1\n" * 3
    # Those lead elsewhere in a path.
    rows += " .,s1\n..,s1\n...,s1\n"
    write_text(tmp_path / "a.csv", "external_contact_id,segment_id\n" + rows)
    made, lines, bad = plan(FileAudience(str(tmp_path / "a.csv")))
    assert lines == [("...", "s1", "assign"), (ID, "s1", "assign")]
    assert sorted(bad, key=str) == sorted(
        [
            (ID, "s1", "duplicate", 1),
            (None, "s1", "external_contact_id is missing", 1),
            ("no id", "s1", "external_contact_id is no id", 4),
            (".", "s1", "external_contact_id is no id", 1),
            ("..", "s1", "external_contact_id is no id", 1),
            (ID, None, "segment_id is missing", 1),
            (ID, "s3", "segment_id is not one of those listed", 1),
            ("short", None, "unreadable: missing columns", 1),
            ("a,b,c,d", None, "unreadable: too many columns", 1),
        ],
        key=str,
    )
    assert (made.summary.rows, made.summary.invalid, made.summary.duplicates, made.summary.pairs) == (
        14,
        11,
        1,
        2,
    )


def test_a_line_that_is_no_object_is_invalid_wherever_it_stands(plan, tmp_path):
    good = f'{{"external_contact_id": "{ID}", "segment_id": "s1"}}\n'
    for text in ("{bad\n" + good, good + "{bad\n", good * 30_000 + "[]\n"):
        write_text(tmp_path / "a.jsonl", text)
        _, lines, bad = plan(FileAudience(str(tmp_path / "a.jsonl")))
        assert lines == WANTED[:1]
        assert (None, None, "external_contact_id is missing", 1) in bad


def test_an_object_need_not_name_what_it_lacks(plan, tmp_path):
    first, late = (
        f'{{"external_contact_id": "{ID}"}}\n',
        f'{{"segment_id": "s2", "external_contact_id": "{OTHER}"}}',
    )
    write_text(tmp_path / "a.jsonl", first * 30_000 + late)
    _, lines, bad = plan(FileAudience(str(tmp_path / "a.jsonl")))
    assert lines == WANTED[1:]
    assert bad == [(ID, None, "segment_id is missing", 30_000)]


@pytest.mark.parametrize(
    ("name", "text"), [("a.json", "[]"), ("a.json", " \n"), ("a.jsonl", ""), ("a.csv", HEADER.decode())]
)
def test_nobody_is_an_empty_audience(plan, tmp_path, name, text):
    write_text(tmp_path / name, text)
    made, lines, bad = plan(FileAudience(str(tmp_path / name)))
    assert (made.summary.rows, lines, bad) == (0, [], [])
    with pytest.raises(GuardError, match="The audience is empty: 0 rows"):
        check_guards(made)


def test_contradicting_rows_are_invalid_and_states_are_read_kindly(plan):
    rows = [
        {"external_contact_id": "a", "state": "Assigned"},
        {"external_contact_id": "a", "state": "unassigned"},
        {"external_contact_id": "a", "state": "Assigned"},
        {"external_contact_id": "b", "state": " UNASSIGNED "},
        {"external_contact_id": "c", "state": "gone"},
        {"external_contact_id": "d", "state": None},
    ]
    made, lines, bad = plan(RowsAudience(rows), segments=["s"], mode="changes")
    assert lines == [("b", "s", "unassign")]
    assert sorted(bad) == [
        ("a", "s", "both Assigned and Unassigned", 3),
        ("c", "s", "state is neither Assigned nor Unassigned", 1),
        ("d", "s", "state is neither Assigned nor Unassigned", 1),
    ]
    assert made.summary.pairs == 1


def test_a_million_invalid_rows_are_a_message_with_a_few_of_them(plan, tmp_path):
    duckdb.sql(
        "SELECT 'not an id ' || i AS external_contact_id, 's1' AS segment_id FROM range(1000000) AS r(i)"
    ).write_parquet(str(tmp_path / "a.parquet"))
    made, lines, _ = plan(FileAudience(str(tmp_path / "a.parquet")))
    assert lines == []
    with pytest.raises(GuardError) as caught:
        check_guards(made)
    message = str(caught.value)
    assert "1,000,000 rows, 1,000,000 of them invalid" in message
    assert message.count("'not an id ") == MOST_NAMED <= 5
    assert "allow_empty" in message
    check_guards(made, allow_empty=True)


def test_a_query_is_read_in_batches(plan, tmp_path, monkeypatch):
    with sqlite3.connect(tmp_path / "crm.db") as database:
        database.execute("CREATE TABLE members (contact INTEGER, segment TEXT)")
        database.executemany("INSERT INTO members VALUES (?, 's1')", ((n,) for n in range(45_000)))
    database.close()
    connection = {"conn_type": "sqlite", "host": str(tmp_path / "crm.db")}
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps(connection))
    sql = "SELECT segment AS SEGMENT_ID, contact AS external_contact_id FROM members"
    made, lines, _ = plan(SqlAudience("crm", sql))
    assert len(lines) == made.summary.rows == 45_000
    assert ("44999", "s1", "assign") in lines
    with pytest.raises(AudienceError, match="the audience's query has no column segment_id"):
        plan(SqlAudience("crm", "SELECT contact AS external_contact_id FROM members"))
    with pytest.raises(AudienceError, match="'crm' returns no rows by its nature"):
        plan(SqlAudience("crm", "DELETE FROM members WHERE false"))


def test_rows_of_a_task_are_mappings_with_the_columns(plan):
    with pytest.raises(
        AudienceError,
        match="first row has no column external_contact_id, and no email.* its columns are: 'id'",
    ):
        plan(RowsAudience([{"id": 1}]))
    with pytest.raises(AudienceError, match="row 1 of the audience is a list"):
        plan(RowsAudience([{"external_contact_id": "a", "segment_id": "s1"}, ["b"]]))
    _, lines, _ = plan(RowsAudience([]))
    assert lines == []


def test_a_value_that_no_line_holds_ends_nothing_but_its_own_row(plan):
    odd = ["a\rb", "a\nb", "a\r\nb", 'a"b', "a,b", "a\0b", "a\ud800b"]
    rows = [{"external_contact_id": each, "segment_id": "s1"} for each in [*odd, f"{ID}\r", f"\r\n{OTHER}"]]
    made, lines, bad = plan(RowsAudience(rows))
    assert lines == [(ID, "s1", "assign"), (OTHER, "s1", "assign")]
    assert {row[:3] for row in bad} == {
        (each.replace("\ud800", "?"), "s1", "external_contact_id is no id") for each in odd
    }
    assert made.summary.rows == len(odd) + 2


@pytest.mark.parametrize(
    "audience",
    [FileAudience("s3://b/a.csv", conn_id="x"), SqlAudience("c", "SELECT 1"), RowsAudience([{"a": 1}])],
)
def test_an_audience_becomes_plain_data_and_back(audience):
    plain = audience.to_dict()
    assert type(plain) is dict
    assert audience_from(plain) == audience_from(audience) == audience


def test_what_is_no_audience_is_refused():
    assert audience_from([{"a": 1}]) == RowsAudience([{"a": 1}])
    for wrong in ("a.csv", None, {"kind": "ftp"}, {"kind": "file", "pth": "x"}):
        with pytest.raises(AudienceError, match="audience"):
            audience_from(wrong)
