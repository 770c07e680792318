"""Tasks that treat the process they run in badly."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

from celery import signals
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded

from support.tasks import app, task

__all__ = ["app"]


# (The delay is for RabbitMQ 3.10, where Celery retries a job whose process died.)
@task(name="rough.pid", bind=True, default_retry_delay=1)
def pid(self: Any, seconds: float = 0.0) -> dict[str, Any]:
    """Says in which process it ran, and how often the broker had counted a failure of it."""
    time.sleep(seconds)
    return {"pid": os.getpid(), "counted": self.request.get("x-delivery-count") or 0}


@task(name="rough.request", bind=True)
def request(self: Any, *_: Any, **__: Any) -> dict[str, str]:
    """Says all that it knows of its request."""
    return {key: repr(value) for key, value in vars(self.request).items()}


@task(name="rough.exit")
def exit_at_once(after: float = 0.0) -> None:
    time.sleep(after)
    os._exit(7)


@task(name="rough.segfault")
def segfault() -> None:
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.string_at(0)


@task(name="rough.system_exit")
def system_exit() -> None:
    raise SystemExit(3)


@task(name="rough.eat")
def eat() -> None:
    """Allocates without end; the limit keeps the machine of the tests alive."""
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2 * 1024**3, most))
    eaten = []
    while True:
        eaten.append(bytearray(64 * 1024 * 1024))


@task(name="rough.swell", default_retry_delay=1)
def swell(folder: str) -> int:
    """Takes memory and waits to be killed for it; says where, and runs through the second time.

    ``folder/pid`` holds the process that the first run is in.
    """
    file = Path(folder, "pid")
    if file.exists():
        return os.getpid()
    taken = bytearray(64 * 1024 * 1024)
    taken[::4096] = b"x" * len(taken[::4096])
    written = file.with_suffix(".new")
    written.write_text(str(os.getpid()))
    written.replace(file)
    time.sleep(60)
    return len(taken)


@task(name="rough.fork")
def fork() -> int:
    """Starts a process of its own, which ends at once."""
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    return os.getpid()


@task(name="rough.stray")
def stray() -> int:
    """Starts a process of its own, which comes back from the task as well."""
    os.fork()
    return os.getpid()


@task(name="rough.stubborn")
def stubborn(seconds: float) -> None:
    """Holds the interpreter's lock: no thread and no signal handler of this process can run."""
    ctypes.PyDLL(None).usleep(int(seconds * 1_000_000))


@task(name="rough.soft", soft_time_limit=1, time_limit=30)
def soft() -> str:
    try:
        time.sleep(25)
    except SoftTimeLimitExceeded:
        return "cleaned up"
    return "slept"


@task(name="rough.reject")
def reject() -> None:
    raise Reject("not for me", requeue=False)


@task(name="rough.ignore")
def ignore() -> None:
    raise Ignore


if os.environ.get("ROUGH_RECEIVED"):

    @signals.task_received.connect
    def say_received(request: Any, **_: Any) -> None:
        said = (request.name, request.id, request.argsrepr, request.hostname)
        print("task_received", *said, file=sys.stderr, flush=True)
