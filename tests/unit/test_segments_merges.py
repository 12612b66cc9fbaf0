"""Which contact speaks for which, from what look-ups were answered over time."""

from __future__ import annotations

import duckdb
import pytest

from airflow_provider_journey.segments.merges import find_merges


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([("b", ["a"], 1)], {"a": "b"}),
        ([("b", [], 1)], {}),
        # The newest answer holds.
        ([("b", ["a"], 1), ("c", ["a"], 2)], {"a": "c"}),
        # A merge of a merge, told by answers that know of one each.
        ([("b", ["a"], 1), ("c", ["b"], 2), ("d", ["c"], 3)], {"a": "d", "b": "d", "c": "d"}),
        # Who speaks for himself after he was merged is merged no more; before that he was not yet.
        ([("b", ["a"], 1), ("a", [], 2)], {}),
        ([("a", [], 1), ("b", ["a"], 2)], {"a": "b"}),
        # Nobody speaks for whom he is spoken for by.
        ([("b", ["a"], 1), ("a", ["b"], 2)], {"b": "a"}),
        ([("b", ["a"], 1), ("c", ["b"], 2), ("a", ["c"], 3)], {"b": "a", "c": "a"}),
    ],
)
def test_one_speaks_for_the_others(answers, expected):
    with duckdb.connect() as database:
        database.execute(
            "CREATE TABLE answers (outcome VARCHAR, external_contact_id VARCHAR, merged_ids VARCHAR[],"
            " looked_up_at INTEGER)"
        )
        database.executemany("INSERT INTO answers VALUES ('found', ?, ?, ?)", answers)
        find_merges(database)
        assert dict(database.table("merges").fetchall()) == expected
