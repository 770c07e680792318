"""What Sentry costs a worker whose jobs do not fail: drains with a DSN and without, in turns.

Every drain has a worker of its own and ends with one message that is no job: its event says that
Sentry was on, and in a run without that it was off. Many short pairs say more than a few long
ones: what else the machine does changes from minute to minute, and a pair sees the same of it.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

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
from bench.stage import SystemFailed
from bench.summary import steady_rate
from bench.systems import one_laneway
from laneway.local import RunDirectory, start_rabbitmq
from laneway.sentry.config import DSN as SENTRY_DSN

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from bench.stage import Stage

#: How often each is measured, and the seconds that a drain should take.
PAIRS: Final = 40
SECONDS: Final = 2.0
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
        pairs: how often each is measured.
        seconds: how long a drain should take.
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
        seconds: how long a drain should take.
        say: told a line after each pair.

    Raises:
        SystemFailed: a worker ended, or did not start its jobs.
    """
    count = size(stages[0].system.guess[0], seconds)
    # One of each is thrown away: caches fill, and the rate says how many jobs are enough.
    warm = [_drain(stage, sink, size(count, 0.2)).rate for stage in stages]
    count = size(max(warm), seconds) if min(warm) else count
    for number in range(pairs):
        order = stages if number % 2 else stages[::-1]
        drains = {stage.system.key: _drain(stage, sink, count) for stage in order}
        pair = Pair(off=drains[stages[0].system.key], on=drains[stages[1].system.key])
        found.pairs.append(pair)
        say(
            f"pair {number + 1} of {pairs}: {pair.on.rate:,.0f} jobs/s with Sentry, "
            f"{pair.off.rate:,.0f} without: {pair.ratio('rate') - 1:+.1%}; CPU "
            f"{pair.ratio('cpu') - 1:+.1%}"
        )


def _drain(stage: Stage, sink: Sink, count: int) -> Drain:
    stage.fresh()
    jobs = stage.prefill("noop", "default", count)
    came = sink.envelopes
    with stage.worker("default") as worker:
        stage.wait_for_starts(1)
        # Not what it takes to start: that is paid once.
        first, worked = stage.starts.count(), cpu_seconds(worker.processes())
        if not stage.wait_for_starts(count):
            raise SystemFailed(
                f"{stage.system.title}: {stage.starts.count():,} of {count:,} jobs started"
            )
        worked = cpu_seconds(worker.processes()) - worked
        memory = sum(pss(worker.processes())) / 2**20
        stage.spoil("default")
        until = time.monotonic() + _LAST
        while stage.ready("default") and time.monotonic() < until:
            time.sleep(0.05)
    starts = list(stage.starts.read())
    return Drain(
        rate=steady_rate([moment for _, moment in starts]),
        cpu=worked / max(1, count - first) * 1e6,
        memory=memory,
        envelopes=sink.envelopes - came,
        account=account([jobs], (job for job, _ in starts), left=stage.ready("default")),
    )
