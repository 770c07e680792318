"""Private servers: what `make run`, `laneway up` and the tests start for themselves.

::

    with RunDirectory.create() as run, start_rabbitmq(run) as rabbitmq, start_redis(run) as redis:
        ...  # rabbitmq.url, rabbitmq.management_url, redis.url

Everything listens on 127.0.0.1 only, on random free ports, with random passwords, and ends
with the run. What a killed run left is cleared away by the next.

`start_bugsink` starts a server for errors, once its licence is accepted; it is not free software.
"""

from laneway.local.broker43 import install_rabbitmq_43
from laneway.local.bugsink import PrivateBugsink, start_bugsink
from laneway.local.bugsink_client import (
    BugsinkClient,
    BugsinkEvent,
    BugsinkIssue,
    BugsinkProject,
)
from laneway.local.bugsink_install import (
    BugsinkPrograms,
    bugsink_licence,
    find_bugsink,
    install_bugsink,
)
from laneway.local.errors import (
    InstallFailed,
    LicenceNotAccepted,
    LocalServerError,
    ServerCommandFailed,
    ServerNotInstalled,
    ServerStartFailed,
    ToolNotInstalled,
)
from laneway.local.install import (
    RabbitMQPrograms,
    Series,
    find_rabbitmq,
    find_redis,
    install_rabbitmq,
    install_redis,
)
from laneway.local.licence import Accepts, Licence, accepted_in_advance
from laneway.local.process import ProcessRecord
from laneway.local.rabbitmq import PrivateRabbitMQ, start_rabbitmq
from laneway.local.redis import PrivateRedis, start_redis
from laneway.local.rundir import RunDirectory, laneway_home, reap_abandoned_runs
from laneway.local.server import PrivateServer
from laneway.local.tools import (
    CONTAINER_TOOLS,
    KUBERNETES_TOOLS,
    Tools,
    find_tools,
    install_tools,
    need_tools,
)

__all__ = [
    # Runs
    "ProcessRecord",
    "RunDirectory",
    "laneway_home",
    "reap_abandoned_runs",
    # Servers
    "PrivateBugsink",
    "PrivateRabbitMQ",
    "PrivateRedis",
    "PrivateServer",
    "start_bugsink",
    "start_rabbitmq",
    "start_redis",
    # What a Bugsink holds
    "BugsinkClient",
    "BugsinkEvent",
    "BugsinkIssue",
    "BugsinkProject",
    # Programs
    "BugsinkPrograms",
    "RabbitMQPrograms",
    "Series",
    "find_bugsink",
    "find_rabbitmq",
    "find_redis",
    "install_bugsink",
    "install_rabbitmq",
    "install_rabbitmq_43",
    "install_redis",
    # Tools of a checkout
    "CONTAINER_TOOLS",
    "KUBERNETES_TOOLS",
    "Tools",
    "find_tools",
    "install_tools",
    "need_tools",
    # Licences
    "Accepts",
    "Licence",
    "accepted_in_advance",
    "bugsink_licence",
    # Errors
    "InstallFailed",
    "LicenceNotAccepted",
    "LocalServerError",
    "ServerCommandFailed",
    "ServerNotInstalled",
    "ServerStartFailed",
    "ToolNotInstalled",
]
