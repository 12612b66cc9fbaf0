"""The governor's rules one by one: pure arithmetic over headers and a time that is handed in."""

import threading

import pytest

from airflow_provider_journey.api.pacing import Governor, Standing, read_standing


def call(governor, standing, now, latency=0.0):
    """Send a call that may leave at once, and read its answer."""
    assert governor.claim(now) == 0
    governor.answered(standing, now, now + latency)


def knowing(count, allowed=300, reset=60, share=1.0, others=0.0):
    """Return a governor in its second window, of which an answer at 100.0 told this, as many did before."""
    governor = Governor(share)
    call(governor, Standing(1, allowed, reset), 0.0)
    call(governor, Standing(count, allowed, reset), 100.0)
    governor._others, governor._proven = others, 100
    return governor


def leave(governor, now, until):
    """Return how many calls leave between two moments when none is answered."""
    left = 0
    while now < until:
        delay = governor.claim(now)
        left, now = left + (delay == 0), now + delay
    return left


def test_first_call_asks_and_the_others_wait_for_its_answer():
    governor = Governor()
    assert governor.claim(0.0) == 0
    assert 0 < governor.claim(0.0) <= 0.1
    governor.answered(Standing(1, 300, 60), 0.0, 0.2)
    assert governor.claim(0.3) == 0


def test_call_that_hangs_holds_nobody_up():
    governor = Governor()
    assert governor.claim(0.0) == 0
    assert governor.claim(0.9) > 0
    assert governor.claim(1.0) == 0


def test_nothing_is_held_back_where_no_limit_is_told():
    governor = Governor()
    call(governor, None, 0.0)
    assert [governor.claim(0.0) for _ in range(50)] == [0.0] * 50
    assert governor.standing(0.0) is None
    assert governor.rate() is None


def test_as_many_are_on_their_way_as_have_been_answered_and_one():
    governor = Governor()
    for answered in range(1, 4):
        call(governor, Standing(answered, 300, 60), answered * 0.1)
    assert [governor.claim(0.5 + n / 10) == 0 for n in range(5)] == [True, True, True, True, False]


def test_full_window_is_waited_out():
    governor = knowing(count=300, reset=42)
    assert governor.claim(110.0) == 32.0
    assert governor.claim(141.9) == pytest.approx(0.1)
    assert governor.claim(142.0) == 0


def test_places_left_are_taken_and_no_more():
    governor = knowing(count=290)
    assert leave(governor, 101.0, until=159.0) == 10


def test_places_left_near_the_end_are_taken_in_time():
    governor = knowing(count=180)
    call(governor, Standing(181, 300, 1), 158.5)
    governor._proven = 100
    assert leave(governor, 158.5, until=159.5) > 40, "at the pace for a whole window it would be 9"


def test_share_of_the_limit_includes_everybodys_calls():
    assert leave(knowing(count=145, share=0.5), 101.0, until=159.0) == 5
    assert knowing(count=150, share=0.5).claim(101.0) == 59.0


def test_others_calls_are_expected_beside_ours():
    governor = knowing(count=280, others=3.0)
    assert leave(governor, 101.0, until=159.0) == 4, (
        "4 x (1 + 3) and a spare hundredth fit into 20, 5 x 4 do not"
    )


def test_answers_out_of_order_are_not_taken_for_others():
    assert leave(knowing(count=290, others=0.1), 101.0, until=159.0) == 10


def test_others_are_measured_by_what_the_count_grows_beyond_our_calls():
    governor = knowing(count=1)
    now = 101.0
    for count in range(5, 165, 4):
        call(governor, Standing(count, 300, 160 - int(now)), now)
        now += 0.5
    assert governor._others == pytest.approx(3.0, abs=0.1)


def test_many_others_never_keep_more_than_a_part_from_us():
    assert knowing(count=240, others=200.0).claim(101.0) == 0
    assert knowing(count=270, others=200.0).claim(101.0) == 59.0


def test_calls_follow_slower_the_fuller_the_window():
    waits = []
    for count in (1, 150, 250, 295):
        governor = knowing(count)
        assert governor.claim(100.9) == 0
        waits.append(governor.claim(100.9))
    assert waits == sorted(waits)
    assert waits[0] == pytest.approx(12 / 298)
    assert waits[-1] == 0.5


def test_last_two_seconds_are_not_rushed():
    governor = knowing(count=1, reset=2)
    assert governor.claim(100.9) == 0
    assert governor.claim(100.9) == pytest.approx(2 / 298)


def test_slow_answers_slow_the_calls():
    governor = knowing(count=290)
    call(governor, Standing(291, 300, 60), 100.5, latency=3.0)
    assert governor.claim(103.5) == 0
    assert governor.claim(103.5) == pytest.approx(24 / 8)


def test_slow_answers_do_not_let_the_count_grow_old():
    governor = knowing(count=297)
    call(governor, Standing(298, 300, 60), 100.5, latency=1.0)
    assert governor.claim(101.5) == 1.0, "two seconds lie between two calls that take one"


def test_answer_on_its_way_may_show_a_place():
    governor = knowing(count=299)
    assert governor.claim(100.9) == 0
    assert 0 < governor.claim(100.9) <= 0.1


def test_nobody_sleeps_into_the_next_window():
    governor = knowing(count=290)
    assert governor.claim(159.9) == 0
    governor.answered(Standing(291, 300, 1), 159.9, 159.9)
    assert max(governor.claim(159.9) for _ in range(50)) <= 0.1 + 1e-9


def test_one_asks_at_the_end_of_a_busy_window():
    governor = knowing(count=1)
    call(governor, Standing(2, 300, 1), 159.5)
    governor._proven = 100
    assert governor.claim(160.0) == 0
    assert governor.claim(160.01) > 0


def test_new_window_of_two_seconds_is_told_by_its_count():
    governor = Governor()
    call(governor, Standing(5, 10, 2), 0.0)
    call(governor, Standing(1, 10, 1), 3.0)
    assert governor.standing(3.1).count == 1


def test_reset_rounded_to_the_nearest_does_not_bring_the_end_forward():
    governor = knowing(count=1)
    call(governor, Standing(300, 300, 59), 100.6)
    assert governor.claim(101.0) == 59.0


def test_who_waits_behind_others_wakes_later():
    governor = knowing(count=100)
    assert governor.claim(100.9) == 0
    told = [governor.claim(100.9) for _ in range(5)]
    assert told == sorted(set(told))


@pytest.mark.parametrize(("reset", "end"), [(60, 60.0), (59, 60.0), (10, 10.0), (9, 10.0), (37, 37.0)])
def test_longest_reset_that_looks_rounded_down_gets_its_second_back(reset, end):
    assert knowing(count=300, reset=reset).claim(100.0) == end


@pytest.mark.parametrize(("reset", "end"), [(37, 38.0), (59, 60.0), (60, 60.0)])
def test_first_end_is_waited_for_a_second_longer_unless_it_is_a_whole_windows(reset, end):
    governor = Governor()
    call(governor, Standing(300, 300, reset), 0.0)
    assert governor.claim(0.0) == end


@pytest.mark.parametrize(("reset", "end"), [(7, 7.0), (6, 7.0), (5, 6.0)])
def test_end_told_by_less_than_a_whole_window_is_waited_for_a_second_longer(reset, end):
    governor = Governor()
    call(governor, Standing(1, 300, 7), 0.0)
    call(governor, Standing(300, 300, reset), 100.0)
    assert governor.claim(100.0) == end


def test_end_that_was_guessed_too_early_is_learned_once_and_for_good():
    governor = knowing(count=300)
    assert governor.claim(160.0) == 0
    governor.answered(Standing(300, 300, 0), 160.0, 160.1)
    assert governor.claim(160.1) == pytest.approx(1.0), "the window lasts up to a second longer"
    call(governor, Standing(1, 300, 60), 161.2)
    call(governor, Standing(300, 300, 59), 162.2)
    assert governor.claim(163.0) == pytest.approx(222.2 - 163.0)


def test_answer_to_a_call_of_the_old_window_says_nothing_about_the_new_one():
    governor = Governor()
    assert [governor.claim(0.0), governor.claim(1.0)] == [0, 0]
    call(governor, Standing(1, 300, 60), 61.0)
    governor.answered(Standing(300, 300, 0), 0.0, 61.2)
    assert governor.claim(62.0) == 0
    assert governor.standing(62.0) == Standing(3, 300, 59.0), "one was counted, two are on their way"


def test_slow_first_answer_does_not_put_the_end_off():
    governor = Governor()
    call(governor, Standing(1, 10, 60), 0.0, latency=5.0)
    call(governor, Standing(10, 10, 55), 5.0, latency=0.1)
    assert governor.claim(6.0) == pytest.approx(60.1 + 1 - 6.0), (
        "55 is not a whole window, 60 would have been"
    )


def test_counts_that_come_out_of_order_do_not_free_places():
    governor = knowing(count=299)
    governor.claim(101.0)
    governor.answered(Standing(290, 300, 59), 101.0, 101.5)
    assert governor.standing(101.5).count == 299


def test_refusal_is_honoured_in_full_by_everybody_and_then_one_asks():
    governor = knowing(count=20)
    governor.refused(7.0, 101.0)
    assert governor.claim(102.0) == 6.0
    governor.refused(2.0, 102.0)
    assert governor.claim(102.0) == 6.0, "a shorter wait does not lift a longer one"
    assert governor.claim(108.0) == 0
    assert governor.claim(108.1) > 0


def test_lower_limit_in_mid_run_holds_at_once():
    governor = knowing(count=200)
    call(governor, Standing(201, 180, 50), 110.0)
    assert governor.claim(111.0) == pytest.approx(49.0)
    assert governor.rate() == 3.0


def test_higher_limit_in_mid_run_opens_at_once():
    governor = knowing(count=179, allowed=180)
    call(governor, Standing(180, 300, 50), 110.0)
    assert governor.claim(111.0) == 0


def test_limit_of_another_operation_has_a_count_of_its_own():
    governor = knowing(count=200)
    call(governor, Standing(3, 60, 50), 110.0)
    assert governor.standing(110.0) == Standing(3, 60, 50.0)


def test_headers_that_go_missing_leave_several_on_their_way():
    governor = knowing(count=1)
    call(governor, None, 160.0)
    call(governor, None, 160.5)
    assert [governor.claim(160.7), governor.claim(160.9)] == [0, 0]


def test_headers_that_go_missing_loosen_nothing():
    governor = knowing(count=298)
    call(governor, None, 101.0)
    call(governor, None, 102.0)
    assert governor.claim(103.0) == 57.0
    sent, now = 0, 160.0
    while now < 220.0:
        if delay := governor.claim(now):
            now += delay
        else:
            governor.answered(None, now, now)
            sent += 1
    assert sent == 300


def test_one_asks_again_after_a_long_pause():
    governor = knowing(count=20)
    assert governor.claim(100_000.0) == 0
    assert governor.claim(100_000.0) > 0
    governor.answered(Standing(300, 300, 30), 100_000.0, 100_000.2)
    assert governor.claim(100_001.0) == pytest.approx(30.2)


def test_one_asks_when_a_count_has_grown_old_within_its_window():
    governor = Governor()
    for count in range(1, 40):
        call(governor, Standing(count, 300, 60), count * 0.1)
    assert leave(governor, 30.0, until=30.9) == 1


def test_call_without_an_answer_counts_and_is_no_longer_on_its_way():
    governor = knowing(count=298)
    governor.claim(101.0)
    governor.abandoned(101.0)
    assert governor.standing(101.0) == Standing(299, 300, 59.0)
    assert governor.standing(161.0).count == 0


def test_standing_and_rate_tell_of_our_share():
    governor = knowing(count=20, share=0.5)
    governor.claim(101.0)
    assert governor.standing(101.0) == Standing(21, 150, 59.0)
    assert governor.rate() == 2.5
    assert knowing(count=1, reset=59).rate() == 5.0, "59 is a minute rounded down"


class Held(float):
    """A moment which holds up whoever computes with it."""

    def __new__(cls, moment):
        held = super().__new__(cls, moment)
        held.reached, held.released = threading.Event(), threading.Event()
        return held

    def __rsub__(self, other):
        self.reached.set()
        assert self.released.wait(5)
        return other - float(self)


def test_threads_decide_one_after_the_other():
    governor, held, told = knowing(count=299), Held(102.0), []
    first = threading.Thread(target=lambda: told.append(governor.claim(held)))
    second = threading.Thread(target=lambda: told.append(governor.claim(102.0)))
    first.start()
    assert held.reached.wait(5)
    second.start()
    second.join(0.05)
    assert second.is_alive()
    held.released.set()
    first.join(5)
    second.join(5)
    assert told[0] == 0
    assert told[1] > 0


def test_standing_is_read_from_whole_headers_only():
    headers = {"inin-ratelimit-count": "3", "inin-ratelimit-allowed": "300", "inin-ratelimit-reset": "12"}
    assert read_standing(headers) == Standing(3, 300, 12.0)
    for name in headers:
        assert read_standing({key: value for key, value in headers.items() if key != name}) is None
        assert read_standing({**headers, name: "many"}) is None
    assert read_standing({**headers, "inin-ratelimit-allowed": "0"}) is None
    assert read_standing({**headers, "inin-ratelimit-reset": "inf"}) is None


def test_who_waits_for_the_first_answer_asks_again_soon():
    governor = Governor()
    assert governor.claim(0.0) == 0.0
    delays = [governor.claim(0.0) for _ in range(15)]
    assert max(delays) <= 0.1, "a small sync is over by then"
