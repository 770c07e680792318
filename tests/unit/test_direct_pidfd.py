"""A process as its parent holds it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from laneway.worker.direct.pidfd import Pidfd

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[bytes]]:
    """A process that never rests."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        yield process
        process.kill()


def test_a_frozen_process_stands_still_until_it_is_told_to_go_on(
    busy: subprocess.Popen[bytes],
) -> None:
    held = Pidfd(busy.pid)
    for _ in range(20):
        held.freeze()
        assert Path(f"/proc/{busy.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        held.signal(signal.SIGCONT)
    held.close()


def test_no_signal_reaches_a_process_that_got_the_number_later(
    busy: subprocess.Popen[bytes],
) -> None:
    held = Pidfd(busy.pid)
    held.close()
    held.signal(signal.SIGKILL)
    held.freeze()
    assert busy.poll() is None


def test_a_process_that_is_gone_is_no_error() -> None:
    pid = os.fork()
    if not pid:
        os._exit(0)
    early = Pidfd(pid)
    os.waitpid(pid, 0)
    late = Pidfd(pid)
    for held in (early, late):
        held.freeze()
        held.signal(signal.SIGKILL)
        held.close()
