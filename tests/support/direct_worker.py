"""A worker of ``low`` with the direct pool and the rough tasks, and the processes it is made of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from support.workers import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Mapping


class DirectWorker(WorkerProcess):
    """``laneway worker low --pool direct``, or another pool that the options name."""

    def __init__(self, env: Mapping[str, str], *options: str, processes: int = 1) -> None:
        super().__init__(
            "low",
            env,
            *(() if "--pool" in options else ("--pool", "direct")),
            *("--concurrency", str(processes), *options),
            app="support.rough_tasks:app",
        )

    @property
    def nursery(self) -> int:
        """The process that forks the others."""
        [nursery] = children(self.process.pid)
        return nursery

    @property
    def processes(self) -> list[int]:
        """The processes that run jobs."""
        return children(self.nursery)


def children(parent: int) -> list[int]:
    """The processes that another one forked and that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found
