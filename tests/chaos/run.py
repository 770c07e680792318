"""A run: load, faults, peace, and the account."""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from chaos.account import Account, account
from chaos.faults import Faults
from chaos.ledger import What, read
from chaos.order import Order, try_order
from chaos.recovery import Done, recovery, standstill
from chaos.remains import take_everything
from chaos.stage import Stage
from chaos.workload import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from subprocess import Popen

    from chaos.ledger import Entry
    from chaos.plan import Fault
    from chaos.systems import System
    from laneway.local import RunDirectory

#: Producers of a run.
PRODUCERS: Final = 2
#: Seconds that workers get to come up, and declare what their system needs, before the producers.
_WORKERS_UP: Final = 90.0
#: Seconds of the producers before the first fault.
_PRODUCERS_UP: Final = 3.0
#: Seconds of silence after which a run has ended, and of standstill after which it is given up.
_QUIET: Final = 3.0
_PATIENCE: Final = 120.0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What one run does."""

    seed: int
    #: Jobs that producers publish, about.
    jobs: int
    #: Jobs a second that they publish, all together.
    rate: float
    faults: tuple[Fault, ...]
    nodes: int = 1
    #: Whether the order after a crash is tried when the faults are over.
    order: bool = True
    #: Seconds without a new record in the ledger after which the run is given up; with new ones,
    #: :data:`chaos.stage.LONGEST` times as many.
    patience: float = _PATIENCE


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of it."""

    system: System
    settings: Settings
    account: Account
    done: tuple[Done, ...]
    #: Seconds until throughput was back, by the number of the fault.
    recoveries: dict[int, float | None]
    #: The longest times without any end of a job of the queues that a fault hit.
    standstills: dict[int, float]
    #: Whether everything had come to rest when it was counted.
    came_to_rest: bool
    #: What still waited or ran otherwise: messages by queue; None if nobody knew.
    still: dict[str, int] | None
    seconds: float
    #: What producers were told, by its first words, and how often.
    refusals: dict[str, int]
    #: Why jobs failed that were not made to, as Laneway's workers told it, and how often.
    failures: dict[str, int]
    #: How often workers were started.
    starts: int
    version: str
    orders: tuple[Order, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def is_red(self) -> bool:
        """Whether a promise was broken, or the run itself went wrong."""
        disorder = any(order.is_red for order in self.orders)
        return self.account.is_red or disorder or bool(self.problems)


def go(run: RunDirectory, system: System, settings: Settings, say: Callable[[str], None]) -> Result:
    """Run a schedule.

    Args:
        run: owns all processes and files.
        system: what is tried.
        settings: how.
        say: tells people what happens.
    """
    began = time.monotonic()
    jumps = any(fault.kind == "clock-jump" for fault in settings.faults)
    with Stage(run, system, settings.nodes, jumps=jumps) as stage:
        problems = [] if stage.are_consumed(_WORKERS_UP) else ["not all workers came up"]
        producers = _producers(stage, settings)
        time.sleep(_PRODUCERS_UP)
        faults = Faults(stage)
        done = []
        for fault in settings.faults:
            done.append(faults.carry_out(fault))
            say(_words(done[-1]))
        problems += _end_producers(producers, settings, say)
        say("waiting until nothing waits any more")
        at_rest = stage.is_quiet(_QUIET, settings.patience)
        still = {} if at_rest else stage.waiting()
        orders = try_order(stage, settings.seed) if settings.order else []
        stage.workers.stop(*stage.workers.names)
        queued, dead = take_everything(stage)
        entries = list(read(stage.ledger))
        load_until = _load_until(entries)
        return Result(
            system=system,
            settings=settings,
            account=account(entries, queued=queued, dead=dead, letters=system.letters),
            done=tuple(done),
            recoveries={one.number: recovery(one, _ends(entries, one)) for one in done},
            standstills={
                one.number: standstill(one, _ends(entries, one), load_until) for one in done
            },
            came_to_rest=at_rest,
            still=still,
            seconds=time.monotonic() - began,
            refusals=_refusals(stage),
            failures=_failures(stage),
            starts=sum(stage.workers.starts.values()),
            version=stage.cluster.nodes[0].version,
            orders=tuple(orders),
            problems=tuple(problems),
        )


def _ends(entries: Sequence[Entry], fault: Done) -> list[float]:
    """When jobs of the queues that a fault hit ended, sorted."""
    return sorted(
        entry.at
        for entry in entries
        if entry.what == What.ENDED and fault.queue in (None, entry.queue)
    )


def _load_until(entries: Sequence[Entry]) -> float:
    """When the last call of the producers began; those of :mod:`chaos.order` are no load."""
    last = PRODUCERS * NUMBERS
    return max(
        (entry.at for entry in entries if entry.what == What.SENDING and entry.job < last),
        default=0.0,
    )


def _producers(stage: Stage, settings: Settings) -> list[Popen[bytes]]:
    return [
        stage.producer(
            number,
            seed=settings.seed,
            jobs=settings.jobs // PRODUCERS,
            rate=settings.rate / PRODUCERS,
        )
        for number in range(PRODUCERS)
    ]


def _end_producers(
    producers: Sequence[Popen[bytes]], settings: Settings, say: Callable[[str], None]
) -> list[str]:
    """Wait for those that still publish; what was wrong with them."""
    say("waiting for the producers")
    until = time.monotonic() + settings.jobs / settings.rate + settings.patience
    problems = []
    for number, producer in enumerate(producers):
        with suppress(Exception):
            producer.wait(max(1.0, until - time.monotonic()))
        status = producer.poll()
        if status != 0:
            producer.kill()
            problems.append(f"producer {number} ended with {status}")
    return problems


def _refusals(stage: Stage) -> dict[str, int]:
    """What producers wrote: one line for each call that raised."""
    counted: dict[str, int] = {}
    for number in range(PRODUCERS):
        file = stage.log(f"producer-{number}")
        for line in file.read_text(errors="replace").splitlines() if file.exists() else ():
            kind, _, why = line.partition(": ")
            if kind.partition(" ")[0].isupper():
                words = why.partition(":")[0][:60]
                counted[words] = counted.get(words, 0) + 1
    return dict(sorted(counted.items(), key=lambda one: -one[1]))


def _failures(stage: Stage) -> dict[str, int]:
    """The errors of jobs that failed and were not made to, by the facts in the logs of workers."""
    counted: Counter[str] = Counter()
    for file in stage.logs.glob("worker-*.log"):
        with file.open(errors="replace") as lines:
            for line in lines:
                if line.startswith('{"fact": {"kind": "failed"'):
                    with suppress(ValueError):
                        counted[str(json.loads(line)["fact"].get("error_type"))] += 1
    counted.pop("ValueError", None)
    return dict(counted.most_common())


def _words(done: Done) -> str:
    lasted = done.healed - done.began
    trouble = f" TROUBLE {done.trouble}" if done.trouble else ""
    return f"{done.number:3}  {done.kind} ({done.whom}), {lasted:.1f} s{trouble}"


def document(result: Result) -> dict[str, Any]:
    """A result as JSON has it."""
    first = result.done[0].began if result.done else 0.0
    return {
        "system": result.system.key,
        "rabbitmq": result.version,
        "nodes": result.settings.nodes,
        "seed": result.settings.seed,
        "seconds": round(result.seconds, 1),
        "came_to_rest": result.came_to_rest,
        "still": result.still,
        "red": result.is_red,
        "problems": list(result.problems),
        "account": asdict(result.account),
        "refusals": result.refusals,
        "failures": result.failures,
        "order_after_a_kill": [asdict(order) for order in result.orders],
        "worker_starts": result.starts,
        "faults": [
            {
                **asdict(planned),
                "whom": done.whom,
                "at": round(done.began - first, 1),
                "lasted": round(done.healed - done.began, 1),
                "recovery": _round(result.recoveries[done.number]),
                "standstill": round(result.standstills[done.number], 2),
                "trouble": done.trouble,
            }
            for planned, done in zip(result.settings.faults, result.done, strict=True)
        ],
    }


def _round(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)
