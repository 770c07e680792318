"""What SIGTERM does to a command that is all that runs in a container."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from laneway.local.ports import free_ports

#: As the first process of a container sees itself.
_FIRST: Final = "import os; os.getpid = lambda: 1; from laneway.cli import main; main()"


def catches_sigterm(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) & 1 << signal.SIGTERM - 1)


def test_the_first_process_of_a_container_ends_when_it_is_told_to() -> None:
    """The kernel gives the first process no signal that it has no handler for."""
    (nobody,) = free_ports(1)
    url = f"amqp://guest:guest@127.0.0.1:{nobody}"
    with subprocess.Popen(
        [sys.executable, "-c", _FIRST, "topology", "wait", "--timeout", "60"],
        env={**os.environ, "LANEWAY_BROKER_URL": url},
        stderr=subprocess.PIPE,
    ) as waits:
        try:
            until = time.monotonic() + 20
            while not catches_sigterm(waits.pid) and time.monotonic() < until:
                time.sleep(0.01)
            waits.terminate()
            assert waits.wait(10) == 128 + signal.SIGTERM
        finally:
            waits.kill()
