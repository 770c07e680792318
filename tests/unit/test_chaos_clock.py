"""Clocks that are moved: the time of day of a process, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from chaos import clock
from chaos.clock import Clocks, find_faketime

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
    library = find_faketime()
    if library is None:
        pytest.skip("no libfaketime is installed (Debian: apt-get install libfaketime)")
    return Clocks(tmp_path, library)


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


def test_a_machine_without_the_library_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "find_faketime", lambda: None)
    with pytest.raises(FileNotFoundError, match="apt-get install libfaketime"):
        Clocks.needed(tmp_path)
