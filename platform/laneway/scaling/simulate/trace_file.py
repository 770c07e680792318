"""A trace from real metrics: a CSV file, a line for each second, minute or whatever was scraped."""

from __future__ import annotations

import csv
import random
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from laneway.errors import LanewayError
from laneway.scaling.simulate.trace import WARM_UP, Trace, runtimes_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class TraceFileInvalid(LanewayError):
    """A file is no trace. The message says which line, what was expected and what was found."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line: what was published from this second to the next line's."""

    second: float
    jobs: int
    #: Mean seconds of a job; None: the queue's expected one.
    runtime: float | None


def read_lines(path: Path) -> list[Line]:
    """Read ``second,jobs[,runtime]``, with that header.

    Raises:
        TraceFileInvalid: a line is not of that form, or they are not in order.
    """
    try:
        with path.open(newline="") as file:
            lines = list(_lines(path, file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TraceFileInvalid(f"{path}: cannot be read: {error}") from error
    if len(lines) < 2:
        raise TraceFileInvalid(f"{path}: expected at least two lines of numbers, got {len(lines)}")
    for number, (before, line) in enumerate(pairwise(lines), start=3):
        if line.second <= before.second:
            raise TraceFileInvalid(
                f"{path}, line {number}: expected a second after {before.second:g}, "
                f"got: {line.second:g}"
            )
    return lines


def _lines(path: Path, file: Iterator[str]) -> Iterator[Line]:
    rows = csv.reader(file)
    header = [name.strip() for name in next(rows, [])]
    if header not in (["second", "jobs"], ["second", "jobs", "runtime"]):
        raise TraceFileInvalid(
            f"{path}, line 1: expected the header second,jobs or second,jobs,runtime, "
            f"got: {','.join(header)!r}"
        )
    for number, row in enumerate(rows, start=2):
        if not row:
            continue
        try:
            second, jobs, *rest = (float(cell) for cell in row)
            whole = 0 <= second < 1e8 and 0 <= jobs < 1e8 and jobs == int(jobs)
            if not whole or len(row) != len(header) or not all(0 < mean < 1e6 for mean in rest):
                raise ValueError
        except ValueError:
            raise TraceFileInvalid(
                f"{path}, line {number}: expected {','.join(header)} as numbers (jobs: whole, "
                f"runtime: seconds above 0), got: {','.join(row)!r}"
            ) from None
        yield Line(second, int(jobs), rest[0] if rest else None)


def trace_of(name: str, lines: list[Line], runtime: float, seed: int) -> Trace:
    """The jobs of a file, spread by chance within each line.

    What a line says is a sum: bursts within it are lost, so shorter lines tell more.

    Args:
        name: for the table.
        lines: at least two; the last is as long as the one before it.
        runtime: mean seconds of a job, where the file says none.
        seed: of chance.
    """
    chance = random.Random(f"{name} {seed}")  # noqa: S311 (jobs, not secrets)
    begin = lines[0].second
    ends = [line.second for line in lines[1:]]
    ends.append(ends[-1] + (lines[-1].second - lines[-2].second))
    first = lines[0].jobs / (ends[0] - begin)
    parts = [(-WARM_UP, 0.0, round(first * WARM_UP), lines[0].runtime)]
    parts += [
        (line.second - begin, end - begin, line.jobs, line.runtime)
        for line, end in zip(lines, ends, strict=True)
    ]
    arrivals: list[float] = []
    runtimes: list[float] = []
    for since, until, jobs, mean in parts:
        arrivals += sorted(chance.uniform(since, until) for _ in range(jobs))
        runtimes += runtimes_of(jobs, mean or runtime, chance)
    seconds = ends[-1] - begin
    return Trace(name, seconds, arrivals, runtimes, [])
