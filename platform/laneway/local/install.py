"""Which server programs are here, and bringing in those that are not."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from laneway.local import broker43
from laneway.local.errors import ServerNotInstalled
from laneway.local.packages import Report, apt_install, silent
from laneway.local.signals import termination_raises

Series = Literal["auto", "3.10", "4.3"]
"""Which RabbitMQ: the machine's own ("3.10" on Debian 12), the one in a folder of its own
("4.3"), or ("auto") the best of what is there."""

# Debian puts wrappers for its own service user into PATH; the real programs are here.
_RABBITMQ_FOLDERS: Final = (Path("/usr/lib/rabbitmq/bin"),)


@dataclass(frozen=True, kw_only=True)
class RabbitMQPrograms:
    """Where the programs of one RabbitMQ are. Its version is asked of the running broker."""

    folder: Path
    """The folder of rabbitmq-server and rabbitmqctl, as seen from inside `root`."""
    root: Path | None = None
    """The root folder that they run in (needs root), or None for the machine's own."""


def find_rabbitmq(series: Series = "auto") -> RabbitMQPrograms | None:
    """The RabbitMQ that `series` would use, or None if it is not installed. Changes nothing."""
    if series in ("auto", "4.3") and os.geteuid() == 0 and broker43.is_installed():
        return RabbitMQPrograms(folder=broker43.PROGRAMS, root=broker43.broker43_root())
    if series == "4.3":
        return None
    for folder in _RABBITMQ_FOLDERS:
        if (folder / "rabbitmq-server").exists():
            return RabbitMQPrograms(folder=folder)
    if found := shutil.which("rabbitmq-server"):
        folder = Path(found).resolve().parent
        if (folder / "rabbitmq-env").exists():  # a wrapper has no rabbitmq-env beside it
            return RabbitMQPrograms(folder=folder)
    return None


def find_redis() -> Path | None:
    """The redis-server program, or None if it is not installed."""
    found = shutil.which("redis-server")
    return Path(found) if found else None


def install_rabbitmq(series: Series = "auto", report: Report = silent) -> RabbitMQPrograms:
    """Find RabbitMQ, or install it when that is possible here.

    "auto" and "3.10" install the machine's own package, "4.3" the folder. Raises
    ServerNotInstalled (with the command to run) or InstallFailed.
    """
    if found := find_rabbitmq(series):
        return found
    if series == "4.3":
        broker43.install_rabbitmq_43(report)
    else:
        _install_package("rabbitmq-server", "RabbitMQ", report)
    if found := find_rabbitmq(series):
        return found
    raise ServerNotInstalled("RabbitMQ was installed, but rabbitmq-server is not to be found")


def install_redis(report: Report = silent) -> Path:
    """Find Redis, or install the machine's own package. Raises as `install_rabbitmq` does."""
    if found := find_redis():
        return found
    _install_package("redis-server", "Redis", report)
    if found := find_redis():
        return found
    raise ServerNotInstalled("Redis was installed, but redis-server is not to be found")


def _install_package(package: str, server: str, report: Report) -> None:
    if shutil.which("apt-get") is None:
        raise ServerNotInstalled(
            f"{server} is not installed; install it so that {package} is in PATH (its service "
            "need not run)"
        )
    if os.geteuid() != 0:
        raise ServerNotInstalled(
            f"{server} is not installed and only root can install it; run: "
            f"sudo apt-get install --no-install-recommends {package}"
        )
    with termination_raises():
        apt_install(package, report=report)
