"""Private servers: what `make run`, `laneway up` and the tests start for themselves.

::

    with RunDirectory.create() as run, start_rabbitmq(run) as rabbitmq, start_redis(run) as redis:
        ...  # rabbitmq.url, rabbitmq.management_url, redis.url

Everything listens on 127.0.0.1 only, on random free ports, with random passwords, and ends
with the run. What a killed run left is cleared away by the next.
"""

from laneway.local.broker43 import install_rabbitmq_43
from laneway.local.errors import (
    InstallFailed,
    LocalServerError,
    ServerCommandFailed,
    ServerNotInstalled,
    ServerStartFailed,
)
from laneway.local.install import (
    RabbitMQPrograms,
    Series,
    find_rabbitmq,
    find_redis,
    install_rabbitmq,
    install_redis,
)
from laneway.local.process import ProcessRecord
from laneway.local.rabbitmq import PrivateRabbitMQ, start_rabbitmq
from laneway.local.redis import PrivateRedis, start_redis
from laneway.local.rundir import RunDirectory, laneway_home, reap_abandoned_runs
from laneway.local.server import PrivateServer

__all__ = [
    # Runs
    "ProcessRecord",
    "RunDirectory",
    "laneway_home",
    "reap_abandoned_runs",
    # Servers
    "PrivateRabbitMQ",
    "PrivateRedis",
    "PrivateServer",
    "start_rabbitmq",
    "start_redis",
    # Programs
    "RabbitMQPrograms",
    "Series",
    "find_rabbitmq",
    "find_redis",
    "install_rabbitmq",
    "install_rabbitmq_43",
    "install_redis",
    # Errors
    "InstallFailed",
    "LocalServerError",
    "ServerCommandFailed",
    "ServerNotInstalled",
    "ServerStartFailed",
]
