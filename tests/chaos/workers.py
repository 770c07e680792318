"""The workers of a run: kept running, whatever ends them."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from bench.machine import family

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from subprocess import Popen

    from chaos.systems import Worker
    from laneway.local import RunDirectory

#: Seconds until a worker that ended is started again, as an init system does it.
_AGAIN: Final = 0.5
_LOOK: Final = 0.1


class Workers:
    """Starts each worker again whenever it ended; use as a context manager.

    What a killed worker left behind is not cleared away here: it has to end by itself.

    Args:
        run: owns the processes.
        workers: which.
        asleep: others, which run only from :meth:`start` to :meth:`stop`.
        python: the interpreter.
        environment: all that they see.
        logs: a folder for their output, one file a worker.
        own: what one of them sees besides, by its name.
    """

    def __init__(
        self,
        run: RunDirectory,
        workers: tuple[Worker, ...],
        *,
        asleep: tuple[Worker, ...] = (),
        python: str,
        environment: Mapping[str, str],
        logs: Path,
        own: Callable[[str], Mapping[str, str]] = lambda _: {},
    ) -> None:
        self._run = run
        self._workers = {worker.name: worker for worker in (*workers, *asleep)}
        self._wanted = {worker.name for worker in workers}
        self._python = python
        self._environment = environment
        self._logs = logs
        self._own = own
        self._processes: dict[str, Popen[bytes]] = {}
        #: How often each was started.
        self.starts = dict.fromkeys(self._workers, 0)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        for name in self.names:
            self._start(name)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(10)
        self._run.kill(*(process.pid for process in self._processes.values()))

    @property
    def names(self) -> list[str]:
        """Those that are to run."""
        return sorted(self._wanted)

    def pid(self, name: str) -> int | None:
        """Its parent process; None while it is down."""
        with self._lock:
            process = self._processes.get(name)
            return process.pid if process is not None and process.poll() is None else None

    def job_processes(self) -> list[int]:
        """The processes without children of their own, of all workers."""
        found = []
        for name in self.names:
            pid = self.pid(name)
            if pid is not None:
                members = family(pid)
                found += [one for one in members if one != pid and len(family(one)) == 1]
        return found

    def signal(self, name: str, number: int, *, group: bool = False) -> None:
        """Send a signal to a worker's parent process, or to all of it."""
        pid = self.pid(name)
        if pid is not None:
            with suppress(ProcessLookupError):
                (os.killpg if group else os.kill)(pid, number)

    def wait_until_up(self, name: str, starts: int, seconds: float) -> bool:
        """Wait until a worker was started so often, and then a moment for it to come up."""
        until = time.monotonic() + seconds
        while self.starts[name] < starts:
            if time.monotonic() > until:
                return False
            time.sleep(_LOOK)
        return True

    def stop(self, *names: str, seconds: float = 40.0) -> None:
        """End workers and leave them down: SIGTERM to all, and after some time a kill."""
        self._wanted.difference_update(names)
        for name in names:
            self.signal(name, signal.SIGTERM)
        until = time.monotonic() + seconds
        for name in names:
            while self.pid(name) is not None and time.monotonic() < until:
                time.sleep(_LOOK)
            self.signal(name, signal.SIGKILL, group=True)

    def start(self, name: str) -> None:
        """Start one that was stopped."""
        self._wanted.add(name)

    def _start(self, name: str) -> None:
        with self._lock:
            self._processes[name] = self._run.spawn(
                [self._python, "-P", *self._workers[name].command],
                name=f"worker-{name}",
                log=self._logs / f"worker-{name}.log",
                environment={**self._environment, **self._own(name)},
            )
            self.starts[name] += 1

    def _watch(self) -> None:
        ended: dict[str, float] = {}
        while not self._over.wait(_LOOK):
            now = time.monotonic()
            for name in self.names:
                if self.pid(name) is not None:
                    ended.pop(name, None)
                    continue
                if now - ended.setdefault(name, now) >= _AGAIN:
                    if name in self._processes:
                        self._run.untrack(self._processes[name].pid)
                    self._start(name)
