"""How a private RabbitMQ is configured: a node of its own beside any other on the machine."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from laneway.local.ports import LOOPBACK, free_ports

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_MAX_SCHEDULERS: Final = 4
_ON_LOOPBACK: Final = f"-kernel inet_dist_use_interface {{{LOOPBACK.replace('.', ',')}}}"


@dataclass(frozen=True, kw_only=True)
class NodeIdentity:
    """What tells one node from all others: its name, ports and secrets, all random."""

    amqp_port: int
    """Where clients connect."""
    management_port: int
    """Where the management API answers."""
    distribution_port: int
    """Where rabbitmqctl reaches the node."""
    epmd_port: int
    """Where the node's own Erlang port mapper listens."""
    name: str = field(default_factory=lambda: f"laneway-{secrets.token_hex(6)}@localhost")
    """The Erlang node name."""
    user: str = field(default_factory=lambda: f"laneway-{secrets.token_hex(4)}")
    """The only user, an administrator; there is no guest."""
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    """The user's password; safe in a URL as it is."""
    cookie: str = field(default_factory=lambda: secrets.token_hex(20), repr=False)
    """The Erlang cookie: who knows it controls the node."""

    @classmethod
    def random(cls) -> NodeIdentity:
        """A new identity on ports that are free now. Raises OSError if there are none."""
        amqp, management, distribution, epmd = free_ports(4)
        return cls(
            amqp_port=amqp,
            management_port=management,
            distribution_port=distribution,
            epmd_port=epmd,
        )


def server_config(node: NodeIdentity, *, deny_transient_queues: bool) -> str:
    """The text of rabbitmq.conf. It holds the password: mode 0600.

    `deny_transient_queues` needs RabbitMQ 4: Debian's build still permits what upstream's
    denies, and what runs here must run there.
    """
    lines = [
        f"listeners.tcp.1 = {LOOPBACK}:{node.amqp_port}",
        f"management.tcp.ip = {LOOPBACK}",
        f"management.tcp.port = {node.management_port}",
        f"default_user = {node.user}",
        f"default_pass = {node.password}",
        "default_user_tags.administrator = true",
        # Statistics are for tests and for people who look on: one second old, not five.
        # The collector sleeps as long as one sample of its history lasts, whatever is emitted.
        "collect_statistics_interval = 1000",
        "management.sample_retention_policies.global.minute = 1",
        "management.sample_retention_policies.basic.minute = 1",
        "management.sample_retention_policies.detailed.minute = 1",
        "management.rates_mode = basic",
        # The write-ahead log of quorum queues is kept in memory up to this size.
        "raft.wal_max_size_bytes = 67108864",
        "num_acceptors.tcp = 2",
        "log.console = true",
        "log.console.level = info",
    ]
    if deny_transient_queues:
        lines.append("deprecated_features.permit.transient_nonexcl_queues = false")
    return "\n".join(lines) + "\n"


ADVANCED_CONFIG: Final = """\
[{rabbit, [
    {quorum_tick_interval, 1000},
    {stream_tick_interval, 1000},
    {dead_letter_worker_publisher_confirm_timeout, 10000}
]}].
"""
"""The text of advanced.config: counts of quorum queues and streams every second too, and what
found its next queue full (a delay that ended) tries again after 10 seconds, not after 180."""

ENABLED_PLUGINS: Final = "[rabbitmq_management].\n"
"""The text of enabled_plugins."""


def node_environment(node: NodeIdentity, *, home: Path, programs: Path) -> Mapping[str, str]:
    """All that the node, its epmd and its rabbitmqctl get as environment.

    `home` is the node's folder and `programs` the folder of its scripts, both as the node
    sees them. Nothing of the caller's environment is passed on but PATH.
    """
    schedulers = min(os.cpu_count() or 1, _MAX_SCHEDULERS)
    return {
        "PATH": f"{programs}:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "ERL_EPMD_ADDRESS": LOOPBACK,
        "ERL_EPMD_PORT": str(node.epmd_port),
        "ERL_CRASH_DUMP": str(home / "erl_crash.dump"),
        "RABBITMQ_NODENAME": node.name,
        "RABBITMQ_DIST_PORT": str(node.distribution_port),
        # One process without a shell around it, which gets our signals itself.
        "RUNNING_UNDER_SYSTEMD": "true",
        # An existing but empty file: the machine's own settings must not be read.
        "RABBITMQ_CONF_ENV_FILE": str(home / "rabbitmq-env.conf"),
        "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
        "RABBITMQ_CONFIG_FILES": str(home / "conf.d"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(home / "data"),
        "RABBITMQ_LOG_BASE": str(home / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_PID_FILE": str(home / "pid"),
        "RABBITMQ_SCHEDULER_BIND_TYPE": "u",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
            f"{_ON_LOOPBACK} +S {schedulers}:{schedulers} +sbwt none +sbwtdcpu none +sbwtdio none"
        ),
        "RABBITMQ_CTL_ERL_ARGS": f"{_ON_LOOPBACK} -dist_listen false +S 1:1",
    }
