"""Units for supervisord: workers on one machine without a container engine.

One file for each virtual host and one for the control process: a program of supervisord has the
environment of supervisord, so a secure queue needs one of its own, with its own user and secrets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from laneway.errors import LanewayError
from laneway.render.compose import stop_seconds
from laneway.render.rendering import Rendering

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from laneway.policy import Policy
    from laneway.policy.queues import Queue

FOLDER: Final = "deploy/supervisor"
"""Where the files are, below the checkout."""

MOST_WORKERS: Final = 100
"""Workers of one queue on one machine; each has a port of its own out of a hundred."""

FIRST_PORT: Final = 9100
"""The control process answers here; the queues follow in hundreds, in the order of their names."""

_STOP_CONTROL: Final = 15

_HEAD: Final = """\
; {what}. Rendered from queues/ by `laneway render supervisor`:
; do not edit it. Include it from a supervisord.conf (docs/how-to/render.md). The environment of
; supervisord is theirs: {variables}.
"""

# A program is started by itself, never through a shell, and told to stop alone: its own processes
# are told by it. What is left when its time is over has been handed back, and is killed with it.
_PROGRAM: Final = """
; {comment}
[program:{name}]
command={command} --health 127.0.0.1:{port}
process_name=%(program_name)s-%(process_num)02d
numprocs={processes}
environment=PYTHONSAFEPATH="1"
autostart=true
autorestart=true
startsecs=5
startretries=100
stopsignal=TERM
stopwaitsecs={stop}
stopasgroup=false
killasgroup=true
redirect_stderr=true
stdout_logfile=/var/log/laneway/%(program_name)s-%(process_num)02d.log
stdout_logfile_maxbytes=50MB
stdout_logfile_backups=5
"""


def render_supervisor(policy: Policy, root: Path) -> Rendering:  # noqa: ARG001 (as the others)
    """The units of ``policy``.

    Raises:
        LanewayError: a queue asks for more workers than one machine has ports for.
    """
    files = {f"{FOLDER}/control.conf": _control()}
    ports = dict(zip(policy.queues, range(FIRST_PORT + 100, 65_000, 100), strict=False))
    for vhost in sorted({queue.vhost for queue in policy.queues.values()}):
        queues = policy.vhost_queues(vhost).values()
        files[f"{FOLDER}/{vhost}.conf"] = _workers(vhost, queues, ports)
    return Rendering(files=files, owned=(f"{FOLDER}/*.conf",))


def _control() -> str:
    variables = "LANEWAY_BROKER_URL, LANEWAY_MANAGEMENT_URL, LANEWAY_RESULT_BACKEND"
    return _HEAD.format(what="The control process", variables=variables) + _program(
        name="laneway-control",
        comment="dead letters of what the broker gave up",
        command="laneway control",
        port=FIRST_PORT,
        processes=1,
        stop=_STOP_CONTROL,
    )


def _workers(vhost: str, queues: Iterable[Queue], ports: dict[str, int]) -> str:
    variables = "LANEWAY_APP, LANEWAY_BROKER_URL, LANEWAY_RESULT_BACKEND, LANEWAY_KEY_SECRET"
    text = _HEAD.format(what=f"The workers of the virtual host {vhost}", variables=variables)
    for queue in queues:
        if queue.scaling.min > MOST_WORKERS:
            raise LanewayError(
                f"queues/{queue.name}.toml: expected scaling.min of at most {MOST_WORKERS} on one "
                f"machine, got: {queue.scaling.min}; render Kubernetes manifests instead"
            )
        text += _program(
            name=f"laneway-worker-{queue.name}",
            comment=queue.summary,
            command=f"laneway worker {queue.name}",
            port=ports[queue.name],
            processes=queue.scaling.min,
            stop=stop_seconds(queue),
        )
    return text


def _program(*, name: str, comment: str, command: str, port: int, processes: int, stop: int) -> str:
    return _PROGRAM.format(
        name=name,
        comment=comment,
        command=command,
        port=f"{port // 100}%(process_num)02d",
        processes=processes,
        stop=stop,
    )
