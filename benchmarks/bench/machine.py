"""What the numbers depend on: processors, the disk, versions; and the memory of processes."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROC: Final = Path("/proc")
_VERSIONS: Final = """
import importlib.metadata as m, json, platform
names = ["celery", "kombu", "amqp", "dramatiq", "pika", "taskiq", "taskiq-aio-pika", "aio-pika"]
found = {d.metadata["Name"]: d.version for d in m.distributions() if d.metadata["Name"] in names}
print(json.dumps({"python": platform.python_version(), **found}))
"""


def facts(disk: Path) -> dict[str, Any]:
    """The machine, with the latency of ``fsync`` in the folder ``disk``."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "load_before": round(os.getloadavg()[0], 2),
        "fsync_ms": _fsync(disk),
    }


def versions(python: str) -> dict[str, str]:
    """The versions of Python and of what matters here, as another interpreter has them."""
    done = subprocess.run(
        [python, "-P", "-c", _VERSIONS], capture_output=True, text=True, check=True, timeout=60
    )
    found: dict[str, str] = json.loads(done.stdout)
    return dict(sorted(found.items()))


def _cpu() -> str:
    with suppress(OSError, IndexError):
        for line in (_PROC / "cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _fsync(folder: Path, tries: int = 50) -> dict[str, float]:
    """Milliseconds of appending 4 KiB and ``fsync``, as the broker's log does."""
    file = folder / "fsync-probe"
    taken = []
    with file.open("ab", buffering=0) as output:
        for _ in range(tries):
            began = time.perf_counter()
            output.write(b"x" * 4096)
            os.fsync(output.fileno())
            taken.append((time.perf_counter() - began) * 1000)
    file.unlink()
    return {"median": round(statistics.median(taken), 3), "max": round(max(taken), 3)}


def family(pid: int) -> list[int]:
    """A process and everything that it started and that still runs."""
    return [pid, *(inner for child in _children(pid) for inner in family(child))]


def _children(pid: int) -> Iterator[int]:
    with suppress(OSError):
        for thread in (_PROC / str(pid) / "task").iterdir():
            with suppress(OSError):
                yield from map(int, (thread / "children").read_text().split())


def pss(pids: list[int]) -> list[int]:
    """The proportional set size of each process that still runs, in bytes.

    Memory that several processes share counts in equal parts for each, so that the sum is true.
    """
    sizes = []
    for pid in pids:
        with suppress(OSError):
            lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
            sizes += [int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")]
    return sizes


def cpu_seconds(pids: list[int]) -> float:
    """The processor time that these processes took since they began, in user and system mode."""
    ticks = 0
    for pid in pids:
        with suppress(OSError):
            fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
