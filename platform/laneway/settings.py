"""The Celery settings that make the promises true, and the check that nothing undoes them.

An existing project keeps its own settings; one that would break a promise is an error that names
the setting and the cure.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from kombu import Exchange, Queue

from laneway.broker import broker_address
from laneway.errors import SettingsError
from laneway.topology import JOBS_EXCHANGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from laneway.policy import Policy

#: AMQP's word for "survives a restart of the broker".
DELIVERY_MODE: Final = 2

#: Settings with one right value, each with the reason that an error shows.
FIXED: Final[Mapping[str, tuple[Any, str]]] = {
    "task_protocol": (2, "the platform reads what version 1 does not carry"),
    "task_serializer": ("json", "no pickle anywhere"),
    "event_serializer": ("json", "no pickle anywhere"),
    "result_serializer": ("json", "no pickle anywhere"),
    "accept_content": (["json"], "no pickle anywhere"),
    "result_accept_content": (["json"], "no pickle anywhere"),
    "task_routes": (None, "routing.py decides; move the routes there"),
    "task_create_missing_queues": (False, "a typo must never create a queue"),
    "task_default_exchange": (JOBS_EXCHANGE, "one topic exchange per virtual host"),
    "task_default_exchange_type": ("topic", "delays in the broker need a topic exchange"),
    "task_default_delivery_mode": (
        DELIVERY_MODE,
        "an accepted job survives a restart of the broker",
    ),
    "task_queue_max_priority": (None, "quorum queues refuse x-max-priority"),
    "task_default_priority": (None, "routing.py decides the priority"),
    "task_inherit_parent_priority": (False, "the router inherits the priority itself"),
    "task_acks_late": (True, "a job whose worker dies must run again"),
    "task_acks_on_failure": (False, "a job that failed for good becomes a dead letter"),
    "task_acks_on_timeout": (True, "the worker makes the dead letter of a timeout itself"),
    "task_reject_on_worker_lost": (True, "a job whose process died must not vanish"),
    "task_time_limit": (None, "the queue's file says it: worker.time_limit"),
    "task_soft_time_limit": (None, "the queue's file says it: worker.soft_time_limit"),
    "task_publish_retry": (False, "the publisher retries within its own deadline"),
    "worker_prefetch_multiplier": (1, "an urgent job must not wait behind held ones"),
    "worker_detect_quorum_queues": (True, "delays wait in the broker"),
    "broker_native_delayed_delivery_queue_type": ("quorum", "a delayed job must not be lost"),
    "broker_channel_error_retry": (True, "a closed channel must not end the worker"),
    "broker_connection_retry_on_startup": (True, "a worker waits for its broker"),
    "worker_cancel_long_running_tasks_on_connection_loss": (
        True,
        "a job that the broker gives to another worker must not go on here",
    ),
    "worker_consumer": ("laneway.worker.consumer:JobConsumer", "it keeps what Celery drops"),
    "worker_direct": (False, "a queue that is not in the policy"),
    "enable_utc": (True, "times on the wire are UTC"),
}

#: Settings that are ours unless the project says otherwise.
DEFAULTS: Final[Mapping[str, Any]] = {
    "task_track_started": True,
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    "worker_enable_soft_shutdown_on_idle": True,
    "broker_pool_acquire_timeout": 10.0,
    "broker_heartbeat": 30,
    # No limit. Celery's workers end after a hundred tries: in the 50th minute without a broker.
    "broker_connection_max_retries": None,
    "timezone": "UTC",
    "result_extended": False,
    # Seconds. Celery waits for a Redis that is not there for two minutes, with the job unfinished.
    "redis_socket_timeout": 2.0,
    "redis_socket_connect_timeout": 2.0,
}

#: Result backends by Celery's names of them, unless the project has its own.
BACKENDS: Final[Mapping[str, str]] = {
    "redis": "laneway.results.redis:JobRedisBackend",
    "rediss": "laneway.results.redis:JobRedisBackend",
    "sentinel": "laneway.results.redis:JobSentinelBackend",
}

#: Settings that would have no effect, each with what decides instead.
DECIDED_ELSEWHERE: Final[Mapping[str, str]] = {
    "worker_concurrency": "concurrency of each file in queues/",
    "worker_pool": "pool of each file in queues/",
    "worker_max_tasks_per_child": "max_tasks_per_child of each file in queues/",
    "task_acks_on_failure_or_timeout": "the platform",
    "broker_host": "broker_url or LANEWAY_BROKER_URL",
    "broker_port": "broker_url or LANEWAY_BROKER_URL",
    "broker_user": "broker_url or LANEWAY_BROKER_URL",
    "broker_password": "broker_url or LANEWAY_BROKER_URL",
    "broker_vhost": "the platform (it has two virtual hosts; see LANEWAY_VHOST_PREFIX)",
}

# What a task may say of itself only as the platform does, with the reason.
_TASK_ATTRIBUTES: Final = (
    "acks_late",
    "acks_on_failure",
    "acks_on_timeout",
    "reject_on_worker_lost",
    "serializer",
)

_BROKER_VARIABLES: Final = (
    "CELERY_BROKER_URL",
    "CELERY_BROKER_READ_URL",
    "CELERY_BROKER_WRITE_URL",
)


def kombu_queue(name: str) -> Queue:
    """The queue as Celery and kombu need to know it; declared by the topology only.

    ``x-queue-type`` is what makes Celery wait for delays in the broker and use quorum-safe
    prefetch. On RabbitMQ below 4.0 the queue is a classic one and both are still right.
    """
    return Queue(
        name,
        Exchange(JOBS_EXCHANGE, type="topic", durable=True, no_declare=True),
        routing_key=name,
        queue_arguments={"x-queue-type": "quorum"},
        no_declare=True,
    )


def contradictions(conf: Any, policy: Policy, environ: Mapping[str, str] = os.environ) -> list[str]:
    """What the project's own settings say against the policy: one line each, empty if nothing."""
    problems = [
        f"{name}: expected {value!r} ({reason}), got: {conf[name]!r}. Remove the setting."
        for name, (value, reason) in FIXED.items()
        if conf.value_set_for(name) and not _same(conf[name], value)
    ]
    if conf.value_set_for("task_queues") and conf["task_queues"]:
        problems.append(
            "task_queues: expected none (queues/*.toml decide), got: "
            f"{conf['task_queues']!r}. Write one file a queue in queues/ and remove the setting."
        )
    default = conf["task_default_queue"]
    if conf.value_set_for("task_default_queue") and default != policy.default_queue:
        problems.append(
            f"task_default_queue: expected {policy.default_queue!r} (DEFAULT_QUEUE in routing.py "
            f"decides), got: {default!r}. Remove the setting."
        )
    if conf["broker_transport_options"].get("confirm_publish") is False:
        problems.append(
            "broker_transport_options: expected confirm_publish to be True, got: False. Without "
            "confirms accepted jobs are lost. Remove the key."
        )
    problems += [
        f"{name}: expected it to be unset, because it would have no effect: {decides} decides. "
        "Remove the setting."
        for name, decides in DECIDED_ELSEWHERE.items()
        if conf.value_set_for(name) and conf[name] is not None
    ]
    problems += _broker_problems(conf, environ)
    problems += [
        f"{name}: expected it to be unset, because Celery would let it override the address in "
        "silence. Use LANEWAY_BROKER_URL."
        for name in _BROKER_VARIABLES
        if environ.get(name)
    ]
    return problems


def _broker_problems(conf: Any, environ: Mapping[str, str]) -> list[str]:
    """What is wrong with the project's own ``broker_url``, unless the environment replaces it."""
    if environ.get("LANEWAY_BROKER_URL"):
        return []
    try:
        broker_address(broker_url_of(conf), env={})
    except SettingsError as error:
        words = str(error).removeprefix("LANEWAY_BROKER_URL: ").rstrip(".")
        return [f"broker_url: {words}. Name a RabbitMQ here or in LANEWAY_BROKER_URL."]
    return []


def broker_url_of(conf: Any) -> Any:
    """The project's own ``broker_url``, whatever the environment says; None if there is none."""
    return conf.first("broker_url")


def task_contradictions(tasks: Iterable[Any]) -> list[str]:
    """What tasks say of themselves against the platform's promises: one line each."""
    problems = []
    for task in tasks:
        for attribute in _TASK_ATTRIBUTES:
            expected, reason = FIXED[f"task_{attribute}"]
            given = getattr(task, attribute, None)
            if given is not None and not _same(given, expected):
                problems.append(
                    f"{task.name}: expected {attribute} to be {expected!r} ({reason}), got: "
                    f"{given!r}. Remove it from the task, or override it with task_annotations."
                )
    return problems


def raise_contradictions(conf: Any, policy: Policy) -> None:
    """Refuse settings that would undo a promise.

    Raises:
        SettingsError: names all of them, each with its cure.
    """
    if problems := contradictions(conf, policy):
        raise SettingsError("\n  ".join(["the settings contradict the policy:", *problems]))


def raise_changes(conf: Any) -> None:
    """Refuse what was set after the settings were read, when the profile already stood.

    Raises:
        SettingsError: names all of them, each with its cure.
    """
    problems = [
        f"{name}: expected {value!r} ({reason}), got: {conf[name]!r}. Remove the setting."
        for name, (value, reason) in FIXED.items()
        if not _same(conf[name], value)
    ]
    if problems:
        raise SettingsError("\n  ".join(["settings were changed after they were read:", *problems]))


def apply_profile(conf: Any, policy: Policy, *, vhost: str, broker_url: str) -> None:
    """Make ``conf`` serve the queues of one virtual host (``"jobs"`` or ``"secure"``)."""
    for name, value in DEFAULTS.items():
        if not conf.value_set_for(name):
            conf[name] = value
    for name, (value, _reason) in FIXED.items():
        conf[name] = value
    names = [name for name, queue in policy.queues.items() if queue.vhost == vhost]
    conf.task_default_queue = policy.default_queue
    conf.task_default_routing_key = policy.default_queue
    conf.task_queues = [kombu_queue(name) for name in names]
    conf.broker_transport_options = {**conf.broker_transport_options, "confirm_publish": True}
    # Under a namespace the project's own spelling would be found before ours.
    for spelling in conf._to_keys("broker_url"):  # noqa: SLF001 (see test_celery_contract.py)
        conf.changes.pop(spelling, None)
    conf.broker_url = broker_url
    conf.broker_read_url = conf.broker_write_url = None


def _same(given: Any, fixed: Any) -> bool:
    if isinstance(fixed, list):
        return set(given or ()) <= {*fixed, "application/json"}
    return bool(given == fixed) or (not given and not fixed)
