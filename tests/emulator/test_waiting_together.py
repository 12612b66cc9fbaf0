"""A thousand deferred sensors in one process."""

from tests.benchmarks.waiting import LIMIT_MS, TRIGGERS, measure


def test_thousand_triggers_leave_the_loop_free_and_ask_once_per_interval():
    figures = measure(TRIGGERS, 6.0, 9.0)
    assert figures["held"] < LIMIT_MS
    # The turn of each comes once in this time, and that of one which was there before a few times more.
    assert TRIGGERS / 10 <= figures["calls"] <= TRIGGERS + 10
