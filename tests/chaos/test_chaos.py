"""A short schedule of faults, as CI runs it; the long one is ``make chaos``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chaos import report
from chaos.clock import can_move
from chaos.plan import plan
from chaos.run import Settings, go
from chaos.systems import SYSTEMS
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


def test_nothing_is_lost(run_directory: RunDirectory) -> None:
    """One fault of each family: worker, broker, network, room, Redis, clocks."""
    kinds = ["kill-group", "kill-broker", "half-open", "full-queue", "redis-down"]
    # (Moving clocks takes a C compiler.)
    kinds += ["clock-jump"] if can_move() else []
    faults = plan(1, len(kinds), kinds=kinds, gap=1.5)
    settings = Settings(seed=1, jobs=2500, rate=100.0, faults=faults, patience=30.0)

    result = go(run_directory, SYSTEMS["laneway"], settings, print)

    said = "\n".join(report.lines(result))
    assert not result.is_red, said
    assert result.came_to_rest, said
    assert not [done for done in result.done if done.trouble], said
    assert not [words for words in result.refusals if "UNEXPECTED" in words], said
    # The faults were felt, or this shows nothing.
    assert result.account.accepted > 1500
    assert result.account.maybe + result.account.refused > 0
    assert result.starts > len(SYSTEMS["laneway"].workers)
