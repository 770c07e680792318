"""Removes the network of a plane whatever happens to the process that made it.

As a program (``python reaper.py FOLDER``) it waits until its standard input ends, which it does
when the maker of the plane ends, by kill -9 too, and then removes what is left. Standard library
only, so that it starts at once from any directory.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

#: What a plane's folder is called, before its maker and a mark of its own.
FOLDER_PREFIX: Final = "laneway-cluster-"
#: What ``ip netns exec`` mounts over /etc in a namespace.
ETC: Final = Path("/etc/netns")
_NAMED: Final = Path("/run/netns")
_PATIENCE_SECONDS: Final = 10.0
# The names say who made them, so that what nobody owns any more can be told whatever else is gone.
_FOLDER: Final = re.compile(re.escape(FOLDER_PREFIX) + r"(\d+)-(\d+)-\w+")
_NAMESPACE: Final = re.compile(r"lw-(\d+)-(\d+)-\w+-.+")


def make_folder(parent: Path | None = None) -> Path:
    """A new folder for a plane of this process, in `parent` (by default that for temporary files).

    The namespaces of the plane have names made of its name.
    """
    pid = os.getpid()
    return Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{pid}-{_started(pid)}-", dir=parent))


def mark_of(folder: Path) -> str:
    """What all namespaces of the plane in `folder` start with."""
    return f"lw-{folder.name.removeprefix(FOLDER_PREFIX)}-"


def namespaces(mark: str) -> list[str]:
    """The network namespaces whose names start with `mark`."""
    if not _NAMED.is_dir():
        return []
    return sorted(entry.name for entry in _NAMED.iterdir() if entry.name.startswith(mark))


def remove_namespace(name: str) -> None:
    """Kill what runs in the namespace, and remove it with its files in /etc/netns."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (pids := _inhabitants(name)) and time.monotonic() < deadline:
        for pid in pids:
            _kill(pid)
        time.sleep(0.02)
    subprocess.run(["ip", "netns", "delete", name], check=False, stderr=subprocess.DEVNULL)
    shutil.rmtree(ETC / name, ignore_errors=True)


def remove_all(folder: Path) -> None:
    """Remove all namespaces of the plane in `folder`, then the folder."""
    for name in namespaces(mark_of(folder)):
        remove_namespace(name)
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # another plane's files are in it, or somebody else's
        ETC.rmdir()


def remove_abandoned(parent: Path | None = None) -> None:
    """Remove planes whose maker is gone and whose reaper was killed too."""
    for name in namespaces("lw-"):
        if _is_abandoned(_NAMESPACE.fullmatch(name)):
            remove_namespace(name)
    for folder in (parent or Path(tempfile.gettempdir())).glob(f"{FOLDER_PREFIX}*"):
        if _is_abandoned(_FOLDER.fullmatch(folder.name)):
            remove_all(folder)


def _is_abandoned(made: re.Match[str] | None) -> bool:
    return made is not None and _started(int(made[1])) != made[2]


def _inhabitants(name: str) -> list[int]:
    found = subprocess.run(
        ["ip", "netns", "pids", name], capture_output=True, text=True, check=False
    )
    # A thread of the tests may be inside for a moment; that is no reason to end the tests.
    spared = {os.getpid(), os.getppid()}
    return [int(pid) for pid in found.stdout.split() if int(pid) not in spared]


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _started(pid: int) -> str:
    """When the process started, in ticks since the boot; empty if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return ""
    return text[text.rindex(")") + 2 :].split()[19]


def main() -> None:
    """Wait for the maker's end, then remove what it left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while sys.stdin.buffer.read(1):
        pass
    remove_all(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
