"""What a result was measured on and by which command: kept with it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bench import machine
from bench.setup import PEERS_PYTHON, ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def about_this(disk: Path) -> dict[str, Any]:
    """When, the command, the machine with the speed of ``disk``, and all versions."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    versions = {"Laneway": {"commit": commit.stdout.strip(), **machine.versions(sys.executable)}}
    if PEERS_PYTHON.exists():
        versions["peers"] = machine.versions(str(PEERS_PYTHON))
    return {
        "started": datetime.now(tz=UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": shlex.join(["laneway", "bench", *_arguments()]),
        "machine": machine.facts(disk),
        "versions": versions,
    }


def _arguments() -> Sequence[str]:
    with suppress(ValueError):
        return sys.argv[sys.argv.index("bench") + 1 :]
    return []
