"""The directory of one run: what it owns, and clearing away what a killed run left.

::

    $LANEWAY_HOME/runs/20261121-083000-5f3a9c/
        lock            locked (flock) while the owner lives, however it ends
        processes/      one file a process: pid, start time, group, session
        rabbitmq/ …     one folder a server
"""

# ruff: noqa: S603 -- programs of the system, found in PATH; no argument comes from outside

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import DEVNULL, STDOUT, Popen
from typing import TYPE_CHECKING, Final, Self

from laneway.local.errors import LocalServerError
from laneway.local.process import RUN_VARIABLE, ProcessRecord, kill_families
from laneway.local.signals import signals_deferred, termination_raises

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

_LOCK: Final = "lock"
_PROCESSES: Final = "processes"


def laneway_home() -> Path:
    """$LANEWAY_HOME, else laneway in $XDG_STATE_HOME, else in ~/.local/state."""
    if home := os.environ.get("LANEWAY_HOME"):
        return Path(home).absolute()
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state).absolute() / "laneway"


class RunDirectory:
    """A private directory (mode 0700) that owns processes; both end with it.

    Use it as a context manager. Inside, SIGTERM and SIGHUP raise SystemExit unless the
    program handles them itself, so that leaving always cleans up. After a kill -9 the
    next run cleans up instead.
    """

    def __init__(self, path: Path, lock: int) -> None:
        """For `create` only."""
        self.path: Final = path
        """Where it is."""
        self.id: Final = path.name
        """Its name, unique over all runs."""
        self._lock = lock
        self._owner = os.getpid()
        self._children: dict[int, Popen[bytes]] = {}
        self._guards = ExitStack()
        self._closed = False

    @classmethod
    def create(cls, *, report: Callable[[str], None] = lambda _line: None) -> RunDirectory:
        """Make a new run directory, after clearing away what killed runs left.

        Raises LocalServerError on anything but Linux, OSError if the folder cannot be made.
        """
        if not sys.platform.startswith("linux"):
            raise LocalServerError(
                "private servers need Linux; elsewhere set LANEWAY_BROKER_URL to a running RabbitMQ"
            )
        reap_abandoned_runs(report=report)
        with _all_runs() as runs:
            stamp = time.strftime("%Y%m%d-%H%M%S")
            path = runs / f"{stamp}-{secrets.token_hex(4)}"
            try:
                path.mkdir(mode=0o700)
                (path / _PROCESSES).mkdir(mode=0o700)
                lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
                fcntl.flock(lock, fcntl.LOCK_EX)
                return cls(path, lock)
            except BaseException:
                shutil.rmtree(path, ignore_errors=True)
                raise

    @property
    def environment(self) -> Mapping[str, str]:
        """What every process of this run carries: by it even a detached grandchild is found."""
        return {RUN_VARIABLE: self.id}

    def folder(self, name: str) -> Path:
        """A new folder (mode 0700) called `name`, or `name-2` and so on if that is taken."""
        for candidate in (name, *(f"{name}-{number}" for number in range(2, 1000))):
            try:
                (self.path / candidate).mkdir(mode=0o700)
            except FileExistsError:
                continue
            return self.path / candidate
        raise FileExistsError(self.path / name)

    def track(self, pid: int, name: str) -> ProcessRecord:
        """Note a process that the run owns: it is killed, children included, when the run ends.

        Start it with `environment`, so that even what it detaches is found. Raises
        ProcessLookupError if there is no such process, ValueError for the caller itself.
        """
        if pid == os.getpid():
            raise ValueError("expected a process other than the owner of the run, got the owner")
        record = ProcessRecord.of(pid, name)
        record.save(self._file(pid))
        return record

    def untrack(self, pid: int) -> None:
        """Forget a process that has ended, or that the run no longer owns."""
        self._file(pid).unlink(missing_ok=True)

    def spawn(
        self, command: Sequence[str], *, name: str, log: Path, environment: Mapping[str, str]
    ) -> Popen[bytes]:
        """Start a process in a session of its own and track it; its output is appended to `log`.

        `environment` is all that it sees, besides `self.environment`.
        """
        with signals_deferred(), log.open("ab") as output:
            child = Popen(
                command,
                env={**environment, **self.environment},
                cwd=log.parent,
                stdin=DEVNULL,
                stdout=output,
                stderr=STDOUT,
                start_new_session=True,
            )
            self._children[child.pid] = child
            self.track(child.pid, name)
        return child

    def kill(self, *pids: int) -> None:
        """Kill these tracked processes, children included; return when they are gone."""
        if os.getpid() != self._owner:
            return
        records = [r for r in map(ProcessRecord.load, map(self._file, pids)) if r]
        kill_families(records)
        for pid in pids:
            self._bury(pid)

    def close(self) -> None:
        """Kill what is still tracked and remove the directory. Calling it again does nothing.

        In a fork of the owner it does nothing either.
        """
        if self._closed or os.getpid() != self._owner:
            return
        with signals_deferred():
            self._closed = True
            _clear(self.path)
            for pid in list(self._children):
                self._bury(pid)
            os.close(self._lock)

    def __enter__(self) -> Self:
        self._guards.enter_context(termination_raises())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
        finally:
            self._guards.close()

    def _bury(self, pid: int) -> None:
        if child := self._children.pop(pid, None):
            child.wait()
        self.untrack(pid)

    def _file(self, pid: int) -> Path:
        return self.path / _PROCESSES / f"{pid}.json"


def write_private(file: Path, text: str) -> None:
    """Write a new file that only its owner can read (mode 0600), from its first byte on."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as output:
        output.write(text)


def reap_abandoned_runs(*, report: Callable[[str], None] = lambda _line: None) -> int:
    """Kill what runs left whose owner is dead, remove their directories; returns how many.

    An owner holds its lock until it ends, so a free lock means a dead owner. Exactly the
    recorded processes and their families are killed; see `kill_families`.
    """
    abandoned: list[tuple[Path, int]] = []
    try:
        with _all_runs() as runs:
            locks = ((path, _try_lock(path)) for path in sorted(runs.iterdir()) if path.is_dir())
            abandoned.extend((path, lock) for path, lock in locks if lock is not None)
        for path, _ in abandoned:
            report(f"clearing away what the killed run {path.name} left")
            _clear(path)
    finally:
        for _, lock in abandoned:
            os.close(lock)
    return len(abandoned)


@contextmanager
def _all_runs() -> Iterator[Path]:
    """The folder of all runs, locked: no run is half made or half judged meanwhile."""
    runs = laneway_home() / "runs"
    runs.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(runs, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield runs
    finally:
        os.close(lock)


def _try_lock(path: Path) -> int | None:
    lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _clear(path: Path) -> None:
    records = map(ProcessRecord.load, (path / _PROCESSES).glob("*.json"))
    kill_families([record for record in records if record], run_id=path.name)
    shutil.rmtree(path, ignore_errors=True)
