"""A private PostgreSQL: own folder, random port, unprivileged user; ended with its block."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from laneway.local.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator


def find_postgres() -> Path | None:
    """The folder with ``initdb`` and ``postgres``, if there is one."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = str(debian[-1]) if debian else shutil.which("initdb")
    return Path(found).parent if found else None


@contextmanager
def running_postgres() -> Iterator[str]:
    """Start one; its address as ``host:port``. User ``test``, no password."""
    programs = find_postgres()
    assert programs is not None
    with tempfile.TemporaryDirectory(prefix="laneway-postgres-") as folder:
        data = Path(folder) / "data"
        data.mkdir()
        user = _unprivileged()
        if user is not None:
            os.chown(folder, user, -1)
            os.chown(data, user, -1)
        subprocess.run(
            [programs / "initdb", "-D", data, "-A", "trust", "-U", "test", "--no-sync"],
            check=True, capture_output=True, timeout=60, user=user, cwd=folder,
        )  # fmt: skip
        [port] = free_ports(1)
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        server = subprocess.Popen(
            [programs / "postgres", "-D", data, "-p", str(port),
             *(part for name, value in options.items() for part in ("-c", f"{name}={value}"))],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, user=user, cwd=folder,
        )  # fmt: skip
        try:
            _wait(programs / "pg_isready", port)
            yield f"127.0.0.1:{port}"
        finally:
            server.send_signal(signal.SIGINT)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait(10)


def _unprivileged() -> int | None:
    """PostgreSQL does not run as root."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None


def _wait(is_ready: Path, port: int) -> None:
    until = time.monotonic() + 30
    command = [str(is_ready), "-q", "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(command, check=False, timeout=10).returncode:
        assert time.monotonic() < until, "PostgreSQL did not start within 30 s"
        time.sleep(0.1)
