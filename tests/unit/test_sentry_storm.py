"""Which failures become an event, and that none is lost on the way."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.sentry.storm import BURST, INTERVAL, OTHERS, QUIET, Held, Storm
from support.clock import Clock
from support.forked import true_in_child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from hypothesis.strategies import SearchStrategy

#: Seconds since 1970 when the clock of these tests stands at 0.
EPOCH = 1_700_000_000.0


class WallClock(Clock):
    def wall(self) -> float:
        return EPOCH + self.now


class Shared:
    """A shared bucket that does as told."""

    def __init__(self, answer: Callable[[str], bool] = lambda _: True) -> None:
        self.asked: list[str] = []
        self._answer = answer

    def take(self, cause: str) -> bool:
        self.asked.append(cause)
        return self._answer(cause)


@pytest.fixture
def clock() -> WallClock:
    return WallClock()


def make(clock: WallClock, shared: Shared | None = None, *, causes: int = 1000) -> Storm:
    return Storm(shared, causes=causes, clock=clock, wall=clock.wall)


def fail(storm: Storm, cause: str, times: int) -> list[int | None]:
    return [storm.admit(cause) for _ in range(times)]


def test_a_burst_becomes_events_and_the_rest_is_held_back(clock: WallClock) -> None:
    assert fail(make(clock), "a", BURST + 2) == [0] * BURST + [None, None]


def test_one_more_a_minute_and_it_carries_what_was_held_back(clock: WallClock) -> None:
    storm = make(clock)
    fail(storm, "a", BURST + 5)
    clock.now += INTERVAL
    assert fail(storm, "a", 3) == [5, None, None]
    clock.now += INTERVAL - 1
    assert storm.admit("a") is None
    clock.now += 1
    assert storm.admit("a") == 3


def test_no_more_than_a_burst_is_saved_up(clock: WallClock) -> None:
    storm = make(clock)
    storm.admit("a")
    clock.now += 100 * INTERVAL
    assert fail(storm, "a", BURST + 1) == [0] * BURST + [None]


def test_a_clock_that_goes_back_gives_no_tokens(clock: WallClock) -> None:
    storm = make(clock)
    fail(storm, "a", BURST)
    clock.now -= 10 * INTERVAL
    assert storm.admit("a") is None


def test_a_storm_holds_no_other_cause_back(clock: WallClock) -> None:
    storm = make(clock)
    fail(storm, "a", 10_000)
    assert storm.admit("b") == 0


def test_what_is_quiet_for_a_minute_is_handed_out_once(clock: WallClock) -> None:
    storm = make(clock)
    fail(storm, "a", BURST)
    clock.now = 1.0
    fail(storm, "a", 2)
    clock.now = 2.0
    storm.admit("a")
    storm.admit("b")
    assert storm.quiet(2.0 + QUIET - 0.1) == []
    assert storm.quiet(2.0 + QUIET) == [Held("a", 3, EPOCH + 1, EPOCH + 2)]
    assert storm.quiet(2.0 + QUIET) == []


def test_what_is_held_back_later_has_times_of_its_own(clock: WallClock) -> None:
    storm = make(clock)
    fail(storm, "a", BURST + 1)
    clock.now = QUIET
    storm.quiet(clock.now)
    clock.now = 70.0
    fail(storm, "a", 2)
    assert storm.drain() == [Held("a", 1, EPOCH + 70, EPOCH + 70)]


def test_a_failure_that_goes_on_is_not_quiet(clock: WallClock) -> None:
    storm = make(clock)
    for _ in range(200):
        storm.admit("a")
        clock.now += 1.0
        assert storm.quiet(clock.now) == []


def test_at_the_end_everything_is_handed_out(clock: WallClock) -> None:
    storm = make(clock)
    fail(storm, "a", BURST + 1)
    fail(storm, "b", BURST)
    fail(storm, "c", BURST + 2)
    assert [(held.cause, held.count) for held in storm.drain()] == [("a", 1), ("c", 2)]
    assert storm.drain() == []


def test_what_the_shared_bucket_refuses_is_held_back(clock: WallClock) -> None:
    answers = iter([True, False, False, True])
    shared = Shared(lambda _: next(answers))
    storm = make(clock, shared)
    assert fail(storm, "a", BURST + 1) == [0, None, None, None]
    clock.now += INTERVAL
    assert storm.admit("a") == 3


def test_the_shared_bucket_is_not_asked_without_a_token_here(clock: WallClock) -> None:
    shared = Shared(lambda _: False)
    storm = make(clock, shared)
    fail(storm, "a", 1000)
    assert shared.asked == ["a"] * BURST
    clock.now += INTERVAL
    fail(storm, "a", 1000)
    assert shared.asked == ["a"] * (BURST + 1)


def test_while_the_shared_bucket_is_asked_nobody_waits(clock: WallClock) -> None:
    others: list[int | None] = []

    def ask(cause: str) -> bool:
        if cause == "a":
            thread = threading.Thread(target=lambda: others.append(storm.admit("b")), daemon=True)
            thread.start()
            thread.join(5)
        return True

    storm = make(clock, Shared(ask))
    assert storm.admit("a") == 0
    assert others == [0]


def test_whoever_wants_to_is_told_when_a_cause_begins_to_hold(clock: WallClock) -> None:
    storm = make(clock)
    told: list[float] = []
    storm.when_held(lambda: told.append(clock.now))
    fail(storm, "a", BURST)
    assert told == []
    fail(storm, "a", 10)
    assert told == [0.0]
    storm.drain()
    clock.now = 5.0
    fail(storm, "a", 10)
    assert told == [0.0, 5.0]


def test_more_causes_than_there_is_room_for_share_one_bucket(clock: WallClock) -> None:
    shared = Shared()
    storm = make(clock, shared, causes=2)
    storm.admit("a")
    storm.admit("b")
    assert [storm.admit(f"new-{number}") for number in range(BURST + 4)] == [0] * BURST + [None] * 4
    assert shared.asked == ["a", "b"] + [OTHERS] * BURST
    # Their next event is of one cause, and says nothing of the others.
    clock.now = INTERVAL
    assert storm.admit("a") == 0
    assert storm.admit("new-9") == 0
    assert storm.drain() == [Held(OTHERS, 4, EPOCH, EPOCH)]


def test_a_cause_is_forgotten_when_it_has_all_its_tokens_again(clock: WallClock) -> None:
    storm = make(clock, causes=2)
    fail(storm, "a", BURST)
    fail(storm, "b", BURST)
    clock.now = BURST * INTERVAL - 1
    # Too early: it would have a whole burst again at once.
    fail(storm, "c", BURST)
    assert storm.admit("c") is None
    clock.now += 1
    assert storm.admit("d") == 0
    # b is left, and has its tokens again; there is no room for a.
    assert fail(storm, "b", BURST + 1) == [0] * BURST + [None]
    assert storm.admit("a") is None


def test_the_cause_that_was_quiet_for_longest_is_forgotten(clock: WallClock) -> None:
    shared = Shared()
    storm = make(clock, shared, causes=2)
    storm.admit("a")
    storm.admit("b")
    clock.now = BURST * INTERVAL - 1
    storm.admit("a")
    clock.now += 1
    storm.admit("c")
    assert shared.asked == ["a", "b", "a", "c"]


def test_a_cause_is_not_forgotten_before_its_count_is_handed_out(clock: WallClock) -> None:
    storm = make(clock, causes=1)
    fail(storm, "a", BURST + 7)
    clock.now = 10 * INTERVAL
    storm.admit("b")
    assert storm.quiet(clock.now) == [Held("a", 7, EPOCH, EPOCH)]
    storm.admit("c")
    assert storm.admit("a") == 0
    clock.now += INTERVAL
    fail(storm, "a", BURST + 1)
    # It has not even been known since c took its place.
    assert [held.cause for held in storm.drain()] == [OTHERS]


def test_a_cause_that_is_forgotten_while_redis_is_asked_is_counted_all_the_same(
    clock: WallClock,
) -> None:
    def ask(cause: str) -> bool:
        if cause == "a":
            # As if the process had stood still.
            clock.now += BURST * INTERVAL
            assert storm.admit("b") == 0
        return cause != "a"

    storm = make(clock, Shared(ask), causes=1)
    assert storm.admit("a") is None
    assert sum(held.count for held in storm.drain()) == 1


STEPS: SearchStrategy[list[tuple[object, ...]]] = st.lists(
    st.one_of(
        st.tuples(st.just("fail"), st.sampled_from("abcd"), st.integers(1, 6)),
        st.tuples(st.just("pass"), st.sampled_from([0.0, 1.0, 59.0, 60.0, 180.0, -30.0])),
        st.tuples(st.just("quiet")),
        st.tuples(st.just("drain")),
    ),
    max_size=60,
)


@given(steps=STEPS, answers=st.lists(st.booleans()), causes=st.integers(1, 5))
def test_nothing_is_lost_whatever_comes_in_which_order(
    steps: list[tuple[object, ...]], answers: list[bool], causes: int
) -> None:
    clock = WallClock()
    script = iter(answers)
    storm = make(clock, Shared(lambda _: next(script, True)), causes=causes)
    failed: Counter[str] = Counter()
    carried: Counter[str] = Counter()
    events: Counter[str] = Counter()
    forward = 0.0

    def tell(held: list[Held]) -> None:
        for one in held:
            assert one.count > 0
            carried[one.cause] += one.count

    for step in steps:
        match step:
            case ("fail", str(cause), int(times)):
                for held in fail(storm, cause, times):
                    failed[cause] += 1
                    if held is not None:
                        events[cause] += 1
                        carried[cause] += 1 + held
            case ("pass", float(seconds)):
                clock.now += seconds
                forward += max(0.0, seconds)
            case ("quiet",):
                tell(storm.quiet(clock.now))
            case _:
                tell(storm.drain())
        assert len(storm._causes) <= causes
    tell(storm.drain())
    assert carried.total() == failed.total()
    assert all(carried[cause] <= failed[cause] for cause in failed)
    assert {*carried} <= {*failed, OTHERS}
    # A cause takes its tokens from its own bucket, or from that of all others.
    most = BURST + forward / INTERVAL
    assert all(number <= 2 * most for number in events.values())
    if causes >= len(failed):
        assert carried == failed
        assert all(number <= most for number in events.values())


@pytest.fixture
def _threads_take_turns_at_any_opcode() -> Iterator[None]:
    chance = random.Random(5)

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_globals.get("__name__") != Storm.__module__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and chance.random() < 0.2:
            time.sleep(0)
        return trace

    before = threading.gettrace()
    threading.settrace(trace)
    yield
    threading.settrace(before)


@pytest.mark.usefixtures("_threads_take_turns_at_any_opcode")
def test_threads_lose_nothing() -> None:
    turns, clock = 40, WallClock()
    storm = Storm(Shared(lambda _: clock.now % 3 > 1), causes=2, clock=clock, wall=clock.wall)
    sums: list[int] = []

    def work() -> None:
        total = 0
        for turn in range(turns):
            clock.now += 7.0
            held = storm.admit("abc"[turn % 3])
            if held is not None:
                total += 1 + held
            if turn % 10 == 0:
                total += sum(one.count for one in storm.quiet(clock.now + QUIET))
        sums.append(total)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(sums) + sum(held.count for held in storm.drain()) == len(threads) * turns


def test_a_child_holds_nothing_back_of_its_parent(clock: WallClock) -> None:
    storm = make(clock)
    fail(storm, "a", BURST + 5)

    def is_fresh() -> bool:
        return storm.drain() == [] and fail(storm, "a", BURST + 1) == [0] * BURST + [None]

    # As if another thread were in the middle of a failure.
    with storm._lock:
        assert true_in_child(is_fresh)
    assert [held.count for held in storm.drain()] == [5]
