"""The circuit breaker: when it opens, what it lets through, when it closes."""

from hypothesis import given
from hypothesis import strategies as st

from streams.pipeline.breaker import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, RECENT_RECORDS, Breaker

batches = st.lists(st.tuples(st.integers(1, 5_000), st.floats(0, 1)), min_size=1, max_size=40)


def test_a_few_bad_records_open_nothing() -> None:
    """A device that sends fewer bad records than count as recent is rejected record by record."""
    breaker = Breaker(0.5)
    assert breaker.admits(RECENT_RECORDS - 1, RECENT_RECORDS - 1, 0.0)
    assert breaker.is_closed


def test_most_bad_opens_a_trial_goes_through_and_good_ones_close() -> None:
    """Bad input is paused, one batch goes through after the pause, and a good one ends it."""
    breaker = Breaker(0.5)
    assert not breaker.admits(2_000, 1_500, 0.0)
    assert breaker.is_paused
    assert not breaker.is_closed
    assert not breaker.pause_is_over(FIRST_PAUSE_SECONDS - 0.1)
    assert breaker.pause_is_over(FIRST_PAUSE_SECONDS)
    assert not breaker.is_paused
    assert breaker.admits(2_000, 1_500, 10.0)  # the trial is applied, and is bad
    assert breaker.is_paused
    assert not breaker.pause_is_over(10.0 + FIRST_PAUSE_SECONDS)
    assert breaker.pause_is_over(10.0 + 2 * FIRST_PAUSE_SECONDS)
    assert breaker.admits(100, 0, 30.0)
    assert breaker.is_closed
    assert not breaker.is_paused


def test_old_good_records_do_not_hide_new_bad_ones() -> None:
    """After a million good records it takes about a thousand bad ones, not a million."""
    breaker = Breaker(0.5)
    assert all(breaker.admits(10_000, 0, 0.0) for _ in range(100))
    bad = 0
    while breaker.admits(100, 100, 0.0):
        bad += 100
    assert RECENT_RECORDS / 2 <= bad <= 2 * RECENT_RECORDS


@given(batches)
def test_what_is_switched_off_pauses_nothing(drawn: list[tuple[int, float]]) -> None:
    """With share 0 every batch is admitted."""
    breaker = Breaker(0.0)
    assert all(breaker.admits(records, int(records * bad), 0.0) for records, bad in drawn)
    assert not breaker.is_paused


@given(batches, st.floats(0.01, 1.0))
def test_pauses_are_bounded_and_progress_goes_on(drawn: list[tuple[int, float]], share: float) -> None:
    """Whatever comes, a pause ends in bounded time, and the batch after it is admitted."""
    breaker, now = Breaker(share), 0.0
    for records, bad in drawn:
        admitted = breaker.admits(records, int(records * bad), now)
        assert admitted or breaker.is_paused
        if breaker.is_paused:
            assert not breaker.is_closed
            now += LONGEST_PAUSE_SECONDS
            assert breaker.pause_is_over(now)
            assert breaker.admits(records, records, now)
            now += LONGEST_PAUSE_SECONDS
            breaker.pause_is_over(now)


@given(batches)
def test_good_input_is_never_paused(drawn: list[tuple[int, float]]) -> None:
    """With less than the share rejected in every batch the circuit stays closed."""
    breaker = Breaker(0.5)
    assert all(breaker.admits(records, int(records * bad * 0.49), 0.0) for records, bad in drawn)
