"""Settings of an existing project: what contradicts is refused, all at once, with the cure."""

from __future__ import annotations

import types
from typing import Any

import pytest
from celery import Task

import laneway
from laneway import Laneway, settings
from laneway.policy import load_policy
from support.workers import POLICY

URL = "amqp://shop:hush@broker:5673"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LANEWAY_BROKER_URL", "LANEWAY_VHOST_PREFIX", "LANEWAY_RESULT_BACKEND"):
        monkeypatch.delenv(name, raising=False)


def make(**given: Any) -> Laneway:
    return Laneway("shop", policy=load_policy(POLICY), set_as_current=False, **given)


def nothing() -> None:
    """The body of a task."""


def problems_of(app: Laneway) -> list[str]:
    with pytest.raises(laneway.SettingsError) as caught:
        app.conf.finalize()
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("task_routes", {"billing.*": {"queue": "high"}}),
        ("task_queues", [settings.kombu_queue("celery")]),
        ("task_default_queue", "celery"),
        ("task_create_missing_queues", True),
        ("task_serializer", "pickle"),
        ("result_serializer", "yaml"),
        ("event_serializer", "pickle"),
        ("accept_content", ["json", "pickle"]),
        ("result_accept_content", ["pickle"]),
        ("task_acks_late", False),
        ("task_acks_on_failure", True),
        ("task_acks_on_timeout", False),
        ("task_reject_on_worker_lost", False),
        ("task_protocol", 1),
        ("task_default_exchange", "celery"),
        ("task_default_exchange_type", "direct"),
        ("task_default_delivery_mode", 1),
        ("task_default_priority", 5),
        ("task_queue_max_priority", 10),
        ("task_inherit_parent_priority", True),
        ("task_publish_retry", True),
        ("worker_prefetch_multiplier", 4),
        ("worker_direct", True),
        ("worker_consumer", "shop.consumer:Consumer"),
        ("worker_detect_quorum_queues", False),
        ("enable_utc", False),
        ("broker_transport_options", {"confirm_publish": False}),
        ("broker_native_delayed_delivery_queue_type", "classic"),
        # A file in queues/, or the broker's URL, decides.
        ("task_time_limit", 300),
        ("task_soft_time_limit", 200),
        ("worker_concurrency", 8),
        ("worker_pool", "gevent"),
        ("worker_max_tasks_per_child", 100),
        ("task_acks_on_failure_or_timeout", True),
        ("broker_host", "broker"),
        ("broker_vhost", "shop"),
        # Laneway runs on RabbitMQ, in virtual hosts of its own.
        ("broker_url", "redis://broker/0"),
        ("broker_url", "amqp://shop:hush@broker/shop"),
        ("broker_url", "broker:5672"),
    ],
)
def test_a_contradiction_is_named_with_its_cure(name: str, value: object) -> None:
    [problem] = problems_of(make(**{name: value}))
    assert problem.startswith(f"{name}: expected ")
    assert "emove the" in problem or "LANEWAY_" in problem


def test_all_contradictions_are_said_at_once() -> None:
    app = make(
        broker="redis://broker/0",
        task_serializer="pickle",
        task_routes={"billing.*": {"queue": "high"}},
        task_queues={"celery": {}},
        worker_concurrency=8,
    )
    named = {problem.partition(":")[0] for problem in problems_of(app)}
    assert named == {
        "broker_url",
        "task_serializer",
        "task_routes",
        "task_queues",
        "worker_concurrency",
    }


def test_names_from_before_celery_4_are_understood() -> None:
    app = make()
    app.conf.update(
        CELERY_TASK_SERIALIZER="pickle",
        CELERY_ROUTES={"billing.*": {"queue": "high"}},
        CELERY_ACKS_LATE=False,
        CELERYD_CONCURRENCY=8,
        BROKER_URL="redis://broker/0",
    )
    named = {problem.partition(":")[0] for problem in problems_of(app)}
    assert named == {
        "broker_url",
        "task_serializer",
        "task_routes",
        "task_acks_late",
        "worker_concurrency",
    }


def test_a_namespace_is_understood() -> None:
    """As in a Django project: ``app.config_from_object("django.conf:settings", "CELERY")``."""
    app = make()
    app.config_from_object(
        types.SimpleNamespace(
            DEBUG=True,
            CELERY_TASK_SERIALIZER="pickle",
            CELERY_TASK_CREATE_MISSING_QUEUES=True,
            CELERY_BROKER_URL="redis://broker/0",
        ),
        namespace="CELERY",
    )
    named = {problem.partition(":")[0] for problem in problems_of(app)}
    assert named == {"broker_url", "task_serializer", "task_create_missing_queues"}


def test_harmless_settings_pass_and_stay() -> None:
    app = make(
        broker=URL,
        backend="redis://broker/1",
        task_always_eager=False,
        task_ignore_result=True,
        task_routes={},
        task_queues=None,
        task_default_queue="default",
        task_serializer="json",
        accept_content=["application/json"],
        result_accept_content=("json",),
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        worker_max_memory_per_child=100_000,
        result_expires=60,
        timezone="Europe/Berlin",
        beat_schedule={},
        task_annotations={"*": {"rate_limit": "10/s"}},
        broker_transport_options={"read_timeout": 7},
    )
    assert app.conf.result_backend == "redis://broker/1"
    assert app.conf.task_ignore_result is True
    assert app.conf.result_expires == 60
    assert app.conf.timezone == "Europe/Berlin"
    assert app.conf.broker_transport_options == {"read_timeout": 7, "confirm_publish": True}


def test_the_profile_stands_whatever_the_project_left_unsaid() -> None:
    app = make()
    for name, (value, _) in settings.FIXED.items():
        assert app.conf[name] == value
    assert [queue.name for queue in app.conf.task_queues] == ["default", "high", "low"]


@pytest.mark.parametrize("spelling", ["broker_url", "BROKER_URL"])
def test_the_projects_broker_is_used_in_the_platforms_virtual_hosts(spelling: str) -> None:
    app = make()
    app.conf[spelling] = URL
    assert app.address.urls == (URL,)
    assert app.conf.broker_url == app.conf.broker_write_url == "pyamqp://shop:hush@broker:5673/jobs"


@pytest.mark.parametrize("late", [False, True])
def test_the_broker_of_a_namespace_is_used_in_the_platforms_virtual_hosts(late: bool) -> None:
    app = make()
    given = {} if late else {"CELERY_BROKER_URL": URL}
    app.config_from_object(types.SimpleNamespace(**given), namespace="CELERY")
    if late:
        app.conf.CELERY_BROKER_URL = URL
    assert app.conf.broker_url == app.conf.broker_read_url == "pyamqp://shop:hush@broker:5673/jobs"


def test_several_brokers_are_one_cluster() -> None:
    app = make(broker=[URL, "amqp://shop:hush@second:5673"])
    assert app.address.urls == (URL, "amqp://shop:hush@second:5673")


def test_the_environment_replaces_the_projects_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANEWAY_BROKER_URL", URL)
    monkeypatch.setenv("LANEWAY_VHOST_PREFIX", "staging-")
    assert make(broker="redis://laptop/0").conf.broker_url.endswith("@broker:5673/staging-jobs")


@pytest.mark.parametrize("name", ["", "READ_", "WRITE_"])
def test_celerys_own_variables_would_override_in_silence(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(f"CELERY_BROKER_{name}URL", "amqp://elsewhere")
    [problem] = problems_of(make())
    assert problem.startswith(f"CELERY_BROKER_{name}URL: expected it to be unset")
    assert "LANEWAY_BROKER_URL" in problem


def test_no_password_is_shown() -> None:
    app = make(broker="amqp://shop:hush@broker/shop", broker_password="hush")
    assert "hush" not in " ".join(problems_of(app))


def test_a_second_look_is_refused_like_the_first() -> None:
    """Celery would keep what it read and go on without check and profile."""
    app = make(task_serializer="pickle")
    assert problems_of(app) == problems_of(app)
    with pytest.raises(laneway.SettingsError, match="task_serializer"):
        app.send_task("plain.add")


def test_what_is_set_too_late_is_refused_when_something_is_published() -> None:
    app = make(broker=URL)
    app.conf.finalize()
    app.conf.task_serializer = "pickle"
    with pytest.raises(laneway.SettingsError, match=r"task_serializer.*'pickle'"):
        app.send_task("plain.add")


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("acks_late", False),
        ("acks_on_failure", True),
        ("acks_on_timeout", False),
        ("reject_on_worker_lost", False),
        ("serializer", "pickle"),
    ],
)
def test_a_task_that_contradicts_is_named(attribute: str, value: object) -> None:
    app = make()
    task = app.task(shared=False, name="plain.add", **{attribute: value})(nothing)
    [problem] = settings.task_contradictions([task])
    assert problem.startswith(f"plain.add: expected {attribute} to be ")
    assert "task_annotations" in problem


def test_the_cure_for_a_task_of_a_package_works() -> None:
    app = make(task_annotations={"plain.add": {"acks_late": True}})
    task = app.task(shared=False, name="plain.add", acks_late=False)(nothing)
    assert settings.task_contradictions([task]) == []


def test_ordinary_tasks_and_celerys_own_do_not_contradict() -> None:
    app = make()
    app.task(shared=False, name="plain.add", acks_late=True, time_limit=5)(nothing)
    app.task(shared=False, name="plain.base", base=Task)(nothing)
    app.finalize()
    assert settings.task_contradictions(app.tasks.values()) == []
