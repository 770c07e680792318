"""The suite itself can fail: a Laneway with one promise broken on purpose is seen red."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from chaos.plan import plan
from chaos.run import Result, Settings, go
from chaos.systems import laneway
from chaos.workload import Kind
from laneway.local import RunDirectory
from laneway.local.broker43 import is_installed

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.alone,
    pytest.mark.slow,
    pytest.mark.skipif(not is_installed(), reason="no RabbitMQ 4.3 (make broker43)"),
]


@pytest.fixture
def run_directory() -> Iterator[RunDirectory]:
    with RunDirectory.create() as run:
        yield run


def go_broken(
    run: RunDirectory, promise: str, kinds: set[Kind], *faults: str, rate: float = 100.0
) -> Result:
    """Run a schedule with a broken Laneway."""
    system = laneway(
        key=promise,
        app=f"chaos.broken.{promise}",
        pools=dict.fromkeys(("high", "default", "low"), "prefork"),
    )
    settings = Settings(
        seed=5,
        jobs=int(10 * rate),
        rate=rate,
        faults=plan(5, len(faults), kinds=sorted(set(faults)), gap=1.0),
        order=False,
        patience=40.0,
    )
    return go(run, replace(system, kinds=frozenset(kinds)), settings, print)


def test_early_acknowledgement_is_seen(run_directory: RunDirectory) -> None:
    faults = ["kill-group"] * 6

    result = go_broken(run_directory, "early_ack", {Kind.ONE, Kind.MANY}, *faults, rate=500.0)

    assert result.is_red
    assert result.account.lost > 0
    # What was lost had begun: it was acknowledged, and then killed.
    assert any("never ended" in job for job in result.account.lost_jobs)


def test_publishing_without_confirms_is_seen(run_directory: RunDirectory) -> None:
    result = go_broken(run_directory, "no_confirm", {Kind.ONE}, "full-queue", "full-queue")

    assert result.is_red
    assert result.account.lost > 0
    assert all("never began" in job for job in result.account.lost_jobs)


def test_a_missing_gate_is_seen(run_directory: RunDirectory) -> None:
    kinds = {Kind.ONE, Kind.UNKNOWN, Kind.MALFORMED}

    result = go_broken(run_directory, "no_gate", kinds)

    assert result.is_red
    assert result.account.lost > 0
    assert {job.split("(")[1].split(",")[0] for job in result.account.lost_jobs} == {
        "unknown",
        "malformed",
    }
