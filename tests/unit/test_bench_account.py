"""The account of a benchmark's run, which a system that loses jobs must not get past."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.account import account
from bench.ledger import Ledger, Starts, cost_of_a_start

if TYPE_CHECKING:
    from pathlib import Path


def test_every_job_once_is_exact() -> None:
    found = account([range(5), range(10, 12)], [11, 10, 4, 3, 2, 1, 0])
    assert found.is_exact
    assert (found.published, found.started) == (7, 7)


def test_a_job_that_never_started_is_lost() -> None:
    found = account([range(5)], [0, 1, 2, 4])
    assert (found.lost, found.duplicated) == (1, 0)
    assert not found.is_exact


def test_a_second_start_is_a_duplicate_and_hides_no_loss() -> None:
    found = account([range(5)], [0, 1, 2, 2, 3])
    assert (found.lost, found.duplicated) == (1, 1)


def test_what_still_waits_is_not_lost() -> None:
    assert account([range(5)], [0, 1], left=3).is_exact


def test_what_started_and_waits_again_will_run_twice() -> None:
    found = account([range(5)], [0, 1], left=4)
    assert (found.lost, found.duplicated) == (0, 1)


def test_a_job_that_nobody_published_is_the_harness_s_own_mistake() -> None:
    with pytest.raises(ValueError, match="only published jobs"):
        account([range(5)], [0, 7])


@given(
    st.integers(1, 60).flatmap(
        lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)), st.sets(st.integers(0, 59)))
    )
)
def test_losses_and_duplicates_are_counted_one_by_one(
    case: tuple[int, set[int], set[int]],
) -> None:
    published, missing, twice = case
    once = [job for job in range(published) if job not in missing]
    again = [job for job in once if job in twice]
    found = account([range(published)], once + again)
    assert (found.lost, found.duplicated) == (len(missing), len(again))


def test_accounts_add_up() -> None:
    total = account([range(5)], [0, 1, 2, 3]) + account([range(2)], [0, 0, 1])
    assert (total.published, total.started, total.lost, total.duplicated) == (7, 6, 1, 1)


def test_the_ledger_gives_back_every_start(tmp_path: Path) -> None:
    ledger, starts = Ledger(tmp_path), Starts(tmp_path)
    assert starts.count() == 0
    for job in (7, 4_000_000_001, 7):
        ledger.started(job)
    assert starts.count() == 3
    read = list(starts.read())
    assert [job for job, _ in read] == [7, 4_000_000_001, 7]
    assert read[0][1] <= read[1][1] <= read[2][1]


def test_a_start_that_is_half_written_is_not_read(tmp_path: Path) -> None:
    Ledger(tmp_path).started(1)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes() + b"half")
    assert [job for job, _ in Starts(tmp_path).read()] == [1]


def test_what_a_start_costs_is_measured_and_leaves_nothing(tmp_path: Path) -> None:
    assert 0 < cost_of_a_start(tmp_path, tries=100) < 0.01
    assert list(tmp_path.iterdir()) == []
