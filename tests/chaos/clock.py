"""Clocks of workers that can be wrong, and jump: each worker has one, and the machine's stays.

A small library (``clock.c``), built for the run and loaded before the C library, answers for the
system in processes that were started with it. Only the time of day moves: setting a machine's clock
leaves its monotonic one alone, too. (libfaketime 0.9.10 was tried: with it, ``time.sleep`` of
Python 3.11 fails with EINVAL when the monotonic clock is to be left alone.)
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_SOURCE: Final = Path(__file__).with_suffix(".c")
_SECONDS: Final = struct.Struct("=q")


class NoCompiler(Exception):
    """Clocks cannot be moved on this machine; the message says what to do."""


class Clocks:
    """Moves the clocks of processes that were started with their environment.

    Args:
        folder: for the library, and a file for each clock.

    Raises:
        NoCompiler: there is none, or it cannot build the library.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._library = folder / "clock.so"
        if not can_move():
            raise NoCompiler(
                "expected a C compiler for the fault clock-jump (Debian: apt-get install gcc "
                "libc6-dev), or a schedule without it (--only …)"
            )
        built = subprocess.run(
            ["cc", "-shared", "-fPIC", "-O2", "-o", self._library, _SOURCE, "-ldl"],
            capture_output=True,
            text=True,
            check=False,
        )
        if built.returncode:
            raise NoCompiler(f"cc could not build {_SOURCE}: {built.stderr}")

    def environment(self, name: str) -> Mapping[str, str]:
        """What the processes of this clock see besides everything else."""
        if not self._file(name).exists():
            self.move(name, 0)
        return {"LD_PRELOAD": str(self._library), "CHAOS_CLOCK": str(self._file(name))}

    def move(self, name: str, seconds: int) -> None:
        """Let a clock be so many seconds ahead of the machine's from now on; 0 is right."""
        # In its place, and in one write: the processes have the file mapped.
        with self._file(name).open("r+b" if self._file(name).exists() else "wb") as file:
            file.write(_SECONDS.pack(seconds))

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.clock"


def can_move() -> bool:
    """Whether this machine has what it takes."""
    return shutil.which("cc") is not None
