"""What makes a soak red: a lost job, one left behind, memory that grows."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bench.account import Account
from bench.agent import Schedule
from bench.soak_result import Look, Soak, grown

if TYPE_CHECKING:
    from pathlib import Path

EXACT = Account(published=9, started=9, lost=0, duplicated=0, left=0)


def soak_of(sizes: list[float], account: Account | None = EXACT) -> Soak:
    looks = [
        Look(at=10.0 * place, starts=0, waiting=0, worker=size, largest=50.0, publisher=40.0)
        for place, size in enumerate(sizes)
    ]
    return Soak(about={}, system="one", minutes=1, most=10, pace=7, looks=looks, account=account)


def test_flat_memory_and_an_exact_account_are_green() -> None:
    assert soak_of([80.0, 95.0, 100.0, 100.0, 101.0, 100.0, 101.0, 100.0]).faults == []


def test_memory_that_grows_after_the_first_quarter_is_red() -> None:
    (fault,) = soak_of([100.0, 100, 100, 100, 102, 104, 106, 108]).faults
    assert "memory of worker grew by 7.0%, more than 3%" in fault


def test_what_grows_in_the_first_quarter_only_is_filling() -> None:
    assert grown([10.0, 90.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0]) == 0


@pytest.mark.parametrize(
    ("account", "says"),
    [
        (replace(EXACT, lost=2), "2 jobs lost"),
        (replace(EXACT, left=3), "3 left behind"),
        (None, "did not come to its end"),
    ],
)
def test_an_account_that_is_not_even_is_red(account: Account | None, says: str) -> None:
    assert says in soak_of([100.0] * 8, account).faults[0]


def test_a_duplicate_is_told_and_not_red() -> None:
    found = soak_of([100.0] * 8, replace(EXACT, duplicated=1))
    assert found.faults == []
    assert "1 duplicated" in found.summary[1]


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    found = soak_of([100.0] * 8)
    found.write(tmp_path / "soak.json")
    assert Soak.load(tmp_path / "soak.json") == found


def test_a_schedule_of_millions_keeps_nothing_of_each_job() -> None:
    schedule = Schedule(1, 0.0495, 1000, record=False)
    assert len(list(schedule)) == 50
    assert schedule.sent == []


def test_a_schedule_waits_while_there_is_no_room() -> None:
    full_until = time.monotonic() + 0.3
    schedule = Schedule(1, 0.5, 10_000, room=lambda _: time.monotonic() > full_until)
    count = len(list(schedule))
    assert 0.25 < schedule.waited < 0.45
    # What it could not hand out meanwhile is not made up for.
    assert count == pytest.approx((0.5 - schedule.waited) * 10_000, abs=300)


def test_a_schedule_without_room_ends() -> None:
    assert list(Schedule(1, 0.2, 1000, room=lambda _: False)) == []
