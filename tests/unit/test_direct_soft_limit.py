"""The soft time limit of a job."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
from celery.exceptions import SoftTimeLimitExceeded

from laneway.worker.direct.slots import Slots
from laneway.worker.direct.soft_limit import SoftLimit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from laneway.worker.direct.slots import Slot


@pytest.fixture
def slot() -> Slot:
    slot = Slots(1)[0]
    slot.soft_deadline = time.monotonic() - 1
    return slot


@pytest.fixture
def limit(slot: Slot) -> Iterator[SoftLimit]:
    before = signal.getsignal(signal.SIGUSR1)
    limit = SoftLimit(slot)
    limit.listen()
    yield limit
    signal.signal(signal.SIGUSR1, before)


def tell() -> None:
    os.kill(os.getpid(), signal.SIGUSR1)


def test_a_job_is_interrupted_once(limit: SoftLimit) -> None:
    limit.armed = True
    with pytest.raises(SoftTimeLimitExceeded):
        tell()
    tell()


def test_what_is_not_the_jobs_code_is_not_interrupted(limit: SoftLimit) -> None:
    assert not limit.armed
    tell()


@pytest.mark.parametrize("deadline", [0.0, 2.0**40])
def test_a_signal_meant_for_another_job_does_nothing(
    limit: SoftLimit, slot: Slot, deadline: float
) -> None:
    slot.soft_deadline = deadline
    limit.armed = True
    tell()
    assert limit.armed
