"""``laneway worker``: the worker of one queue, in this process."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Final

import celery
import click

from laneway.cli.options import app_options, health_option, import_from, log_options
from laneway.policy import load_policy
from laneway.policy.queues import POOL_CAN

if TYPE_CHECKING:
    from pathlib import Path

#: Seconds that a worker whose owner is gone may need to finish what it runs.
ORPHAN_GRACE: Final = 10.0


@click.command()
@click.argument("queue")
@app_options(required=True)
@click.option("--concurrency", type=click.IntRange(min=1), help="Jobs at the same time.")
@click.option("--pool", type=click.Choice(list(POOL_CAN)), help="How jobs run side by side.")
@click.option("--hostname", help="The worker's node name.  [default: QUEUE@host.pid]")
@log_options
@health_option
@click.option(
    "-E", "--events", is_flag=True, default=None, help="Send task events, which Flower shows."
)
@click.option("--owner-pipe", is_flag=True, hidden=True)
def worker(
    queue: str,
    app: str,
    app_dir: Path | None,
    concurrency: int | None,
    pool: str | None,
    hostname: str | None,
    form: str,
    log_level: str,
    health: str | None,
    events: bool | None,
    owner_pipe: bool,
) -> int:
    """Run the worker of one queue.

    Pool, concurrency and time limits are those of queues/QUEUE.toml where no option says
    otherwise. SIGTERM finishes the jobs that run; facts and logs go to stderr.
    """
    if owner_pipe:
        end_with_owner()
    _patch_for(pool or load_policy().queue(queue).worker.pool)
    import_from(app_dir)
    # Only now: what the application imports must find the pool's patches in place.
    from laneway.log import configure_logging  # noqa: PLC0415 (see above)
    from laneway.worker import load_app, run_worker  # noqa: PLC0415 (see above)

    logger = configure_logging("json" if form == "json" else "text", level=log_level.upper())
    application = load_app(app)
    application.facts.listen(logger)
    return run_worker(
        application,
        queue,
        concurrency=concurrency,
        pool=pool,
        hostname=hostname,
        health=health,
        events=events,
    )


def _patch_for(pool: str) -> None:
    """Patch the standard library for gevent and eventlet, as ``celery worker -P`` does."""
    celery.maybe_patch_concurrency(["worker", "--pool", pool])


def end_with_owner() -> None:
    """End when stdin does: whoever started this worker holds its other end.

    A raw thread and the plain system calls, so that neither gevent's nor eventlet's patches, which
    come later, reach it. After a kill -9 of the owner the worker first finishes what it runs; if
    that takes longer than :data:`ORPHAN_GRACE`, its process group is killed.
    """
    read, kill, sleep = os.read, os.kill, time.sleep
    me, stdin = os.getpid(), os.dup(sys.stdin.fileno())
    os.set_inheritable(stdin, False)

    def watch() -> None:
        while read(stdin, 1):
            pass
        kill(me, signal.SIGTERM)
        sleep(ORPHAN_GRACE)
        # Only a group of our own: that of a shell would be more than us.
        kill(-me if os.getpgrp() == me else me, signal.SIGKILL)

    _thread.start_new_thread(watch, ())
