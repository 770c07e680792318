"""The HPA's arithmetic, case by case as Kubernetes 1.37's own code decides it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.scaling.simulate.hpa import (
    Behavior,
    Hpa,
    Limit,
    Rules,
    pods_for_average,
    pods_for_utilisation,
)

USUAL = Behavior()
NO_LIMIT = Rules(limits=(Limit(kind="Percent", value=1000, period=15),), stabilisation=0)
AT_ONCE = Behavior(
    out=NO_LIMIT,
    into=Rules(limits=(Limit(kind="Percent", value=100, period=15),), stabilisation=0),
)


@pytest.mark.parametrize(
    ("value", "current", "pods"),
    [
        (40, 4, 4),
        (44, 4, 4),  # 10 % above: nothing is done
        (44.1, 4, 5),
        (36, 4, 4),  # 10 % below
        (35.9, 4, 4),  # outside of the tolerance, and rounded up to the same
        (30, 4, 3),
        (0, 4, 0),
        (0.0004, 1, 0),  # thousandths are all that travels
    ],
)
def test_an_average_value_is_divided_and_rounded_up(value: float, current: int, pods: int) -> None:
    assert pods_for_average(value, 10, current, USUAL) == pods


def test_the_processor_of_the_ready_pods_counts() -> None:
    assert pods_for_utilisation([0.9, 0.9], 0, 0.6, 2, USUAL) == 3
    assert pods_for_utilisation([0.64, 0.64], 0, 0.6, 2, USUAL) == 2  # within the tolerance
    assert pods_for_utilisation([0.3, 0.3, 0.3, 0.3], 0, 0.6, 4, USUAL) == 2
    assert pods_for_utilisation([], 2, 0.6, 2, USUAL) is None


def test_pods_that_start_are_idle_where_it_scales_out() -> None:
    # Two busy pods would ask for 4; the two that come already are counted.
    assert pods_for_utilisation([1.2, 1.2], 2, 0.6, 4, USUAL) == 4
    # Diluted below the target: it must not turn around.
    assert pods_for_utilisation([0.8, 0.8], 4, 0.6, 6, USUAL) == 6
    # Where it scales in they are left out.
    assert pods_for_utilisation([0.2, 0.2], 1, 0.6, 3, USUAL) == 1


def test_out_it_doubles_or_adds_four_each_fifteen_seconds() -> None:
    hpa = Hpa(min=1, max=100)
    pods = [1]
    for step in range(5):
        pods.append(hpa.decide(15.0 * step, pods[-1], 90))
    assert pods == [1, 5, 10, 20, 40, 80]


def test_within_a_period_what_was_added_counts() -> None:
    hpa = Hpa(min=1, max=100)
    assert hpa.decide(0, 10, 50) == 20
    assert hpa.decide(5, 20, 50) == 20
    assert hpa.decide(15, 20, 50) == 40


def test_in_it_goes_when_nothing_asked_for_more_in_the_window() -> None:
    hpa = Hpa(min=1, max=100)
    assert hpa.decide(0, 10, 10) == 10
    assert [hpa.decide(at, 10, 2) for at in (15, 150, 285, 299)] == [10] * 4
    assert hpa.decide(300, 10, 2) == 2


def test_a_window_for_going_out_takes_the_least() -> None:
    behavior = Behavior(out=Rules(limits=NO_LIMIT.limits, stabilisation=60))
    hpa = Hpa(min=1, max=100, behavior=behavior)
    assert hpa.decide(0, 2, 2) == 2
    assert hpa.decide(15, 2, 8) == 2
    assert hpa.decide(45, 2, 6) == 2
    assert hpa.decide(61, 2, 9) == 6


@pytest.mark.parametrize(("select", "pods"), [("Max", 5), ("Min", 8), ("Disabled", 10)])
def test_of_several_limits_one_is_selected(select: str, pods: int) -> None:
    limits = (
        Limit(kind="Pods", value=2, period=60),
        Limit(kind="Percent", value=50, period=60),
    )
    into = Rules(limits=limits, stabilisation=0, select=select)  # type: ignore[arg-type]
    hpa = Hpa(min=1, max=100, behavior=Behavior(out=NO_LIMIT, into=into))
    assert hpa.decide(0, 10, 1) == pods
    # Nothing is left of the period's limit.
    assert hpa.decide(30, pods, 1) == pods


def test_unknown_changes_nothing_but_what_is_out_of_bounds() -> None:
    hpa = Hpa(min=2, max=8)
    assert hpa.decide(0, 5, None) == 5
    assert hpa.decide(15, 9, None) == 8
    assert hpa.decide(30, 1, None) == 2
    assert hpa.decide(45, 0, 7) == 0


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.integers(1, 30))
def test_it_never_leaves_its_bounds(recommended: list[int], pods: int) -> None:
    hpa = Hpa(min=2, max=20, behavior=AT_ONCE)
    for step, number in enumerate(recommended):
        pods = hpa.decide(15.0 * step, pods, number)
        assert 2 <= pods <= 20
