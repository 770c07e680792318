"""What Sentry costs a worker whose jobs do not fail: one with a DSN beside one without.

Both drain a queue of their own at the same time, and are read at the same two moments while both
are busy: the speed of a machine changes from second to second, by more than what is looked for, and
both see the same of it. Each ends with one message that is no job: its event says that Sentry was
on, and of the worker without that it was off.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from bench.about import about_this
from bench.account import account
from bench.apps import DECLINING
from bench.ledger import ledger_folder
from bench.machine import cpu_seconds, pss
from bench.plan import size
from bench.progress import Progress
from bench.sentry_result import Drain, Pair, SentryCost
from bench.setup import Setup, set_up_image
from bench.sink import Sink, Trouble
from bench.stage import SILENCE, SystemFailed
from bench.systems import one_laneway
from laneway.local import RunDirectory, start_rabbitmq
from laneway.sentry.config import DSN as SENTRY_DSN

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from bench.stage import Stage

#: How many pairs are measured, and the seconds that one worker alone should take.
PAIRS: Final = 20
SECONDS: Final = 4.0
#: The part of its jobs that each has started when the measuring begins.
_STARTED: Final = 0.05
#: Seconds after a drain in which its worker takes the message that is no job.
_LAST: Final = 10.0


def run(
    *,
    system: str,
    pairs: int = PAIRS,
    seconds: float = SECONDS,
    trouble: Trouble | None = None,
    folder: Path,
    console: Console,
) -> int:
    """``laneway bench --sentry``: set up, measure, write ``sentry.json``.

    Args:
        system: one of Laneway's in :mod:`bench.systems`, by its key.
        pairs: how many are measured.
        seconds: how long a worker alone should take for its queue.
        trouble: what is the matter with the server that it sends to; then every hundredth job
            fails, in all drains, so that there is something to send.
        folder: where the result goes.
        console: where progress is shown.

    Returns:
        0, or 1 if a job was lost or a run was not what it should be.

    Raises:
        ValueError: no such system, or more than one.
        LanewayError: the private broker cannot be had.
        Absent: what the image holds could not be installed.
    """
    laneway = one_laneway(system, option="--sentry")
    if trouble is not None:
        laneway = replace(laneway, environment={**laneway.environment, DECLINING: "1"})
    say = Progress(console).say
    python = set_up_image(say)
    with ExitStack() as stack:
        home = stack.enter_context(RunDirectory.create(report=say))
        ledgers = Path(stack.enter_context(ledger_folder(home.path)))
        broker = stack.enter_context(start_rabbitmq(home, series="4.3", report=say))
        sink = stack.enter_context(Sink(trouble))
        about = about_this(home.path) | {"rabbitmq": broker.version}
        setup = Setup(home, broker, ledgers, python=python)
        other = replace(
            laneway,
            key=f"{laneway.key}-sentry",
            title=f"{laneway.title}, Sentry",
            environment={**laneway.environment, SENTRY_DSN: sink.dsn},
        )
        stages = (setup.stage(laneway), setup.stage(other))
        found = SentryCost(about=about, system=laneway.key, trouble=trouble)
        measure(stages, sink, found, pairs=pairs, seconds=seconds, say=say)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / ("sentry.json" if trouble is None else f"sentry-{trouble}.json")
    found.write(file)
    say(f"written: {file}")
    for line in found.summary:
        print(line)
    return 1 if found.faults else 0


def measure(
    stages: tuple[Stage, Stage],
    sink: Sink,
    found: SentryCost,
    *,
    pairs: int,
    seconds: float,
    say: Callable[[str], None],
) -> None:
    """Measure pair after pair, each beginning with the other one than the last.

    Args:
        stages: without Sentry, and with it.
        sink: where it sends to.
        found: gets the pairs.
        pairs: how many.
        seconds: how long a worker alone should take for its queue.
        say: told a line after each pair.

    Raises:
        SystemFailed: a worker ended, or did not start its jobs.
    """
    count = size(stages[0].system.guess[0], seconds)
    # The first is thrown away: caches fill, and the rate says how many jobs are enough.
    warm = _pair(stages, sink, size(count, 0.2))
    count = size(2 * warm.off.rate, seconds)
    for number in range(pairs):
        pair = _pair(stages, sink, count, on_first=bool(number % 2))
        found.pairs.append(pair)
        say(
            f"pair {number + 1} of {pairs}: {pair.on.rate:,.0f} jobs/s with Sentry, "
            f"{pair.off.rate:,.0f} without: {pair.ratio('rate') - 1:+.1%}; CPU "
            f"{pair.ratio('cpu') - 1:+.1%}"
        )


class _Side:
    """One of the two workers of a pair, and its queue. A context manager.

    Args:
        stage: where it works.
        count: jobs that its queue is filled with.
    """

    def __init__(self, stage: Stage, count: int) -> None:
        self._stage = stage
        self._count = count
        self._running = ExitStack()
        stage.fresh()
        self._jobs = stage.prefill("noop", "default", count)

    def __enter__(self) -> Self:
        self._worker = self._running.enter_context(self._stage.worker("default"))
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def wait(self, part: float = 1.0) -> None:
        """Wait until such a part of the jobs started."""
        wanted = max(1, int(part * self._count))
        if not self._stage.wait_for_starts(wanted):
            raise SystemFailed(
                f"{self._stage.system.title}: {self.started:,} of {self._count:,} jobs started"
            )

    @property
    def started(self) -> int:
        """Jobs that started so far."""
        return self._stage.starts.count()

    @property
    def is_over(self) -> bool:
        """Whether all did."""
        return self.started >= self._count

    def reading(self) -> _Reading:
        """What can be seen of it now."""
        return _Reading(
            at=time.monotonic(),
            started=self.started,
            cpu=cpu_seconds(self._worker.processes()),
        )

    def end(self, sink: Sink, first: _Reading, last: _Reading) -> Drain:
        """Give it a message that is no job, let it end, and say what was measured between."""
        self.wait()
        memory = sum(pss(self._worker.processes())) / 2**20
        self._stage.spoil("default")
        until = time.monotonic() + _LAST
        while self._stage.ready("default") and time.monotonic() < until:
            time.sleep(0.05)
        self._running.close()
        jobs = max(1, last.started - first.started)
        starts = (job for job, _ in self._stage.starts.read())
        return Drain(
            rate=jobs / (last.at - first.at),
            cpu=(last.cpu - first.cpu) / jobs * 1e6,
            memory=memory,
            envelopes=sink.taken(),
            account=account([self._jobs], starts, left=self._stage.ready("default")),
        )


class _Reading(NamedTuple):
    at: float
    started: int
    #: Seconds of processor time that its processes took so far.
    cpu: float


def _pair(stages: tuple[Stage, Stage], sink: Sink, count: int, *, on_first: bool = False) -> Pair:
    sink.taken()  # of the last pair, late
    with ExitStack() as stack:
        off, on = (_Side(stage, count) for stage in stages)
        for side in (on, off) if on_first else (off, on):
            stack.enter_context(side)
        # Not what it takes to start: that is paid once.
        for side in (off, on):
            side.wait(_STARTED)
        first = off.reading(), on.reading()
        until = time.monotonic() + SILENCE
        while not off.is_over and not on.is_over and time.monotonic() < until:
            time.sleep(0.02)
        last = off.reading(), on.reading()
        # In this order: what comes after the one with it has ended is of the other.
        with_it = on.end(sink, first[1], last[1])
        return Pair(on=with_it, off=off.end(sink, first[0], last[0]))
