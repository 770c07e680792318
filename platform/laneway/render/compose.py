"""A Compose file: the whole platform on one machine with a container engine.

Text, not a tree: it is read and copied from by people. What changes with the policy is a name, a
number or a comment, so no quoting can go wrong. Secrets are in files beside it, one for each kind
of process: a worker of the secure queues knows nothing of the others', and they nothing of its own.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from laneway.render.rendering import Rendering

if TYPE_CHECKING:
    from pathlib import Path

    from laneway.policy import Policy
    from laneway.policy.queues import Queue

COMPOSE: Final = "deploy/compose/compose.yaml"
"""The file, below the checkout."""

HAND_BACK: Final = 15
"""Seconds that a worker gets after its grace period: to hand back what still runs, and to end."""

_HEAD: Final = """\
# Laneway on one machine: a broker, a Redis, the topology, the control process, and the workers.
# Rendered from queues/ by `laneway render compose`: do not edit it. What is yours goes into a
# compose.override.yaml beside it; what is secret into secrets/*.env (docs/how-to/render.md).
name: laneway

# What every process of Laneway is started with: nothing that it does not need.
x-laneway: &laneway
  image: ${LANEWAY_IMAGE:?set it to the image of your application}
  restart: unless-stopped
  init: true                       # reaps what a job leaves behind
  user: "10001:10001"
  read_only: true
  tmpfs: [/tmp]
  cap_drop: [ALL]
  security_opt: ["no-new-privileges:true"]

# Healthy means: connected, and taking jobs. Compose restarts nothing that is unhealthy.
x-ready: &ready
  test:
    - CMD
    - python
    - -c
    - import urllib.request as r; r.urlopen('http://127.0.0.1:8080/readyz', timeout=3)
  interval: 15s
  timeout: 5s
  retries: 4
  start_period: 60s

x-worker: &worker
  <<: *laneway
  environment:
    LANEWAY_APP: ${LANEWAY_APP:?set it to MODULE:NAME of your application}
    LANEWAY_IMAGE: ${LANEWAY_IMAGE}
    LANEWAY_HEALTH: 0.0.0.0:8080
  healthcheck: *ready
  depends_on:
    topology: {condition: service_completed_successfully}
    redis: {condition: service_healthy}

services:
  broker:
    image: rabbitmq:4.3-management
    hostname: broker               # RabbitMQ keeps its data under the name of its host
    restart: unless-stopped
    env_file: [secrets/broker.env] # RABBITMQ_DEFAULT_USER, RABBITMQ_DEFAULT_PASS
    security_opt: ["no-new-privileges:true"]
    volumes: ["broker:/var/lib/rabbitmq"]
    networks: __SERVER_NETWORKS__
    healthcheck:
      test: ["CMD", "rabbitmq-diagnostics", "-q", "check_port_connectivity"]
      interval: 15s
      timeout: 20s
      retries: 8
      start_period: 60s
    stop_grace_period: 60s

  redis:
    image: redis:7.4
    restart: unless-stopped
    env_file: [secrets/redis.env]  # REDIS_PASSWORD
    # From standard input, so that the password is in no command line.
    command:
      - sh
      - -c
      - |
        exec redis-server - <<END
        requirepass $$REDIS_PASSWORD
        dir /data
        appendonly yes
        END
    user: redis
    read_only: true
    tmpfs: [/tmp]
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    volumes: ["redis:/data"]
    networks: __SERVER_NETWORKS__
    healthcheck:
      test: ["CMD-SHELL", "REDISCLI_AUTH=$$REDIS_PASSWORD redis-cli ping | grep -q PONG"]
      interval: 15s
      timeout: 5s
      retries: 4
    stop_grace_period: 30s

  # Ends when the broker has what the policy asks for; no worker starts before.
  topology:
    <<: *laneway
    command: ["laneway", "topology", "apply", "--yes"]
    restart: on-failure:10
    env_file: [secrets/control.env]
    networks: [jobs]
    depends_on:
      broker: {condition: service_healthy}

  control:
    <<: *laneway
    command: ["laneway", "control"]
    env_file: [secrets/control.env]
    environment:
      LANEWAY_IMAGE: ${LANEWAY_IMAGE}
      LANEWAY_HEALTH: 0.0.0.0:8080
    networks: [jobs]
    healthcheck: *ready
    depends_on:
      topology: {condition: service_completed_successfully}
      redis: {condition: service_healthy}
    stop_grace_period: 15s
    deploy:
      replicas: 1
"""

_WORKER: Final = """
  # {summary}
  worker-{name}:
    <<: *worker
    command: ["laneway", "worker", "{name}"]
    env_file: [secrets/{vhost}.env]
    networks: [{vhost}]
    stop_grace_period: {stop}s
    deploy:
      replicas: {workers}
"""

_TAIL: Final = """
volumes:
  broker:
  redis:

networks:
"""


def render_compose(policy: Policy, root: Path) -> Rendering:  # noqa: ARG001 (as the others)
    """The Compose file of ``policy``."""
    return Rendering(files={COMPOSE: compose_text(policy)})


def compose_text(policy: Policy) -> str:
    """All of it; each virtual host is a network, which the servers and its workers share."""
    vhosts = sorted({"jobs", *(queue.vhost for queue in policy.queues.values())})
    head = _HEAD.replace("__SERVER_NETWORKS__", f"[{', '.join(vhosts)}]")
    workers = "".join(_worker(queue) for queue in policy.queues.values())
    return head + workers + _TAIL + "".join(f"  {vhost}:\n" for vhost in vhosts)


def stop_seconds(queue: Queue) -> int:
    """Seconds between SIGTERM and SIGKILL for a worker of ``queue``."""
    return math.ceil(queue.worker.grace_period) + HAND_BACK


def _worker(queue: Queue) -> str:
    return _WORKER.format(
        name=queue.name,
        summary=queue.summary,
        vhost=queue.vhost,
        stop=stop_seconds(queue),
        workers=queue.scaling.min,
    )
