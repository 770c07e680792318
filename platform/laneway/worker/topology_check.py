"""The look at the broker before a worker takes its first job."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from celery.exceptions import WorkerShutdown
from celery.utils.log import get_logger

from laneway.broker import profile_of, server_version
from laneway.errors import BrokerError
from laneway.pause import is_paused
from laneway.topology import check_bindings, check_topology

if TYPE_CHECKING:
    import kombu

    from laneway.app import Laneway
    from laneway.broker import Profile
    from laneway.topology import Finding

log = get_logger(__name__)

#: Exit status of a worker whose queue, exchange or dead inbox is missing (EX_CONFIG of sysexits.h).
EXIT_TOPOLOGY: Final = 78


def look_before_consuming(app: Laneway, connection: kombu.Connection, hostname: str) -> bool:
    """Refuse to consume where a job could be lost; warn and count what differs or is unseen.

    Bindings cannot be seen over AMQP: they are looked at where ``LANEWAY_MANAGEMENT_URL`` is set.

    Returns:
        Whether the queue is paused.

    Raises:
        WorkerShutdown: with :data:`EXIT_TOPOLOGY`, after the plan was logged.
    """
    queue = app.serving
    assert queue is not None
    profile = profile_of(server_version(connection))
    findings = [
        *check_topology(connection, app.policy, profile, app.policy.queue(queue).vhost, queue),
        *_look_at_bindings(app, profile, queue),
    ]
    # Where the broker counts redeliveries it bounds a job that kills its process, at once and for
    # every worker. Elsewhere Celery's own retry does (with its max_retries and delay).
    for task in app.tasks.values():
        task.retry_on_worker_lost = not profile.delivery_limit
    for finding in findings:
        if finding.severity != "fatal":
            log.warning("topology drift: %s. %s", finding.what, finding.cure)
            app.facts.tell("topology_drift", queue=queue, worker=hostname, reason=finding.what)
    fatal = [f"{found.what}. {found.cure}" for found in findings if found.severity == "fatal"]
    if fatal:
        log.critical("the worker of %r does not start:\n  %s", queue, "\n  ".join(fatal))
        raise WorkerShutdown(EXIT_TOPOLOGY)
    return is_paused(connection, queue)


def _look_at_bindings(app: Any, profile: Profile, queue: str) -> list[Finding]:
    if not os.environ.get("LANEWAY_MANAGEMENT_URL"):
        return []
    # (Brings an HTTP client, which a worker without that address need not carry.)
    from laneway.broker.management import Management  # noqa: PLC0415 (see above)

    try:
        with Management(app.address, timeout=5) as management:
            return check_bindings(management, app.policy, profile, app.address, queue)
    except BrokerError as error:
        # The management interface is no part of the data path: its absence stops nobody.
        log.warning("the bindings of %r were not looked at: %s", queue, error)
        return []
