"""Installing with the machine's own package manager (apt), with no service started by it.

Debian starts a server as soon as its package is configured, unless
`/usr/sbin/policy-rc.d` says no. `no_service_starts` says no for the time of an install.
"""

# ruff: noqa: S603, S607 -- programs of the system, found in PATH; no argument comes from outside

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from laneway.local.errors import InstallFailed
from laneway.local.signals import signals_deferred

Report = Callable[[str], None]
"""Receives one line of progress at a time, without a newline at its end."""

_GUARD_MARK: Final = "# laneway: no service may start during this install"
_GUARD: Final = f"#!/bin/sh\n{_GUARD_MARK}\nexit 101\n"
_SAVED: Final = "policy-rc.d.before-laneway"
_APT_ENVIRONMENT: Final = {
    "DEBIAN_FRONTEND": "noninteractive",
    "NEEDRESTART_MODE": "l",
    "LC_ALL": "C.UTF-8",
}
_BOOT_UNITS: Final = ("rabbitmq-server.service", "redis-server.service", "epmd.socket")
_TAIL_LINES: Final = 15


def silent(_line: str) -> None:
    """A `Report` that reports to nobody."""


@contextmanager
def no_service_starts(root: Path = Path("/")) -> Iterator[None]:
    """Forbid service starts by package scripts below `root` inside the block.

    An existing policy-rc.d is put aside and comes back unchanged, on errors too; after a
    kill -9 the next call puts it back. Installs wait for each other: the lock is on the
    folder itself, so no lock file stays. Raises OSError if `root` cannot be written.
    """
    folder = root / "usr/sbin"
    policy, saved = folder / "policy-rc.d", folder / _SAVED
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _restore(policy, saved)
        with signals_deferred():
            if os.path.lexists(policy):
                policy.rename(saved)
            policy.write_text(_GUARD)
            policy.chmod(0o755)
        try:
            yield
        finally:
            with signals_deferred():
                _restore(policy, saved)
    finally:
        os.close(lock)


def _restore(policy: Path, saved: Path) -> None:
    if os.path.lexists(saved):
        saved.replace(policy)
    elif policy.is_file() and _GUARD_MARK in policy.read_text(errors="replace"):
        policy.unlink()


def apt_install(*packages: str, report: Report = silent) -> None:
    """Install Debian packages without recommendations and without starting anything.

    The package lists are refreshed only if apt does not know a package yet, or if what
    they promise is no longer on the mirror. Needs root. Raises InstallFailed.
    """
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends"]
    install += ["-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0", *packages]
    with no_service_starts():
        lists_are_old = all(map(_is_known, packages))
        if not lists_are_old:
            _apt_update(report)
        report(f"installing {', '.join(packages)} with apt-get (nothing is started)")
        try:
            run_command(install, environment=_APT_ENVIRONMENT, patience=300)
        except InstallFailed:
            if not lists_are_old:
                raise
            _apt_update(report)
            run_command(install, environment=_APT_ENVIRONMENT, patience=300)
        _keep_from_starting_at_boot()


def _apt_update(report: Report) -> None:
    report("refreshing the package lists (apt-get update)")
    update = ["apt-get", "update", "-q", "-o", "DPkg::Lock::Timeout=300"]
    run_command(update, environment=_APT_ENVIRONMENT, patience=60)


def _is_known(package: str) -> bool:
    shown = subprocess.run(
        ["apt-cache", "show", "--no-all-versions", package], capture_output=True, check=False
    )
    return shown.returncode == 0 and bool(shown.stdout.strip())


def _keep_from_starting_at_boot() -> None:
    """Where systemd runs, an installed server would start at the next boot, on standard ports."""
    if Path("/run/systemd/system").is_dir() and shutil.which("systemctl"):
        for unit in _BOOT_UNITS:
            subprocess.run(["systemctl", "disable", "-q", unit], capture_output=True, check=False)


def run_command(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    patience: float = 0,
) -> None:
    """Run a command (in `folder`) in a session of its own, its output kept for the error message.

    When this program is interrupted the command gets SIGINT and up to `patience` seconds
    to end by itself (apt must not be cut off inside dpkg), then its group is killed.
    Raises InstallFailed if it ends with an error or does not exist.
    """
    with tempfile.TemporaryFile() as output:
        child: subprocess.Popen[bytes] | None = None
        try:
            with signals_deferred():
                child = subprocess.Popen(
                    command,
                    env={**os.environ, **(environment or {})},
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            status = child.wait()
        except FileNotFoundError as missing:
            raise InstallFailed(shlex.join(command), f"{command[0]}: not found") from missing
        except BaseException:
            if child is not None:
                _end(child, patience)
            raise
        if status != 0:
            output.seek(0)
            lines = output.read().decode(errors="replace").splitlines()
            raise InstallFailed(shlex.join(command), "\n".join(lines[-_TAIL_LINES:]))


def _end(child: subprocess.Popen[bytes], patience: float) -> None:
    with signals_deferred():
        if patience:
            child.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                child.wait(patience)
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
