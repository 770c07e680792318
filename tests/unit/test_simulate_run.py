"""Policies on traces: what comes out of a whole run."""

from __future__ import annotations

import json
import random
from math import inf
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from laneway.cli.root import laneway
from laneway.policy.queues import Queue
from laneway.scaling.simulate import (
    TRACES,
    CpuHpa,
    Fixed,
    KedaRabbitmq,
    Laneway,
    Policy,
    Shape,
    World,
    make_trace,
    simulate,
    tune,
)
from laneway.scaling.simulate.fleet import Fleet
from laneway.scaling.simulate.outcome import outcome_of
from laneway.scaling.simulate.run import Look
from laneway.scaling.simulate.trace import Trace

if TYPE_CHECKING:
    from pathlib import Path

    from laneway.scaling.simulate import Outcome

QUEUE = Queue.model_validate(
    {
        "name": "high",
        "summary": "x",
        "service_level": "1s",
        "scaling": {"min": 2, "max": 20, "utilisation": 0.6, "expected_runtime": "200ms"},
    }
)
SCALING_FROM_ZERO = QUEUE.scaling.model_copy(update={"min": 0})
WORLD = World(queue=QUEUE)
SHAPE = Shape(rate=40, runtime=0.2, seconds=1200)
POLICIES: list[Policy] = [
    Fixed(4),
    CpuHpa(0.6),
    KedaRabbitmq("QueueLength", 4),
    KedaRabbitmq("MessageRate", 10),
    Laneway(),
]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_a_run_is_the_same_twice_and_keeps_to_its_bounds(policy: Policy) -> None:
    trace = make_trace("retry-storm", SHAPE, 1)
    outcome = simulate(trace, WORLD, policy, 5)
    assert outcome == simulate(trace, WORLD, policy, 5)
    assert outcome.jobs == trace.counted
    assert min(look.pods for look in outcome.looks) >= 2
    assert outcome.most_pods <= 20
    assert 0 < outcome.within <= 1


def test_laneway_follows_a_day() -> None:
    outcome = simulate(make_trace("diurnal", SHAPE, 1), WORLD, Laneway(), 1)
    assert outcome.within > 0.99
    pods = [look.pods for look in outcome.looks]
    assert min(pods) == 2
    assert 5 <= max(pods) <= 8
    assert outcome.flapping <= 3


def test_the_processor_does_not_see_a_slow_dependency() -> None:
    trace = make_trace("slow-dependency", SHAPE, 1)
    cpu, ours = (simulate(trace, WORLD, p, 1) for p in (CpuHpa(0.6), Laneway()))
    assert cpu.within < 0.8
    assert ours.within > 0.9


def test_a_burst_that_nobody_saw_coming_is_late_until_pods_have_started() -> None:
    trace = make_trace("burst", Shape(rate=100, runtime=0.2, seconds=1200), 1)
    outcome = simulate(trace, WORLD, Laneway(), 1)
    assert outcome.within < 0.95
    assert max(outcome.late) - min(outcome.late) < 120
    assert outcome.most_pods == 20


def test_everything_that_never_starts_is_late() -> None:
    trace = make_trace("steady", SHAPE, 1)
    outcome = simulate(trace, WORLD, Fixed(1), 1)
    assert outcome.within < 0.2
    assert outcome.p95 is not None
    assert outcome.p95 > 60


def test_waits_and_costs_are_counted_without_the_warm_up() -> None:
    trace = Trace("t", 100, [-10, 0, 1, 2, 3], [100, 2, 2, 2, 2], [])
    world = World(
        queue=QUEUE.model_copy(
            update={"worker": QUEUE.worker.model_copy(update={"concurrency": 2})}
        )
    )
    fleet = Fleet(trace, world, 1, random.Random(1))
    fleet.advance(3600)
    looks = [Look(-5, 9, 9, 0), Look(5, 3, 3, 0)]
    changes = [(-5.0, 1), (1.0, 1), (2.0, -1), (3.0, -1), (4.0, 1)]
    outcome = outcome_of(trace, world, Fixed(1), fleet, looks, changes)
    # One slot is taken by the warm-up, so they start at 0, 2, 4 and 6.
    assert (outcome.jobs, outcome.within, outcome.late) == (4, 0.5, [2, 3])
    assert (outcome.p95, outcome.p99) == (3, 3)
    assert outcome.pod_hours == 1
    assert outcome.flapping == 2 * 36
    assert outcome.most_pods == 3


def test_tuning_takes_the_cheapest_that_reaches_the_goal() -> None:
    trace = make_trace("steady", SHAPE, 1)
    fixed = tune("fixed", trace, WORLD, 1)
    assert fixed.policy == Fixed(3)
    assert simulate(trace, WORLD, Fixed(2), 1).within < 0.99
    best = tune("keda length", trace, WORLD, 1)
    assert best.within >= 0.99
    for threshold in (0.6, 2.4, 4.0):
        other = simulate(trace, WORLD, KedaRabbitmq("QueueLength", threshold), 1)
        assert other.within < 0.99 or other.pod_hours >= best.pod_hours


def run(*arguments: str) -> Any:
    options = ["--rate", "20/s", "--length", "10m", "--json"]
    result = CliRunner().invoke(laneway, ["scaling", "simulate", "high", *arguments, *options])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_verb_writes_json_and_a_picture(tmp_path: Path) -> None:
    picture = tmp_path / "out.svg"
    said = run("--trace", "steady", "--seeds", "2", "--seed", "7", "--plot", str(picture))
    assert said["seeds"] == [7, 8]
    [steady] = said["traces"]
    names = [policy["policy"] for policy in steady["policies"]]
    assert names == [
        "fixed",
        "hpa cpu",
        "keda length",
        "keda rate",
        "laneway tuned",
        "laneway",
        "laneway away",
    ]
    first, second = steady["policies"][-2]["runs"]
    assert (first["seed"], second["seed"]) == (7, 8)
    assert first["within"] > 0.99
    assert {"p95", "p99", "pod_hours", "flapping", "most_pods", "handed_back"} < set(first)
    drawn = ElementTree.parse(picture).getroot()
    assert len(drawn.findall(".//{*}polyline")) == 1 + 2 * len(names)


def test_the_verb_reads_a_file(tmp_path: Path) -> None:
    file = tmp_path / "monday.csv"
    file.write_text("second,jobs\n0,600\n60,1200\n120,600\n")
    command = ["scaling", "simulate", "high", "--csv", str(file)]
    shown = CliRunner().invoke(laneway, command)
    assert shown.exit_code == 0, shown.output
    assert "monday: from a file (2,400 jobs)" in shown.output
    assert "2 to 20 pods of 4 slots, service level 1s" in shown.output


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--trace", "weekly"], "'weekly' is not one of"),
        (["--plot", "out.png"], "expected a file that ends with .svg, got: out.png"),
        (["--pod-start", "20s", "10s"], "expected the shorter time first"),
        (["--pod-start", "20", "10s"], "expected a duration with its unit"),
        (["--runtime", "3"], "expected a duration with its unit"),
        (["--away", "5m", "3m"], "expected the shorter time first"),
        (["--min", "30"], "expected min to be at most max, got: min 30, max 20"),
        (["--rate", "100000/s"], "expected at most 5,000,000 jobs in a trace"),
        (["--csv", __file__, "--trace", "steady"], "expected --csv or a bundled trace"),
    ],
)
def test_the_verb_refuses_nonsense(arguments: list[str], what: str) -> None:
    result = CliRunner().invoke(laneway, ["scaling", "simulate", "high", *arguments])
    assert result.exit_code == 2
    assert what in " ".join(result.output.split())


def test_every_trace_is_played() -> None:
    said = CliRunner().invoke(
        laneway,
        ["scaling", "simulate", "high", "--rate", "5/s", "--length", "5m", "--json"],
    )
    assert [trace["trace"] for trace in json.loads(said.stdout)["traces"]] == list(TRACES)


def pods_at(outcome: Outcome, *seconds: float) -> list[int]:
    return [next(look.pods for look in outcome.looks if look.at >= at) for at in seconds]


def test_without_a_minimum_the_last_pod_goes_and_the_first_comes_with_a_job() -> None:
    """A rush, ten minutes of nothing, one job."""
    rush = [at / 20 for at in range(-2000, 2400)]
    trace = Trace("t", 1200, [*rush, 900.0], [0.2] * 4401, [])
    idle = World(queue=QUEUE.model_copy(update={"scaling": SCALING_FROM_ZERO}))
    for policy in (Laneway(), KedaRabbitmq("QueueLength", 4)):
        outcome = simulate(trace, idle, policy, 1)
        # Five minutes of cooldown after the last job; the mean of arrivals lasts for one of them.
        busy, cooling, gone, again, after = pods_at(outcome, 100, 390, 600, 940, 1195)
        assert (gone, again) == (0, 1), policy
        assert busy >= 1
        assert cooling >= 1
        assert after == 1
        assert outcome.within < 1
        assert outcome.late == [900]
    # The same with a pod that always stands: nothing waits.
    assert simulate(trace, WORLD, Laneway(), 1).within == 1


def test_a_scaler_that_is_silent_is_an_error_first_and_the_length_of_the_queue_then() -> None:
    trace = make_trace("steady", Shape(rate=40, runtime=0.2, seconds=1800), 1)
    usual = simulate(trace, WORLD, Laneway(), 1)
    away = simulate(trace, WORLD, Laneway(away=(300, 900)), 1)
    length = simulate(trace, WORLD, Laneway(away=(-inf, inf)), 1)
    assert pods_at(away, 290, 310, 325) == pods_at(usual, 290, 310, 325)
    assert pods_at(away, 890) == pods_at(length, 890)
    assert pods_at(length, 890) != pods_at(usual, 890)
    # (What the length asked for stays for scale_in_after, and goes by a pod a minute.)
    assert pods_at(away, 1700) == pods_at(usual, 1700)
    assert away.within > 0.99


def test_nobody_who_is_asleep_is_woken_by_a_scaler_that_fails_until_the_queue_counts() -> None:
    trace = Trace("t", 900, [-300.0, 600.0], [0.2, 0.2], [])
    idle = World(queue=QUEUE.model_copy(update={"scaling": SCALING_FROM_ZERO}))
    with_scaler, without = (
        simulate(trace, idle, policy, 1) for policy in (Laneway(), Laneway(away=(600, inf)))
    )
    assert pods_at(with_scaler, 595, 635) == [0, 1]
    assert pods_at(without, 595, 635, 700) == [0, 0, 1]
