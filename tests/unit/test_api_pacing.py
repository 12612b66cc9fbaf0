"""The governor: pure arithmetic over headers and a clock that is handed in."""

from airflow_provider_journey.api.pacing import Governor, Standing, read_standing


def test_calls_leave_freely_before_anything_is_known():
    governor = Governor()
    assert [governor.claim(0.0) for _ in range(5)] == [0.0] * 5


def test_full_window_is_waited_out_and_not_a_second_less():
    governor = Governor()
    assert governor.claim(0.0) == 0
    governor.answered(Standing(count=300, allowed=300, reset=42), now=0.5)
    assert governor.claim(10.5) == 32.0
    assert governor.claim(42.4) > 0
    assert governor.claim(42.5) == 0


def test_calls_on_their_way_take_places():
    governor = Governor()
    governor.claim(0.0)
    governor.answered(Standing(count=297, allowed=300, reset=60), now=0.0)
    assert [governor.claim(1.0) for _ in range(3)] == [0.0] * 3
    assert governor.claim(1.0) == 59.0
    governor.answered(Standing(count=298, allowed=300, reset=59), now=1.0)
    assert governor.claim(1.0) > 0, "two are still on their way to a window with two places"


def test_share_leaves_room_for_others():
    governor = Governor(share=0.5)
    governor.claim(0.0)
    governor.answered(Standing(count=149, allowed=300, reset=30), now=0.0)
    assert governor.claim(0.0) == 0
    assert governor.claim(0.0) == 30.0


def test_others_calls_count():
    governor = Governor(share=0.5)
    governor.claim(0.0)
    governor.answered(Standing(count=2, allowed=300, reset=30), now=0.0)
    governor.claim(0.0)
    governor.answered(Standing(count=150, allowed=300, reset=29), now=1.0)
    assert governor.claim(1.0) == 29.0


def test_next_window_begins_empty():
    governor = Governor()
    governor.claim(0.0)
    governor.answered(Standing(count=10, allowed=10, reset=5), now=0.0)
    assert governor.claim(5.0) == 0
    governor.answered(Standing(count=1, allowed=10, reset=60), now=5.1)
    assert governor.claim(5.2) == 0


def test_answer_from_the_window_before_changes_nothing():
    governor = Governor()
    for _ in range(3):
        governor.claim(0.0)
    governor.answered(Standing(count=10, allowed=10, reset=1), now=0.0)
    governor.answered(Standing(count=1, allowed=10, reset=60), now=1.1)
    governor.answered(Standing(count=10, allowed=10, reset=0), now=1.2)
    assert governor.claim(1.3) == 0


def test_refusal_stops_everybody_until_its_time():
    governor = Governor()
    governor.refused(7.0, now=100.0)
    assert governor.claim(101.0) == 6.0
    governor.refused(2.0, now=101.0)
    assert governor.claim(101.0) == 6.0, "a shorter wait does not lift a longer one"
    assert governor.claim(107.0) == 0


def test_call_without_an_answer_counts_as_used():
    governor = Governor()
    governor.claim(0.0)
    governor.answered(Standing(count=9, allowed=10, reset=10), now=0.0)
    governor.claim(0.0)
    governor.abandoned()
    assert governor.claim(0.0) == 10.0


def test_standing_is_read_from_whole_headers_only():
    headers = {"inin-ratelimit-count": "3", "inin-ratelimit-allowed": "300", "inin-ratelimit-reset": "12"}
    assert read_standing(headers) == Standing(3, 300, 12.0)
    for name in headers:
        assert read_standing({key: value for key, value in headers.items() if key != name}) is None
        assert read_standing({**headers, name: "many"}) is None
    assert read_standing({**headers, "inin-ratelimit-allowed": "0"}) is None
    assert read_standing({**headers, "inin-ratelimit-reset": "inf"}) is None
