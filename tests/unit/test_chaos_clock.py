"""Clocks that are moved: the time of day of a process, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from chaos import clock
from chaos.clock import Clocks, NoCompiler

if TYPE_CHECKING:
    from pathlib import Path

_TELL = """
import datetime, sys, time
for _ in sys.stdin:
    now = datetime.datetime.now(datetime.UTC).timestamp()
    print(time.time(), now, time.monotonic(), flush=True)
"""


@pytest.fixture
def clocks(tmp_path: Path) -> Clocks:
    if not clock.can_move():
        pytest.skip("no C compiler is installed (Debian: apt-get install gcc libc6-dev)")
    return Clocks(tmp_path)


def teller(clocks: Clocks, name: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _TELL],
        env={**os.environ, **clocks.environment(name)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def offsets(process: subprocess.Popen[str]) -> tuple[float, float, float]:
    """By how much its clocks are ahead: of ``time``, of ``datetime``, the monotonic one."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    said = [float(word) for word in process.stdout.readline().split()]
    return said[0] - time.time(), said[1] - time.time(), said[2] - time.monotonic()


def test_a_clock_jumps_there_and_back_and_no_other_does(clocks: Clocks) -> None:
    with teller(clocks, "one") as one, teller(clocks, "other") as other:
        for ahead in (0, 3600, -3600, 0):
            clocks.move("one", ahead)
            assert offsets(one) == pytest.approx((ahead, ahead, 0), abs=1)
            assert offsets(other) == pytest.approx((0, 0, 0), abs=1)
        for each in (one, other):
            each.terminate()


def test_a_process_whose_clock_is_wrong_still_waits_as_long_as_it_should(clocks: Clocks) -> None:
    clocks.move("one", -3600)
    waiting = (
        "import time, threading; began = time.monotonic(); time.sleep(0.2); "
        "threading.Event().wait(0.2); print(time.monotonic() - began)"
    )
    environment = {**os.environ, **clocks.environment("one")}
    took = subprocess.run(
        [sys.executable, "-c", waiting],
        env=environment, capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    assert 0.4 <= float(took.stdout) < 5


def test_a_machine_without_a_compiler_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "can_move", lambda: False)
    with pytest.raises(NoCompiler, match="apt-get install gcc"):
        Clocks(tmp_path)
