"""A soak: one worker and one publisher for a long time at most of what they can do together.

First the most that both do at the same time is measured, then 70 % of it is published at a steady
pace. It is green if no job was lost, no job was left behind, and the memory of the worker and of
the publisher is flat.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.about import about_this
from bench.account import account
from bench.ledger import ledger_folder
from bench.machine import pss
from bench.progress import Progress
from bench.setup import Setup, draw
from bench.soak_result import Look, Soak
from bench.systems import one_laneway
from laneway.local import RunDirectory, start_rabbitmq

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from bench.stage import Publisher, Stage, Worker

#: The part of the most that is published.
LOAD: Final = 0.7
#: Jobs that may be published and not started: beyond it publishing waits, so that a machine that
#: does other work meanwhile makes the soak slower and not its queue longer and longer.
AHEAD: Final = 20_000
#: Jobs a second for which numbers are set aside: more than can be published.
_MOST_A_SECOND: Final = 30_000
#: Seconds between two looks, at most; short soaks look more often.
_LOOK: Final = 10.0
#: Seconds that the publisher may take longer than it should.
_LATE: Final = 60.0
#: Seconds after the last start in which a second start of a job may still come.
_SETTLE: Final = 2.0


def run(*, minutes: float, system: str, folder: Path, console: Console) -> int:
    """``laneway bench --soak``: set up, soak, write ``soak.json`` and ``soak.svg``.

    Args:
        minutes: how long.
        system: one of Laneway's in :mod:`bench.systems`, by its key.
        folder: where the results go.
        console: where progress is shown.

    Returns:
        0, or 1 if it is red.

    Raises:
        ValueError: no such system, or more than one.
        LanewayError: the private broker cannot be had.
    """
    laneway = one_laneway(system, option="--soak")
    say = Progress(console).say
    with ExitStack() as stack:
        home = stack.enter_context(RunDirectory.create(report=say))
        ledgers = Path(stack.enter_context(ledger_folder(home.path)))
        broker = stack.enter_context(start_rabbitmq(home, series="4.3", report=say))
        about = about_this(home.path) | {"rabbitmq": broker.version}
        stage = Setup(home, broker, ledgers).stage(laneway)
        brought = soak(stage, minutes=minutes, about=about, say=say)
    folder.mkdir(parents=True, exist_ok=True)
    brought.write(folder / "soak.json")
    draw(folder, say)
    say(f"written: {folder}/soak.json")
    for line in brought.summary:
        print(line)
    return 1 if brought.faults else 0


def soak(
    stage: Stage, *, minutes: float, about: dict[str, Any], say: Callable[[str], None]
) -> Soak:
    """Soak one system.

    Args:
        stage: the system.
        minutes: how long, without the minute before in which the most is measured.
        about: what is kept with the result.
        say: told a line at every tenth.

    Raises:
        SystemFailed: its worker or its publisher ended.
    """
    seconds = minutes * 60
    most = _most(stage, min(20.0, max(2.0, seconds / 10)))
    found = Soak(about=about, system=stage.system.key, minutes=minutes, most=most, pace=most * LOAD)
    say(
        f"together they do {most:,.0f} jobs/s; publishing {found.pace:,.0f} for {minutes:g} minutes"
    )
    stage.fresh()
    orders = {"do": "many", "kind": "noop", "queue": "default", "seconds": seconds}
    reserve = round(found.pace * seconds * 1.1) + 1000
    with (
        stage.worker("default") as worker,
        stage.publisher(reserve=reserve, rate=found.pace, ahead=AHEAD, **orders) as publisher,
    ):
        said = _Answer(publisher, seconds + _LATE)
        began = time.monotonic()
        tenths = 0
        while said.is_awaited(min(_LOOK, seconds / 40)):
            look = _look(stage, worker, publisher, time.monotonic() - began)
            found.looks.append(look)
            if look.at * 10 // seconds > tenths:
                tenths = int(look.at * 10 // seconds)
                say(_line(look))
        answer = said.get()
        found.waited = answer["waited"]
        stage.wait_for_starts(len(answer["jobs"]))
        time.sleep(_SETTLE)
    found.account = account(
        [answer["jobs"]], (job for job, _ in stage.starts.read()), left=stage.ready("default")
    )
    return found


def _most(stage: Stage, seconds: float) -> float:
    """Jobs a second from the first publish to the last start, both as fast as they can."""
    stage.fresh()
    orders = {"do": "many", "kind": "noop", "queue": "default", "seconds": seconds}
    reserve = round(_MOST_A_SECOND * seconds)
    with stage.worker("default"), stage.publisher(reserve=reserve, **orders) as publisher:
        stage.wait_for_starts(1)
        began = time.monotonic()
        published = len(publisher.go()["jobs"])
        stage.wait_for_starts(published)
        return published / (time.monotonic() - began)


def _look(stage: Stage, worker: Worker, publisher: Publisher, at: float) -> Look:
    sizes = [size / 2**20 for size in pss(worker.processes())]
    return Look(
        at=round(at, 1),
        starts=stage.starts.count(),
        waiting=stage.ready("default"),
        worker=round(sum(sizes), 1),
        largest=round(max(sizes, default=0.0), 1),
        publisher=round(sum(pss([publisher.pid])) / 2**20, 1),
    )


def _line(look: Look) -> str:
    return (
        f"{look.at / 60:5.1f} min: {look.starts:,} jobs, {look.waiting:,} waiting; MB: worker "
        f"{look.worker}, its largest process {look.largest}, publisher {look.publisher}"
    )


class _Answer:
    """Waits in a thread for what a publisher says."""

    def __init__(self, publisher: Publisher, seconds: float) -> None:
        self._answer: dict[str, Any] = {}
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._wait, args=(publisher, seconds), daemon=True)
        self._thread.start()

    def _wait(self, publisher: Publisher, seconds: float) -> None:
        try:
            self._answer = publisher.go(seconds)
        except Exception as error:  # noqa: BLE001 (get raises it)
            self._error = error

    def is_awaited(self, seconds: float) -> bool:
        """Wait so long for it; whether it is still awaited."""
        self._thread.join(seconds)
        return self._thread.is_alive()

    def get(self) -> dict[str, Any]:
        """What it said.

        Raises:
            SystemFailed: it did not end well.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._answer
