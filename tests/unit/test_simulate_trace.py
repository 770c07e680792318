"""What arrives: bundled traces and files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from laneway.scaling.simulate.trace import TRACES, WARM_UP, Shape, Trace, make_trace
from laneway.scaling.simulate.trace_file import TraceFileInvalid, read_lines, trace_of

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = Shape(rate=20, runtime=0.2, seconds=1200)


def per_minute(trace: Trace) -> list[float]:
    counts = [0] * int(trace.seconds // 60)
    for at in trace.arrivals:
        if 0 <= at < trace.seconds:
            counts[int(at // 60)] += 1
    return [count / 60 for count in counts]


@pytest.mark.parametrize("name", TRACES)
def test_a_seed_makes_the_same_jobs_and_another_makes_others(name: str) -> None:
    trace = make_trace(name, SHAPE, 3)
    assert trace == make_trace(name, SHAPE, 3)
    assert trace.arrivals != make_trace(name, SHAPE, 4).arrivals
    assert trace.arrivals == sorted(trace.arrivals)
    assert -WARM_UP <= trace.arrivals[0] < 0
    assert len(trace.arrivals) == len(trace.runtimes)


def test_each_has_its_shape() -> None:
    rates = {name: per_minute(make_trace(name, SHAPE, 1)) for name in TRACES}
    assert min(rates["steady"]) > 17
    assert max(rates["steady"]) < 23
    assert min(rates["diurnal"]) < 6
    assert max(rates["diurnal"]) > 33
    assert min(rates["burst"]) < 3
    assert max(rates["burst"]) > 36
    assert max(rates["retry-storm"]) > 3 * min(rates["retry-storm"])


def test_runtimes_have_their_mean_and_a_slow_dependency_raises_it() -> None:
    def mean(trace: Trace, since: float, until: float) -> float:
        there = [
            runtime
            for at, runtime in zip(trace.arrivals, trace.runtimes, strict=True)
            if since <= at < until
        ]
        return sum(there) / len(there)

    assert mean(make_trace("steady", SHAPE, 1), 0, 1200) == pytest.approx(0.2, rel=0.1)
    slow = make_trace("slow-dependency", SHAPE, 1)
    seconds = [second for second, times in enumerate(slow.slowness) if times > 1]
    assert mean(slow, seconds[0], seconds[-1]) == pytest.approx(0.2 * 3.7, rel=0.1)
    assert slow.slow(seconds[0] + 0.5) == pytest.approx(3.7)
    assert slow.slow(-5) == slow.slow(1e9) == 1


def test_an_unknown_trace_is_an_error_that_names_the_known() -> None:
    with pytest.raises(ValueError, match=r"expected one of steady, .*, got: 'weekly'"):
        make_trace("weekly", SHAPE, 0)


def test_a_file_is_spread_within_its_lines(tmp_path: Path) -> None:
    file = tmp_path / "monday.csv"
    file.write_text("second,jobs,runtime\n100,60,0.1\n160,120,0.4\n")
    trace = trace_of("monday", read_lines(file), 9, 0)
    assert trace.seconds == 120
    assert sum(1 for at in trace.arrivals if 0 <= at < 60) == 60
    assert sum(1 for at in trace.arrivals if 60 <= at < 120) == 120
    assert sum(1 for at in trace.arrivals if at < 0) == WARM_UP  # one a second
    late = [r for at, r in zip(trace.arrivals, trace.runtimes, strict=True) if at >= 60]
    assert sum(late) / len(late) == pytest.approx(0.4, rel=0.3)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("time,jobs\n1,2\n", "line 1: expected the header second,jobs"),
        ("second,jobs\n1,2\n", "expected at least two lines of numbers, got 1"),
        ("second,jobs\n1,2\n2,many\n", "line 3: expected second,jobs as numbers"),
        ("second,jobs\n1,2\n2,1.5\n", "line 3: expected second,jobs as numbers"),
        ("second,jobs\n1,2\n2,-1\n", "line 3: expected second,jobs as numbers"),
        ("second,jobs,runtime\n1,2,1\n2,1,0\n", "line 3: expected second,jobs,runtime"),
        ("second,jobs,runtime\n1,2,1\n2,1\n", "line 3: expected second,jobs,runtime"),
        ("second,jobs\n1,2\n1,2\n", "line 3: expected a second after 1, got: 1"),
        ("", "line 1: expected the header"),
    ],
)
def test_a_file_that_is_no_trace_says_where(tmp_path: Path, text: str, what: str) -> None:
    file = tmp_path / "trace.csv"
    file.write_text(text)
    with pytest.raises(TraceFileInvalid, match=what):
        read_lines(file)
