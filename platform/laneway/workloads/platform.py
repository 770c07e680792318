"""A whole platform on this machine: servers, topology, workers, control, board; one start, stop."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from laneway.broker import broker_address, profile_of
from laneway.broker.management import Management
from laneway.errors import BrokerUnreachable, WorkerError
from laneway.local import RunDirectory, start_bugsink, start_rabbitmq, start_redis
from laneway.queue_state import ReadyCounts
from laneway.topology import apply_plan, make_plan
from laneway.workloads.board import Board
from laneway.workloads.fanout import Fanout
from laneway.workloads.group import ControlGroup, ProcessGroup, WorkerGroup
from laneway.workloads.issues import issue_pages
from laneway.workloads.presence import announce

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from laneway.broker import BrokerAddress, Profile
    from laneway.facts import Listener
    from laneway.local import Series
    from laneway.policy import Policy
    from laneway.workloads.issues import IssuePages

#: Seconds that all workers together may need to become ready.
READY_SECONDS: Final = 90.0
#: Seconds that running jobs get to finish at the end, unless the caller says otherwise.
STOP_SECONDS: Final = 15.0
#: Seconds between two looks at the workers, and at what waits in the broker.
_LOOK_SECONDS: Final = 0.1
_DEPTH_SECONDS: Final = 1.0
_LOG_LINES: Final = 20

_VARIABLES: Final = (
    "LANEWAY_BROKER_URL",
    "LANEWAY_MANAGEMENT_URL",
    "LANEWAY_VHOST_PREFIX",
    "LANEWAY_RESULT_BACKEND",
)


@dataclass(frozen=True, kw_only=True)
class LocalPlatform:
    """A running platform. Made by :func:`local_platform`, which also ends it."""

    #: Where its broker is.
    address: BrokerAddress
    #: What the broker says it is, like ``4.3.6``.
    broker_version: str
    #: What the broker can promise.
    profile: Profile
    #: Where results are, with the password.
    result_backend: str = field(repr=False)
    #: What another process needs to use the platform: ``LANEWAY_BROKER_URL`` and so on.
    environment: dict[str, str] = field(repr=False)
    #: The numbers of the queues that have workers.
    board: Board
    #: One for each queue.
    workers: tuple[WorkerGroup, ...]
    #: What makes dead letters of what the broker gives up.
    control: ControlGroup
    #: Where errors are seen, if it has a server for them.
    issues: IssuePages | None
    _facts: Fanout

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` with every fact of every process from now on; quickly, please."""
        self._facts.listen(listener)


@contextmanager
def local_platform(
    *,
    app: str,
    policy: Policy,
    report: Callable[[str], None],
    python_path: Sequence[Path] = (),
    queues: Sequence[str] | None = None,
    series: Series = "auto",
    throwaway: bool = True,
    sentry: bool = False,
    stop_seconds: float = STOP_SECONDS,
    on_ready: Callable[[], None] = lambda: None,
) -> Iterator[LocalPlatform]:
    """Start what is missing, one worker for each queue, a control process; stop all at the end.

    The broker is that of ``LANEWAY_BROKER_URL``, else a private one; results go to
    ``LANEWAY_RESULT_BACKEND``, else to a private Redis. Nothing is left behind, also after
    Ctrl-C, SIGTERM and exceptions; after a kill -9 the workers end by themselves, and the next
    start clears the rest away.

    Args:
        app: the application, ``module:attribute``.
        policy: the policy; the workers read it again from where it is.
        report: called with lines for people, from several threads.
        python_path: folders that the workers import from, besides their own import path.
        queues: the queues that get a worker; all of the policy by default.
        series: which RabbitMQ a private one is.
        throwaway: with a broker that was given, work in virtual hosts of a random name and delete
            them at the end; else in those of ``LANEWAY_VHOST_PREFIX``, which stay. A private broker
            ends with everything in it either way.
        sentry: also start a private Bugsink, to which workers and control report errors. Its
            licence must have been accepted.
        stop_seconds: how long running jobs get to finish at the end (at most the queue's
            ``grace_period``).
        on_ready: called when all are at work, before anybody can see it: a signal that comes
            later ends what was ready, even if the block has not begun.

    Raises:
        UnknownQueue: the policy has no such queue.
        LocalServerError: a private server cannot be had.
        BrokerError, PublishError: the broker that was given cannot be used.
        WorkerError: a worker does not become ready; the message carries the end of its log.
    """
    served = [policy.queue(name) for name in queues or policy.queues]
    with RunDirectory.create(report=report) as run, ExitStack() as stack:
        environment = _servers(run, stack, series=series, throwaway=throwaway, report=report)
        bugsink = stack.enter_context(start_bugsink(run, report=report)) if sentry else None
        issues = issue_pages(bugsink) if bugsink else None
        address = broker_address(env=environment)
        version = _apply_topology(address, policy, stack, throwaway=_is_given() and throwaway)
        report(f"the topology stands; the workers' logs are in {run.path / 'logs'}")

        board = Board([queue.name for queue in served], since=time.time())
        facts = Fanout()
        facts.listen(board)
        seen = _worker_environment(run, environment, policy, python_path)
        if issues is not None:
            seen |= issues.environment
        workers = tuple(
            WorkerGroup(
                queue=queue.name, app=app, run=run, environment=seen, tell=facts, report=report
            )
            for queue in served
        )
        control = ControlGroup(run=run, environment=seen, tell=facts, report=report)
        groups: tuple[ProcessGroup, ...] = (*workers, control)
        grace = {queue.name: min(queue.worker.grace_period, stop_seconds) for queue in served}
        grace[control.name] = stop_seconds
        over = threading.Event()
        threads = [
            threading.Thread(target=_look_after, args=(groups, board, report, over)),
            threading.Thread(target=_count, args=(address, policy, board, report, over)),
        ]
        stack.callback(_join, threads)
        stack.callback(_stop, groups, grace, report)
        # Before any thread is there to wait for: a signal can come between two lines.
        stack.callback(over.set)
        _start(groups)
        on_ready()
        names = ", ".join(group.queue for group in workers)
        report(f"workers are ready: {names}; and the control process")
        for thread in threads:
            thread.start()
        stack.enter_context(announce(run, environment))
        yield LocalPlatform(
            address=address,
            broker_version=version,
            profile=profile_of(version),
            result_backend=environment["LANEWAY_RESULT_BACKEND"],
            environment=environment,
            board=board,
            workers=workers,
            control=control,
            issues=issues,
            _facts=facts,
        )


def _is_given() -> bool:
    return bool(os.environ.get("LANEWAY_BROKER_URL"))


def _servers(
    run: RunDirectory,
    stack: ExitStack,
    *,
    series: Series,
    throwaway: bool,
    report: Callable[[str], None],
) -> dict[str, str]:
    """The servers, private where none is given, as the environment that names them."""
    given = {name: os.environ[name] for name in _VARIABLES if os.environ.get(name)}
    if not _is_given():
        rabbitmq = stack.enter_context(start_rabbitmq(run, series=series, report=report))
        given["LANEWAY_BROKER_URL"] = rabbitmq.url
        given["LANEWAY_MANAGEMENT_URL"] = rabbitmq.management_url
    elif throwaway:
        given["LANEWAY_VHOST_PREFIX"] = f"laneway-{secrets.token_hex(4)}-"
    if "LANEWAY_RESULT_BACKEND" not in given:
        redis = stack.enter_context(start_redis(run, report=report))
        given["LANEWAY_RESULT_BACKEND"] = redis.url
    given.setdefault("LANEWAY_VHOST_PREFIX", "")
    return given


def _worker_environment(
    run: RunDirectory, environment: dict[str, str], policy: Policy, python_path: Sequence[Path]
) -> dict[str, str]:
    folders = [str(folder.absolute()) for folder in python_path]
    if inherited := os.environ.get("PYTHONPATH"):
        folders.append(inherited)
    return {
        **os.environ,
        **environment,
        **run.environment,
        "LANEWAY_POLICY": str(policy.root),
        "PYTHONPATH": os.pathsep.join(folders),
    }


def _start(groups: Sequence[ProcessGroup]) -> None:
    """Start all and wait until each is at work."""
    for group in groups:
        group.start()
    deadline = time.monotonic() + READY_SECONDS
    while waiting := [group for group in groups if group.state != "ready"]:
        for group in waiting:
            if group.status is not None:
                raise _not_ready(group, f"ended ({group.how_it_ended()}) before it was ready")
        if time.monotonic() > deadline:
            raise _not_ready(waiting[0], f"was not ready within {READY_SECONDS:g} s")
        time.sleep(_LOOK_SECONDS)


def _not_ready(group: ProcessGroup, what: str) -> WorkerError:
    group.finish_reading()
    tail = group.log.tail(_LOG_LINES) or "(it wrote nothing)"
    return WorkerError(f"{group.what} {what}; the end of its log:\n{tail}")


def _stop(
    groups: Sequence[ProcessGroup], grace: dict[str, float], report: Callable[[str], None]
) -> None:
    """End them: ask, wait, kill what is left. A second Ctrl-C ends the waiting."""
    began = time.monotonic()
    try:
        report("stopping: running jobs finish (Ctrl-C again kills them)")
        for group in groups:
            group.ask_to_stop()
        while alive := [group for group in groups if group.pid and group.status is None]:
            spent = time.monotonic() - began
            late = [group for group in alive if spent > grace[group.name]]
            for group in late:
                report(f"{group.what} did not finish within {spent:.0f} s: killed")
                group.kill()
            time.sleep(_LOOK_SECONDS / 2)
    finally:
        for group in groups:
            group.kill()


def _join(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        if thread.ident is not None:
            thread.join()


def _look_after(
    groups: Sequence[ProcessGroup],
    board: Board,
    report: Callable[[str], None],
    over: threading.Event,
) -> None:
    """Start again what died."""
    while not over.wait(_LOOK_SECONDS):
        for group in groups:
            try:
                if group.check(time.monotonic()) and isinstance(group, WorkerGroup):
                    board.worker_lost(group.queue)
            except OSError as error:  # no process can be started now; the next look tries again
                report(f"{group.what} could not be started: {error}")


def _count(
    address: BrokerAddress,
    policy: Policy,
    board: Board,
    report: Callable[[str], None],
    over: threading.Event,
) -> None:
    """Tell the board what waits; a broker that does not answer is reported once."""
    answers = True
    with ReadyCounts(address, policy) as counts:
        while not over.is_set():
            try:
                board.waiting(counts.read())
                if not answers:
                    report("the broker answers again")
                answers = True
            except BrokerUnreachable as error:
                board.waiting({})
                if answers:
                    report(str(error))
                answers = False
            over.wait(_DEPTH_SECONDS)


def _apply_topology(
    address: BrokerAddress, policy: Policy, stack: ExitStack, *, throwaway: bool
) -> str:
    """Make what must exist on the broker; returns the broker's version."""
    with Management(address) as management:
        version = management.server_version()
        if throwaway:
            stack.callback(_delete_vhosts, address)
        apply_plan(management, make_plan(management, policy, address), address)
    return version


def _delete_vhosts(address: BrokerAddress) -> None:
    with Management(address) as management:
        for kind in ("jobs", "secure"):
            with contextlib.suppress(Exception):
                management.delete_vhost(address.vhost(kind))
