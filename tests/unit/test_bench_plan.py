"""The order and the size of a run."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

import pytest

from bench.plan import DEFAULT, FULL, GROUPS, MEASURES, QUICK, measure, plan, size, takes_part
from bench.systems import SYSTEMS, named

KEYS = [system.key for system in SYSTEMS]


def test_every_system_is_visited_as_often_as_the_others() -> None:
    visits = list(plan(SYSTEMS, GROUPS, 5))
    counts = Counter((visit.group, visit.system.key) for visit in visits)
    assert set(counts.values()) == {5}
    assert {key for group, key in counts if group == "work"} == set(KEYS) - {"raw"}


def test_the_systems_take_turns_and_each_run_begins_with_another() -> None:
    visits = list(plan(SYSTEMS, ["work"], 5))
    rounds = [[v.system.key for v in part] for _, part in groupby(visits, lambda v: v.run)]
    assert all(len(set(keys)) == len(keys) for keys in rounds)
    assert len({keys[0] for keys in rounds}) == 5


def test_what_differs_only_in_its_worker_publishes_once() -> None:
    publishing = [s.key for s in SYSTEMS if takes_part(s, "publish", SYSTEMS)]
    assert publishing == [
        "laneway-direct",
        "celery-tuned-1",
        "dramatiq",
        "taskiq",
        "celery-defaults",
        "raw",
    ]
    alone = named(("laneway-prefork",))
    assert takes_part(alone[0], "publish", alone)


def test_growth_is_laneway_s_and_celery_s() -> None:
    growing = [s.key for s in SYSTEMS if takes_part(s, "growth", SYSTEMS)]
    assert growing == ["laneway-direct", "celery-tuned-16"]


def test_systems_are_chosen_by_name_or_by_family() -> None:
    assert [s.key for s in named(("laneway", "raw"))] == [
        "laneway-direct",
        "laneway-prefork",
        "raw",
    ]
    assert named(()) == SYSTEMS
    with pytest.raises(ValueError, match="got: 'lane'"):
        named(("lane",))


def test_the_modes_keep_what_the_rules_ask_for() -> None:
    assert DEFAULT.runs >= 5
    assert FULL.runs >= 5
    assert DEFAULT.budget is not None
    assert DEFAULT.budget <= 45 * 60
    assert QUICK.budget is not None
    assert QUICK.budget <= 3 * 60
    assert FULL.budget is None
    assert DEFAULT.flood_backlog == FULL.flood_backlog == 100_000
    assert max(DEFAULT.growth_sizes) == 100_000
    assert max(FULL.growth_sizes) == 1_000_000


def test_every_measure_has_its_group_and_growth_its_own() -> None:
    assert {m.group for m in MEASURES.values()} == set(GROUPS) - {"growth"}
    assert measure("growth_1000").group == "growth"
    assert "1,000" in measure("growth_1000").title
    with pytest.raises(KeyError):
        measure("nonsense")


def test_sizes_have_bounds() -> None:
    assert size(500, 3) == 1500
    assert size(0.1, 1) == 100
    assert size(1e9, 10) == 100_000


def test_workers_are_told_their_queue_and_how_many_processes() -> None:
    commands = {s.key: s.worker("high") for s in SYSTEMS if s.app is not None}
    assert all("high" in command or key == "taskiq" for key, command in commands.items())
    assert "--without-gossip" in commands["celery-tuned-1"]
    assert "--without-gossip" not in commands["celery-defaults"]
    assert commands["dramatiq"][3:7] == ["-p", "2", "-t", "8"]
