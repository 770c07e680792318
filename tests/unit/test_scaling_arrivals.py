"""The rate of a counter that is told late, stands still, jumps and begins anew."""

from __future__ import annotations

import random
from bisect import bisect_right

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from laneway.scaling.arrivals import STATISTICS_AGE, Arrivals, CounterWindow, GaugeWindow, Rate
from laneway.scaling.simulate.trace import arrivals_of


def seen(*points: tuple[float, float], window: float = 60) -> CounterWindow:
    counter = CounterWindow(window)
    for at, count in points:
        counter.add(at, count)
    return counter


def per_second(counter: CounterWindow) -> float:
    rate = counter.rate()
    assert rate is not None
    return rate.per_second


def test_nothing_is_known_of_one_number() -> None:
    assert seen().rate() is None
    assert seen((0, 5)).rate() is None
    # It changes: of when it is is known now, but not how fast it grows.
    assert seen((0, 5), (1, 9)).rate() is None


def test_a_steady_flow() -> None:
    counter = seen(*((at, 10.0 * at) for at in range(30)))
    assert counter.rate() is not None
    assert per_second(counter) == pytest.approx(10)


def test_a_counter_that_stands_still_is_a_rate_of_nothing_once_that_is_sure() -> None:
    still = [(float(at), 7.0) for at in range(30)]
    assert seen(*still[:6]).rate() is None
    assert per_second(seen(*still)) == 0


@pytest.mark.parametrize("phase", [0.0, 1.3, 2.5, 4.9])
@pytest.mark.parametrize("every", [1.0, 2.0, 5.0, 5.1])
def test_statistics_every_five_seconds_do_not_make_the_rate_jump(
    phase: float, every: float
) -> None:
    """What two processes that look at other moments find is the same."""
    counter = CounterWindow(60)
    looks = [phase + every * n for n in range(int(100 / every))]
    for at in looks:
        told_at = 5 * (at // 5)
        counter.add(at, round(20 * told_at))
    assert per_second(counter) == pytest.approx(20, rel=0.1)


@pytest.mark.parametrize("phase", [0.0, 0.3, 0.9])
def test_frequent_looks_at_slow_statistics_see_a_steady_rate_at_any_moment(phase: float) -> None:
    counter, rates = CounterWindow(20), []
    for second in range(100):
        counter.add(second + phase, 20 * 5 * (second // 5))
        if second > 30:
            rates.append(per_second(counter))
    assert min(rates) > 20 * 0.94
    assert max(rates) < 20 * 1.06


def test_only_the_window_counts() -> None:
    busy = [(float(at), 100.0 * at) for at in range(100)]
    calm = [(float(at), 9900.0 + at) for at in range(100, 200)]
    assert per_second(seen(*busy, *calm, window=30)) == pytest.approx(1, abs=0.2)


def test_a_counter_that_began_anew_is_no_rate_of_its_own() -> None:
    before = [(float(at), 1000.0 + 10 * at) for at in range(20)]
    after = [(float(at), 10.0 * (at - 20)) for at in range(20, 40)]
    counter = seen(*before, *after)
    assert per_second(counter) == pytest.approx(10)
    rate = counter.rate()
    assert rate is not None
    # The second in which it fell is no part of it.
    assert rate.covers == pytest.approx(37, abs=0.1)


def test_a_part_that_was_missing_for_a_while_is_not_counted_when_it_is_back() -> None:
    """The nodes of a cluster count for themselves; one of them was not heard."""
    whole = [(float(at), 1_000_000.0 + 10 * at) for at in range(20)]
    part = [(float(at), 600_000.0 + 10 * at) for at in range(20, 30)]
    again = [(float(at), 1_000_000.0 + 10 * at) for at in range(30, 40)]
    assert per_second(seen(*whole, *part, *again)) == pytest.approx(10)


def test_after_a_burst_the_rate_falls_with_time() -> None:
    burst = [(float(at), 100.0 * at) for at in range(10)]
    rates = [
        per_second(seen(*burst, *((float(at), 900.0) for at in range(10, end))))
        for end in (12, 20, 40, 60, 80)
    ]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == 0


def test_the_growth_of_what_rises_and_falls() -> None:
    gauge = GaugeWindow(10)
    assert gauge.growth() == 0
    for at in range(30):
        gauge.add(at, 5.0 * at if at < 20 else 100.0 - 3 * (at - 20))
    assert gauge.growth() == pytest.approx((73 - 95) / 10)
    assert gauge.growth(5) == pytest.approx(-3)
    gauge = GaugeWindow(10)
    gauge.add(3, 7)
    assert gauge.growth() == 0


def test_the_last_seconds_of_a_window_are_a_window_of_their_own() -> None:
    risen = [(float(at), 10.0 * at + 90 * max(0, at - 90)) for at in range(100)]
    longer, shorter = seen(*risen), seen(*risen, window=5)
    assert per_second(longer) < 30
    assert longer.rate(5) == shorter.rate()
    assert longer.rate(1000) == longer.rate()


def rises(rates: list[float], *, seed: int, seconds: float = 15) -> list[Rate | None]:
    """Looks every 5.03 s at statistics of every 5 s: now and then two are seen at once."""
    published = arrivals_of(rates, random.Random(seed))
    arrivals = Arrivals(60, rise=seconds, every=5)
    found, look = [], 0.0
    while look < len(rates):
        told = bisect_right(published, 5 * (look // 5))
        arrivals.add(look, published=told, settled=told, held=0)
        found.append(arrivals.rise())
        look += 5.03
    return found


@pytest.mark.parametrize("per_second", [0, 0.02, 1, 80])
def test_neither_chance_nor_late_looks_are_a_rise(per_second: float) -> None:
    for seed in range(3):
        found = rises([per_second] * 10_000, seed=seed)
        assert sum(rise is not None for rise in found) <= len(found) / 500


def test_a_day_that_begins_is_no_rise() -> None:
    """From 4 to 76 jobs a second in half an hour: the mean follows it."""
    assert rises([4 + at * 72 / 1800 for at in range(1800)], seed=1)[30:] == [None] * 328


@pytest.mark.parametrize("seed", range(5))
def test_a_burst_is_a_rise_within_two_statistics_as_long_as_the_mean_says_less(seed: int) -> None:
    found = rises([4.0] * 200 + [80.0] * 120 + [4.0] * 120, seed=seed)
    when = [at * 5.03 for at, rise in enumerate(found) if rise is not None]
    assert 200 < min(when) <= 211
    assert 230 < max(when) < 260
    full = [rise.per_second for at, rise in enumerate(found) if rise and 222 < at * 5.03 < 240]
    assert full == pytest.approx([80] * len(full), rel=0.4)
    # Not seen at all where the queue has the time of the window.
    found = rises([4.0] * 200 + [80.0] * 120, seed=seed, seconds=60)
    assert found == [None] * len(found)


def test_jobs_whose_delay_ended_are_a_rise_too() -> None:
    """Nobody publishes them: they are there, and later they have gone."""
    arrivals = Arrivals(60, rise=15, every=1)
    for at in range(100):
        came = 50 * max(0, at - 90)
        arrivals.add(at, published=0, settled=0, held=came)
    rise = arrivals.rise()
    assert rise is not None
    assert rise.per_second == pytest.approx(30, rel=0.05)


@given(
    st.lists(st.tuples(st.floats(0.1, 30), st.integers(0, 1000)), min_size=3, max_size=60),
    st.floats(2, 600),
)
def test_a_rate_is_never_more_than_the_fastest_step(
    steps: list[tuple[float, int]], window: float
) -> None:
    """Whatever the times of the looks, what was counted is counted at most once."""
    counter = CounterWindow(window)
    at, count, fastest = 0.0, 0, 0.0
    for seconds, more in steps:
        at, count = at + seconds, count + more
        counter.add(at, count)
        # A number may be as young as one look, and never younger than since the last one.
        fastest = max(fastest, more / min(seconds, STATISTICS_AGE))
    rate = counter.rate()
    assume(rate is not None)
    assert rate is not None
    assert 0 <= rate.per_second <= fastest * (1 + 1e-9)
    assert rate.covers > 0
