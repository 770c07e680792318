"""A virtual environment of its own for a tool that is no dependency."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from laneway.local.errors import InstallFailed, ServerNotInstalled
from laneway.local.packages import run_command

if TYPE_CHECKING:
    from pathlib import Path


def make_environment(root: Path, lock: Path, *, tool: str) -> None:
    """Make the environment, and install what a lock file with hashes says, nothing else.

    Args:
        root: its folder.
        lock: the requirements, each with its hashes.
        tool: what needs it, for the error.

    Raises:
        ServerNotInstalled: Python makes no virtual environment here.
        InstallFailed: pip failed.
    """
    try:
        run_command([sys.executable, "-m", "venv", str(root)])
    except InstallFailed as failed:
        raise ServerNotInstalled(
            f"{tool} needs a virtual environment, and `{sys.executable} -m venv` made none "
            "(on Debian run: sudo apt-get install python3-venv); its last lines:\n"
            f"{failed.output}"
        ) from failed
    pip = [str(root / "bin" / "python"), "-m", "pip", "install", "-q", "--no-input"]
    run_command(
        [*pip, "--disable-pip-version-check", "--require-hashes", "-r", str(lock)],
        environment={"PYTHONNOUSERSITE": "1"},
    )
