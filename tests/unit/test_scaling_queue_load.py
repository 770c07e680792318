"""What follows from all that is known of a queue; and that unknown is never a number."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.policy.queues import Queue
from laneway.scaling import Known, Pace, QueueLoad, Seen, Unknown
from laneway.scaling.words import explained
from support.load_reports import report as make_report

PACE = Pace(window=20, every=1)
QUEUE = Queue.model_validate(
    {
        "summary": "x",
        "service_level": "1s",
        "name": "high",
        "worker": {"concurrency": 4},
        "scaling": {"min": 1, "max": 10, "utilisation": 0.5, "expected_runtime": "2s"},
    }
)


#: One a second.
report = partial(make_report, every=1.0)


def seen(**parts: Any) -> Seen:
    none = {"ready": 0, "consumers": 0, "paused": False, "published": 0, "settled": 0, "held": 0}
    return Seen(**{**none, **parts})


def after(
    seconds: int = 30,
    *,
    per_second: float = 10,
    runtime: float = 0.5,
    workers: int = 1,
    busy: int = 5,
    ready: int = 0,
    consumers: int | None = None,
    **more: Any,
) -> QueueLoad:
    """A queue with a steady load, so many seconds after the scaler began."""
    load = QueueLoad(QUEUE, PACE)
    for second in range(seconds):
        done = round(per_second * second)
        for worker in range(workers):
            load.hear(
                report(
                    f"w{worker}",
                    up=second + 5,
                    busy=busy,
                    ended=done,
                    runtime=done * runtime,
                    started=done,
                    waits=((0.1, done),),
                ),
                second,
            )
        load.see(
            seen(
                published=1000 + done,
                settled=done,
                held=ready,
                ready=ready,
                consumers=workers if consumers is None else consumers,
                **more,
            ),
            second,
        )
    return load


def known(load: QueueLoad, now: float = 29) -> Known:
    answer = load.answer(now)
    assert isinstance(answer, Known), answer
    return answer


def unknown(load: QueueLoad, now: float = 29) -> str:
    answer = load.answer(now)
    assert isinstance(answer, Unknown), answer
    assert "slots" not in answer.to_dict()
    assert "unknown" in explained(answer)
    return answer.reason


def test_a_steady_load() -> None:
    answer = known(after())
    assert answer.slots == pytest.approx(10 * 0.5 / 0.5, rel=0.01)
    assert answer.workers == 3
    assert answer.reason.startswith("10 jobs/s x 0.5 s / 0.5 = 10; runtime of ")
    said = answer.to_dict()
    assert (said["workers"], said["concurrency"], said["busy"]) == (3, 4, 5)
    assert said["within_service_level"] == 1.0


def test_a_rise_counts_before_the_mean_has_followed_and_is_said() -> None:
    load = QueueLoad(QUEUE, Pace(window=60, every=1))
    for second in range(101):
        done = 10 * second + 90 * max(0, second - 90)
        load.see(seen(published=done, settled=done), second)
    answer = known(load, 100)
    assert answer.load.arrivals == pytest.approx(70, rel=0.05)
    assert "arrivals rose: 25 jobs/s are the mean of the last 60 s" in answer.reason
    assert "arrivals   70 jobs/s over the last 15 s" in explained(answer)
    assert answer.to_dict()["window_seconds"] == 15
    # Not for a queue that has the time.
    load = QueueLoad(QUEUE.model_copy(update={"service_level": 60.0}), Pace(window=60, every=1))
    for second in range(101):
        done = 10 * second + 90 * max(0, second - 90)
        load.see(seen(published=done, settled=done), second)
    answer = known(load, 100)
    assert answer.load.arrivals == pytest.approx(25, rel=0.05)
    assert "rose" not in answer.reason


def test_before_half_the_window_nothing_is_known() -> None:
    assert "window of 20s" in unknown(after(8), 8)
    assert unknown(QueueLoad(QUEUE, PACE), 0) == "the broker was not looked at yet"
    assert known(after(13), 12)


def test_a_failed_look_is_unknown_at_once() -> None:
    load = after()
    load.fail("the management interface cannot be reached")
    assert unknown(load) == "the management interface cannot be reached"
    load.see(seen(published=1300, consumers=1), 30)
    assert known(load, 30)


def test_a_broker_that_says_nothing_new_is_unknown() -> None:
    assert "last looked at 10 s ago" in unknown(after(), 39)


def test_workers_that_do_not_report_are_unknown() -> None:
    assert "no worker reports, and the broker has 3 consumers" in unknown(
        after(workers=0, consumers=3)
    )


def test_some_that_do_not_report_are_taken_to_be_as_busy() -> None:
    answer = known(after(per_second=1, workers=2, consumers=3, busy=4))
    assert answer.load.busy == 12
    assert "1 of 3 consumers do not report" in answer.reason
    # Not for the moment in which a worker has begun to consume and not to report.
    load = after(per_second=1, workers=2, consumers=2, busy=4)
    load.see(seen(published=1030, consumers=3), 30)
    assert known(load, 30).load.busy == 8


def test_no_workers_and_a_backlog_is_the_expected_runtime_and_is_said() -> None:
    answer = known(after(workers=0, ready=150))
    assert answer.load.runtime == 2
    assert answer.need.catching_up == pytest.approx(150 * 2 / QUEUE.drain)
    assert "expected_runtime = 2s of its file is taken" in answer.reason
    assert "no worker takes jobs" in answer.reason


def test_what_waits_in_a_paused_queue_asks_for_nobody() -> None:
    answer = known(after(ready=150, consumers=0, paused=True))
    assert answer.slots == pytest.approx(10, rel=0.01)
    assert "it is paused, so the 150 jobs that wait are not counted" in answer.reason


def test_an_idle_queue_needs_nothing_and_gets_its_min() -> None:
    answer = known(after(per_second=0, workers=0))
    assert (answer.slots, answer.workers) == (0, 1)
    assert "min = 1" in answer.reason


def test_the_need_is_said_without_the_bound() -> None:
    answer = known(after(per_second=1000, busy=4))
    assert answer.slots > 900
    assert answer.workers == 10
    assert "max = 10 of its file" in answer.reason


def test_jobs_whose_delay_ended_arrive_though_nobody_published_them() -> None:
    load = QueueLoad(QUEUE, PACE)
    for second in range(30):
        load.see(seen(published=77, settled=8 * second, held=2 * second, ready=0), second)
    assert known(load).load.arrivals == pytest.approx(10)


def test_a_purge_takes_no_arrivals_away() -> None:
    load = QueueLoad(QUEUE, PACE)
    for second in range(30):
        held = 10 * second if second < 20 else 0
        load.see(seen(published=10 * second, settled=0, held=held), second)
    assert known(load).load.arrivals == pytest.approx(10)


def test_after_a_restart_of_the_broker_it_is_known_within_a_window() -> None:
    load = after(30)
    load.fail("the broker broke off")
    for second in range(45, 66):
        done = 10 * second
        load.hear(
            report("w0", up=second, busy=5, ended=done, runtime=done / 2, started=done), second
        )
        load.see(seen(published=10 * (second - 45), consumers=1), second)
        if second == 47:
            assert "window" in unknown(load, second)
    answer = known(load, 65)
    assert answer.load.arrivals == pytest.approx(10, rel=0.05)


def test_words_for_a_person() -> None:
    text = explained(known(after(ready=30, busy=3)))
    assert text.startswith("high: 13 slots are needed = 4 workers of 4 (min 1, max 10)\n")
    for words in (
        "10 jobs/s over the last",
        "0.5 s a job: runtime of",
        "3 of 4 slots of 1 worker that report",
        "30 wait, to be drained in 5s",
        "100.0% of",
    ):
        assert words in text, text


@given(
    st.lists(
        st.tuples(
            st.floats(0.1, 20),
            st.none()
            | st.builds(
                Seen,
                ready=st.integers(0, 1000),
                consumers=st.integers(0, 5),
                paused=st.booleans(),
                published=st.integers(0, 10_000),
                settled=st.integers(0, 10_000),
                held=st.integers(0, 10_000),
            ),
        ),
        max_size=40,
    )
)
def test_whatever_the_broker_says_there_is_an_answer(
    looks: list[tuple[float, Seen | None]],
) -> None:
    """A number is at least what is needed for what is known to wait; else it is unknown."""
    load, now, last = QueueLoad(QUEUE, PACE), 0.0, None
    for seconds, look in looks:
        now, last = now + seconds, look
        if look is None:
            load.fail("away")
        else:
            load.see(look, now)
    answer = load.answer(now)
    if last is None:
        assert isinstance(answer, Unknown)
    if isinstance(answer, Known):
        assert last is not None
        assert last.paused or answer.slots >= last.ready * 2 / QUEUE.drain
        assert 1 <= answer.workers <= 10
        assert not last.consumers  # nobody reports here
    assert explained(answer)
