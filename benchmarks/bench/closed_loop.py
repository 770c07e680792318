"""A real closed loop beside the simulator: how far off is what it predicts?

``python -m bench.closed_loop`` (in a checkout, with ``PYTHONPATH=benchmarks``): a private RabbitMQ
4.3 with its management interface, real ``laneway worker`` processes, real jobs. Every few seconds
the broker's own counters go through the very policy and HPA of :mod:`laneway.scaling.simulate`, and
what comes out is started (after a delay: a process starts faster than a pod) or stopped with
SIGTERM. Afterwards the same arrivals and runtimes are simulated.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.loop_pods import Pod, Pods
from bench.loop_result import Journal, Measured, compared, predict
from laneway.broker import broker_address
from laneway.broker.management import Management
from laneway.local import RunDirectory, start_rabbitmq
from laneway.policy import load_policy
from laneway.scaling import Pace
from laneway.scaling.simulate import KedaRabbitmq, Laneway, Trace, World
from laneway.scaling.simulate.hpa import Hpa
from laneway.scaling.simulate.keda import Trigger
from laneway.scaling.simulate.seen import Reader, Seen, Statistics
from laneway.scaling.simulate.trace import arrivals_of, runtimes_of
from laneway.topology import apply_plan, make_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from laneway.broker import BrokerAddress
    from laneway.local import PrivateRabbitMQ
    from laneway.scaling.simulate import Policy

_QUEUE: Final = """\
summary = "the closed loop"
service_level = "1s"

[worker]
pool = "threads"
concurrency = 4
grace_period = "30s"

[scaling]
min = 1
max = 6
utilisation = 0.6
expected_runtime = "500ms"
scale_in_after = "40s"
"""

#: Mean seconds of a job; what arrives in a second before, in and after the rush.
_RUNTIME, _CALM, _RUSH = 0.5, 4.0, 16.0
#: Seconds before anything counts.
_BEFORE: Final = 25.0
#: Seconds in which all that was published must have ended.
_LAST: Final = 120.0


def read(management: Management, vhost: str, queue: str, before: Statistics | None) -> Statistics:
    """The broker's numbers, as it tells them."""
    entry = management.queue_entry(vhost, queue)
    stats = entry.get("message_stats", {})
    published = int(stats.get("publish", before.published if before else 0))
    return Statistics(
        time.monotonic(),
        published,
        int(entry.get("messages_ready", 0)),
        int(entry.get("messages_unacknowledged", 0)),
        float(stats.get("publish_details", {}).get("rate", 0.0)),
    )


def run_loop(
    world: World,
    policy: Policy,
    planned: Trace,
    *,
    broker: PrivateRabbitMQ,
    folder: Path,
    seed: int,
    say: Callable[[str], None],
) -> Measured:
    """Play a trace for real.

    Args:
        world: of the queue, and how often is looked.
        policy: what decides.
        planned: when jobs are to be published; the times at which they were are in the result.
        broker: that runs.
        folder: for the policy's files and the journal.
        seed: of the delays of pods.
        say: told now and then what happens.
    """
    prefix = f"loop{seed}-{policy.name.replace(' ', '-')}-"
    address = broker_address(broker.url, broker.management_url, vhost_prefix=prefix, env={})
    files = _write_policy(folder / prefix)
    journal = Journal(folder / prefix / "journal")
    environment = _environment(address, files, journal.path)
    pods = Pods(lambda port: _worker(environment, port), random.Random(seed))  # noqa: S311
    with Management(address) as management:
        loaded = load_policy(files)
        apply_plan(management, make_plan(management, loaded, address), address)
        scaling = world.queue.scaling
        hpa = Hpa(min=scaling.min, max=scaling.max, behavior=world.behavior)
        try:
            pods.scale(scaling.min)
            while not all(pod.ready for pod in pods.wanted):
                pods.tend()
                time.sleep(0.1)
            warm = len(pods.all)
            begin, clock = time.monotonic() + _BEFORE, time.time() + _BEFORE
            publisher = _Publisher(environment, planned, clock)
            publisher.start()
            history = _control(
                world, policy, hpa, pods, management, address, journal, begin, planned, say
            )
            over = time.monotonic()
            publisher.join(10)
            spent = pods.seconds(begin, over)
        finally:
            pods.stop()
    return _result(world, planned, journal, pods.all[warm:], history, spent, clock)


def _control(
    world: World,
    policy: Policy,
    hpa: Hpa,
    pods: Pods,
    management: Management,
    address: BrokerAddress,
    journal: Journal,
    begin: float,
    planned: Trace,
    say: Callable[[str], None],
) -> list[tuple[float, int]]:
    """Until every job has ended."""
    reader, trigger = Reader(world), Trigger()
    statistics, load = None, None
    now = time.monotonic()
    looks_at, syncs_at, says_at = now, now + world.sync_period, now
    history = []
    while True:
        now = time.monotonic()
        pods.tend()
        if now >= looks_at:
            looks_at += world.pace.every
            statistics = read(management, address.vhost("jobs"), world.queue.name, statistics)
            load = reader.look(now, statistics, journal.finished())
        if now >= syncs_at:
            syncs_at += world.sync_period
            # KEDA asks the broker, whenever the HPA asks KEDA.
            statistics = read(management, address.vhost("jobs"), world.queue.name, statistics)
            current = len(pods.wanted)
            seen = Seen(
                at=now,
                statistics=statistics,
                load=load,
                trigger=trigger,
                cpu=0.0,
                ready=current,
                pods=current,
            )
            pods.scale(hpa.decide(now, current, policy.recommend(world, seen, current)))
        history.append((now - begin, len(pods.wanted)))
        if now >= says_at and statistics is not None:
            says_at += 20
            said = f"{statistics.ready} wait, {statistics.unacked} run, {len(pods.wanted)} pods"
            say(f"{policy.name} {now - begin:4.0f} s: {said}")
        if now - begin > planned.seconds:
            journal.update()
            if len(journal.lines) >= len(planned.arrivals):
                return history
            if now - begin > planned.seconds + _LAST:
                return history
        time.sleep(0.1)


class _Publisher(threading.Thread):
    """Publishes each job when it is due, in a process of its own that owns the application."""

    def __init__(self, environment: dict[str, str], planned: Trace, clock: float) -> None:
        super().__init__(daemon=True)
        jobs = [
            [number, clock + at, runtime]
            for number, (at, runtime) in enumerate(
                zip(planned.arrivals, planned.runtimes, strict=True)
            )
        ]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.closed_loop", "--publish"],
            env=environment,
            stdin=subprocess.PIPE,
        )
        self._orders = json.dumps(jobs).encode()

    def run(self) -> None:
        """Hand over the orders, and wait for the end."""
        self._process.communicate(self._orders)


def publish() -> None:
    """``--publish``: what :class:`_Publisher` starts."""
    from bench.apps.scaled_app import wait  # noqa: PLC0415 (only here is there an address)

    for number, due, runtime in json.load(sys.stdin):
        if (left := due - time.time()) > 0:
            time.sleep(left)
        wait.apply_async((number, time.time(), runtime), queue="default")


def _write_policy(folder: Path) -> Path:
    queues = folder / "policy" / "queues"
    queues.mkdir(parents=True)
    (queues / "default.toml").write_text(_QUEUE)
    (folder / "policy" / "routing.py").write_text("ROUTES = []\n")
    return folder / "policy"


def _environment(address: BrokerAddress, policy: Path, journal: Path) -> dict[str, str]:
    return {
        **os.environ,
        "LANEWAY_BROKER_URL": ",".join(address.urls),
        "LANEWAY_MANAGEMENT_URL": address.management_url or "",
        "LANEWAY_VHOST_PREFIX": address.vhost_prefix,
        "LANEWAY_POLICY": str(policy),
        "LANEWAY_RESULT_BACKEND": "disabled://",
        "SCALED_JOURNAL": str(journal),
        "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
    }


def _worker(environment: dict[str, str], port: int) -> subprocess.Popen[bytes]:
    command = ["worker", "default", "--app", "bench.apps.scaled_app:app"]
    return subprocess.Popen(
        [sys.executable, "-m", "laneway", *command, "--health", f"127.0.0.1:{port}"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _result(
    world: World,
    planned: Trace,
    journal: Journal,
    started: Sequence[Pod],
    history: list[tuple[float, int]],
    spent: float,
    clock: float,
) -> Measured:
    lines = sorted(journal.lines, key=lambda line: line[1])
    counted = [line for line in lines if line[1] >= clock]
    planned_count = sum(1 for at in planned.arrivals if at >= 0)
    waits = sorted(start - sent for _, sent, start, _ in counted)
    level = world.queue.service_level
    trace = Trace(
        planned.name,
        planned.seconds,
        [sent - clock for _, sent, _, _ in lines],
        [ended - start for _, _, start, ended in lines],
        [],
    )
    return Measured(
        trace=trace,
        within=sum(wait <= level for wait in waits) / planned_count,
        p95=waits[int(0.95 * len(waits))],
        p99=waits[int(0.99 * len(waits))],
        pod_hours=spent / 3600,
        most_pods=max(pods for _, pods in history),
        starts=[pod.ready - pod.asked for pod in started if pod.ready is not None],
        lost=len(planned.arrivals) - len({line[0] for line in lines}),
        pods=history,
    )


def plan(seconds: int, seed: int) -> Trace:
    """A calm, a rush of four times as much in its second quarter, a calm."""
    chance = random.Random(seed)  # noqa: S311 (jobs, not secrets)
    rates = [
        _RUSH if seconds * 0.2 <= second < seconds * 0.55 else _CALM for second in range(seconds)
    ]
    arrivals = [at for at in arrivals_of(rates, chance) if at >= -_BEFORE]
    return Trace("rush", seconds, arrivals, runtimes_of(len(arrivals), _RUNTIME, chance), [])


def world_of(policy: Path) -> World:
    """The loop's: it looks more often than a cluster, because it is shorter."""
    return World(
        queue=load_policy(policy).queue("default"),
        sync_period=5.0,
        pace=Pace(every=2),
    )


def main() -> None:
    """Play the rush under Laneway and under KEDA's QueueLength, and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", type=Path, help="a JSON file for the result")
    parser.add_argument("--publish", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.publish:
        publish()
        return

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    found: list[dict[str, Any]] = []
    with (
        RunDirectory.create(report=say) as home,
        start_rabbitmq(home, series="4.3", report=say) as broker,
    ):
        world = world_of(_write_policy(home.path / "world"))
        planned = plan(options.seconds, options.seed)
        policies: list[Policy] = [Laneway(), KedaRabbitmq("QueueLength", 4)]
        for policy in policies:
            measured = run_loop(
                world, policy, planned, broker=broker, folder=home.path, seed=options.seed, say=say
            )
            result = compared(measured, predict(world, policy, measured))
            found.append({"policy": policy.name, "setting": policy.setting, **result})
            if options.write:
                options.write.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
