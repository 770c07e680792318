"""Real workers, started as an operator starts them, whose facts the tests read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from laneway import Laneway
from laneway.facts import Fact, FactKind
from laneway.policy import load_policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from laneway.broker import BrokerAddress

TESTS = Path(__file__).parent.parent
POLICY = Path(__file__).parent / "policy"

_made: list[Laneway] = []

#: The pool of all workers that do not ask for one (``pytest --pool``).
pool: str | None = None


def environment(
    address: BrokerAddress, backend: str, policy: Path = POLICY, **more: str
) -> dict[str, str]:
    """What a producer or worker of the test's platform needs to know."""
    return {
        **os.environ,
        "LANEWAY_BROKER_URL": ",".join(address.urls),
        "LANEWAY_MANAGEMENT_URL": address.management_url or "",
        "LANEWAY_VHOST_PREFIX": address.vhost_prefix,
        "LANEWAY_RESULT_BACKEND": backend,
        "LANEWAY_POLICY": str(policy),
        "PYTHONPATH": str(TESTS),
        **more,
    }


def make_app(
    address: BrokerAddress, backend: str | None = None, policy: Path = POLICY, **options: Any
) -> Laneway:
    """A producer of the test's platform in this process; closed at the end of the test."""
    app = Laneway(
        "tests",
        policy=load_policy(policy),
        address=address,
        backend=backend or "disabled://",
        set_as_current=False,
        **options,
    )
    _made.append(app)
    return app


def close_apps() -> None:
    """Close what :func:`make_app` made."""
    while _made:
        app = _made.pop()
        if app.conf.result_backend != "disabled://":
            # A result that nobody read ends its subscription when it is collected, and would open a
            # connection for that after the end.
            app.backend.result_consumer.subscribed_to.clear()
            app.backend.result_consumer.stop()
            app.backend.client.connection_pool.disconnect()
        app.close()


class TellingProcess:
    """``laneway VERB`` that tells facts, in a process of its own; use as a context manager."""

    #: The fact that says that it is at work.
    ready: FactKind

    def __init__(self, env: Mapping[str, str], *command: str) -> None:
        self.facts: list[Fact] = []
        self.lines: list[str] = []
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "laneway", *command, "--log", "json"],
            env=dict(env),
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        try:
            self.wait_for(self.ready, timeout=60)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._news:
                self.lines.append(line)
                if line.startswith('{"fact"'):
                    self.facts.append(Fact.from_dict(json.loads(line)["fact"]))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def of(self, kind: str, **fields: Any) -> list[Fact]:
        """The facts told so far of a kind, with these fields."""
        return [
            fact
            for fact in tuple(self.facts)
            if fact.kind == kind and all(getattr(fact, k) == v for k, v in fields.items())
        ]

    def wait_for(
        self, kind: str, count: int = 1, *, timeout: float = 60, **fields: Any
    ) -> list[Fact]:
        """Wait until ``count`` such facts were told."""
        until = time.monotonic() + timeout
        with self._news:
            while len(found := self.of(kind, **fields)) < count:
                if self.process.poll() is not None and not self._reader.is_alive():
                    raise AssertionError(f"the process ended: {self.tail()}")
                if time.monotonic() > until:
                    raise AssertionError(
                        f"{len(found)} of {count} {kind} {fields} in {timeout} s: {self.tail()}"
                    )
                self._news.wait(0.2)
        return found

    def tail(self) -> str:
        """The last lines, for a failing test's message."""
        return "".join(self.lines[-25:])

    def stop(self, number: int = signal.SIGTERM, *, timeout: float = 60) -> int:
        """Stop it and return its exit status; killed after ``timeout`` seconds."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            status = self.process.wait(30)
        self._reader.join(5)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return status


class WorkerProcess(TellingProcess):
    """``laneway worker QUEUE``."""

    ready = "worker_ready"

    def __init__(
        self, queue: str, env: Mapping[str, str], *options: str, app: str = "support.tasks:app"
    ) -> None:
        self.queue = queue
        if pool is not None and "--pool" not in options:
            options = ("--pool", pool, *options)
        super().__init__(env, "worker", queue, "--app", app, *options)


class ControlProcess(TellingProcess):
    """``laneway control``."""

    ready = "control_ready"

    def __init__(self, env: Mapping[str, str], *options: str) -> None:
        super().__init__(env, "control", *options)
