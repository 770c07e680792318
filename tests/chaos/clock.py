"""Clocks of workers that can be wrong, and jump: each worker has one, and the machine's stays.

libfaketime answers for the system in processes that were started with it. Only the time of day
moves (``time.time``, ``datetime.now``, whatever a C library asks): setting a machine's clock leaves
its monotonic one alone, too.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from laneway.local.packages import apt_install

if TYPE_CHECKING:
    from collections.abc import Mapping


def find_faketime() -> Path | None:
    """The library, installed first where that can be done (Debian, as root); None without it."""
    found = _installed()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        apt_install("libfaketime")
        found = _installed()
    return found


def _installed() -> Path | None:
    # The one for programs with threads.
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    return found[0] if found else None


class Clocks:
    """Moves the clocks of processes that were started with their environment.

    Args:
        folder: a file for each clock.
        library: libfaketime.
    """

    def __init__(self, folder: Path, library: Path) -> None:
        self._folder = folder
        self._library = library

    @classmethod
    def needed(cls, folder: Path) -> Clocks:
        """Clocks for a run that moves some.

        Raises:
            FileNotFoundError: libfaketime is not there, with what to do.
        """
        library = find_faketime()
        if library is None:
            raise FileNotFoundError(
                "expected libfaketime for the fault clock-jump (Debian: apt-get install "
                "libfaketime), or a schedule without it (--only …)"
            )
        return cls(folder, library)

    def environment(self, name: str) -> Mapping[str, str]:
        """What the processes of this clock see besides everything else."""
        self.move(name, 0)
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file(name)),
            # Or it would look at the file every ten seconds.
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def move(self, name: str, seconds: int) -> None:
        """Let a clock be so many seconds ahead of the machine's from now on; 0 is right."""
        file = self._file(name)
        # Whole at every moment: it may be read right now.
        written = file.with_suffix(".new")
        written.write_text(f"{seconds:+d}\n")
        written.replace(file)

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.clock"
