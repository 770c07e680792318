"""What Laneway relies on in Celery, kombu and amqp beyond their documentation.

Each test says what breaks when it turns red: read it before raising a version in pyproject.toml.
"""

from __future__ import annotations

import contextlib
import inspect
import re
import socket
import struct
import time
import types
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import amqp
import click
import kombu
import pytest
from amqp import spec
from amqp.exceptions import MessageNacked
from celery import Celery, Task, signals
from celery._state import _task_stack
from celery.app import trace
from celery.app.amqp import AMQP
from celery.app.backends import BACKEND_ALIASES
from celery.app.task import Context
from celery.apps.worker import Worker
from celery.backends.asynchronous import AsyncBackendMixin
from celery.backends.base import Backend
from celery.backends.redis import RedisBackend
from celery.schedules import crontab
from celery.utils.quorum_queues import detect_quorum_queues
from celery.worker import WorkController, strategy
from celery.worker.consumer import Consumer
from celery.worker.request import Request
from kombu.message import Message
from kombu.transport import pyamqp
from kombu.transport.native_delayed_delivery import calculate_routing_key
from redis.exceptions import ConnectionError as RedisConnectionError

from laneway import Laneway, celery_command, settings
from laneway.policy import load_policy
from laneway.publish import frames
from laneway.publish.producer import _Composer
from laneway.results.late import LateResults
from laneway.results.redis import JobRedisBackend
from laneway.task import JobTask
from laneway.worker.consumer import JobConsumer
from laneway.worker.job_worker import _BACKENDS, JobWorker
from laneway.worker.request import JobRequest
from laneway.worker.result_backend import PatientRedisBackend
from support.workers import POLICY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def make(**given: Any) -> Laneway:
    return Laneway("contract", policy=load_policy(POLICY), set_as_current=False, **given)


def parameters(function: Callable[..., Any]) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


def nothing() -> None:
    """The body of a task."""


class Recording(kombu.Producer):
    """Keeps what Celery would have published."""

    def __init__(self) -> None:
        self.published: list[dict[str, Any]] = []
        super().__init__(kombu.Connection("memory://").channel(), auto_declare=False)

    def publish(self, _body: Any, **properties: Any) -> None:
        self.published.append(properties)


# Configuration


def test_every_setting_of_the_profile_exists() -> None:
    """A setting that Celery renamed would be written and never read."""
    known = set(Celery("c", set_as_current=False).conf)
    ours = {*settings.FIXED, *settings.DEFAULTS, *settings.DECIDED_ELSEWHERE}
    assert ours <= known


def test_the_configuration_is_read_by_one_method() -> None:
    """The profile would not be applied, or the check of the settings would not run."""

    class Reading(Celery):
        read = 0

        def _load_config(self) -> Any:
            self.read += 1
            return super()._load_config()

    app = Reading("c", set_as_current=False)
    app.conf.task_serializer = "json"
    assert app.read == 0
    assert app.conf.timezone is None
    assert app.conf.task_serializer == "json"
    assert app.read == 1


def test_celery_keeps_what_it_read_when_the_check_refuses() -> None:
    """Laneway's ``_settings_error`` could go: Celery would read, and be refused, again."""

    class Refusing(Celery):
        def _load_config(self) -> Any:
            super()._load_config()
            raise RuntimeError

    app = Refusing("c", set_as_current=False, task_serializer="pickle")
    with pytest.raises(RuntimeError):
        app.conf.finalize()
    assert app.conf.task_serializer == "pickle"


def test_what_a_project_set_is_told_from_defaults() -> None:
    """Defaults would be taken for the project's own settings, or the other way round."""
    conf = Celery("c", set_as_current=False, task_acks_late=False).conf
    assert conf.value_set_for("task_acks_late")
    assert not conf.value_set_for("task_routes")


def test_a_namespace_has_spellings_of_its_own() -> None:
    """A namespaced ``broker_url`` would be found before the platform's: the wrong virtual host."""
    app = Celery("c", set_as_current=False, namespace="CELERY")
    app.conf.finalize()
    assert {"CELERY_BROKER_URL", "broker_url"} <= set(app.conf._to_keys("broker_url"))
    assert app.conf.changes is app.conf.maps[0]


# Publishing


def test_send_task_begins_with_the_same_parameters() -> None:
    """A positional call of ``send_task`` would be read wrongly."""
    assert parameters(Celery.send_task)[:9] == parameters(Laneway.send_task)[:9]
    assert parameters(Celery.send_task)[9:11] == ["result_cls", "expires"]


def test_apply_async_begins_with_the_same_parameters() -> None:
    """A positional task id would be taken for something else."""
    assert parameters(Task.apply_async)[:2] == parameters(JobTask.apply_async)[:2]
    assert parameters(JobTask.apply_async)[2:] == ["positional", "options"]


def test_apply_async_ends_in_send_task() -> None:
    """``delay()`` and ``apply_async()`` would go around policy, confirm and deadline."""
    sent: list[tuple[str, dict[str, Any]]] = []
    app = Celery("c", set_as_current=False)
    app.send_task = lambda name, *_, **options: sent.append((name, options))
    task = app.task(name="c.add", shared=False, queue="low", priority=3)(nothing)
    task.apply_async(priority=7)
    [(name, options)] = sent
    assert name == "c.add"
    # decide() tells what the call said from what the task's attributes said.
    assert (options["queue"], options["priority"]) == ("low", 7)


def test_celery_asks_the_given_router() -> None:
    """The policy's decision would not reach the message."""
    asked: list[str] = []

    class Router:
        def route(self, options: dict[str, Any], name: str, *_: Any, **__: Any) -> dict[str, Any]:
            asked.append(name)
            return {**options, "queue": settings.kombu_queue("low"), "priority": 7}

    producer = Recording()
    app = Celery("c", set_as_current=False, task_create_missing_queues=False)
    app.conf.task_queues = [settings.kombu_queue("low")]
    app.send_task("c.add", producer=producer, router=Router(), headers={"laneway_queue": "low"})
    assert asked == ["c.add"]
    [properties] = producer.published
    assert properties["routing_key"] == "low"
    assert properties["priority"] == 7
    assert properties["headers"]["laneway_queue"] == "low"


@pytest.mark.parametrize(
    "sender", [signals.before_task_publish, signals.after_task_publish], ids=["before", "after"]
)
def test_packages_still_hear_of_a_publish(sender: Any) -> None:
    """Sentry and tracing would not see a job being published."""
    heard: list[str] = []

    def listen(sender: str, **_: Any) -> None:
        heard.append(sender)

    sender.connect(listen)
    try:
        Celery("c", set_as_current=False).send_task("c.add", producer=Recording())
    finally:
        sender.disconnect(listen)
    assert heard == ["c.add"]


def test_a_retry_is_marked_as_celerys_own() -> None:
    """A retry would be routed as a new call: refused for its exchange, or on another queue."""
    app = make()
    task = app.task(name="c.add", shared=False)(nothing)
    info = {"exchange": "jobs", "routing_key": "0.0.1.low", "priority": 8, "redelivered": False}
    request = Context(id="1", args=(), kwargs={}, retries=0, delivery_info=info, is_eager=False)
    options = task.signature_from_request(request, (), {}, retries=1).options
    assert "redelivered" in options
    assert options["routing_key"] == "0.0.1.low"
    assert options["priority"] == 8


def test_the_task_that_a_worker_runs_is_known() -> None:
    """A job published by a job would not inherit its priority."""
    app = make()
    task = app.task(name="c.add", shared=False)(nothing)
    assert not app.current_worker_task
    task.push_request(id="1", called_directly=False, delivery_info={"priority": 8})
    _task_stack.push(task)
    try:
        assert app.current_worker_task.request.delivery_info["priority"] == 8
    finally:
        _task_stack.pop()
        task.pop_request()


def test_a_step_of_a_chain_comes_without_a_priority() -> None:
    """A step's ``priority=None`` must mean "nobody said one", or it would be refused."""
    app: Any = make()
    task = app.task(name="c.add", shared=False)(nothing)
    sent: list[dict[str, Any]] = []
    app.send_task = lambda *_, **options: sent.append(options)
    tracer = trace.build_tracer(task.name, task, app=app)
    request = {"chain": [dict(task.si())], "delivery_info": {"priority": 8}, "is_eager": False}
    outcome = tracer("1", (), {}, request)
    assert outcome.info is None
    assert sent[0]["priority"] is None


def test_kombus_producer_takes_what_ours_passes_on() -> None:
    """Deadline, confirm and mandatory would not reach the broker's connection."""
    wanted = {"routing_key", "exchange", "headers", "mandatory", "retry", "timeout"}
    assert wanted | {"confirm_timeout"} <= set(parameters(kombu.Producer.publish))


def test_a_confirm_is_waited_for_and_a_nack_is_an_error() -> None:
    """A full queue would look like an accepted job."""
    channel = amqp.Channel.__new__(amqp.Channel)
    waited: list[float | None] = []

    def wait(_methods: Any, callback: Any, timeout: float | None) -> None:
        waited.append(timeout)
        callback(spec.Basic.Nack)

    vars(channel).update(
        _confirm_selected=True, _basic_publish=lambda *_a, **_k: None, wait=wait, connection=None
    )
    with pytest.raises(MessageNacked):
        channel.basic_publish_confirm(None, confirm_timeout=3)
    assert waited == [3]


def test_the_broker_connection_tells_of_alarms() -> None:
    """BrokerBlocked could not be told from a late confirm."""
    given: dict[str, Any] = {}
    connection = kombu.Connection("pyamqp://", transport_options={"on_blocked": print})

    def connect(**options: Any) -> Any:
        given.update(options)
        return types.SimpleNamespace(connect=lambda: None, transport=None)

    connection.transport.Connection = connect
    connection.transport.establish_connection()
    assert given["on_blocked"] is print
    assert {"on_blocked", "on_unblocked", "confirm_publish"} <= set(parameters(amqp.Connection))
    told: list[str] = []
    with_alarm = amqp.Connection(on_blocked=told.append, on_unblocked=lambda: told.append("free"))
    with_alarm._on_blocked()
    with_alarm._on_unblocked()
    assert told == ["connection blocked, see broker logs", "free"]


def test_a_delay_is_a_prefix_of_the_routing_key() -> None:
    """The queue of a delayed job, or of its retry, would be read wrongly from its routing key."""
    key = calculate_routing_key(5, "low")
    assert key.rsplit(".", 1) == [".".join(f"{5:028b}"), "low"]
    assert calculate_routing_key(1, key).rsplit(".", 1)[-1] == "low"
    with pytest.raises(ValueError, match="positive"):
        calculate_routing_key(0, "low")


def test_what_is_not_to_be_declared_is_not() -> None:
    """Workers and producers would create queues, which only ``topology apply`` may."""
    queue = settings.kombu_queue("low")
    assert queue.no_declare
    assert queue.exchange.no_declare
    assert not queue.exchange._can_declare()


# The short way of a call


class Wire:
    """A transport that keeps what is sent and gives what it was told to."""

    connected = True

    def __init__(self, *answers: tuple[int, int, bytes]) -> None:
        self.answers, self.sent = list(answers), b""

    @contextlib.contextmanager
    def having_timeout(self, _seconds: float) -> Iterator[None]:
        yield

    def write(self, data: bytes) -> None:
        self.sent += data

    def read_frame(self) -> tuple[int, int, bytes]:
        return self.answers.pop(0)


def wired(*answers: tuple[int, int, bytes]) -> Any:
    """An open channel over a :class:`Wire`."""
    connection = amqp.Connection()
    connection.transport = Wire(*answers)
    connection.on_inbound_frame = connection.frame_handler_cls(
        connection, connection.on_inbound_method
    )
    return amqp.Channel(connection, 1, auto_decode=False)


def test_a_transport_is_written_and_read_by_frames() -> None:
    """Messages that are written already could not be sent, nor their confirms read."""
    for transport in (amqp.transport.TCPTransport, amqp.transport.SSLTransport):
        assert parameters(transport.write) == ["s"]
        assert parameters(transport.having_timeout) == ["timeout"]
        assert parameters(transport.read_frame) == ["unpack"]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        transport = amqp.transport.TCPTransport("nowhere")
        transport.sock = ours
        transport._setup_transport()
        theirs.sendall(struct.pack(">BHI", 1, 7, 3) + b"abc" + b"\xce")
        assert transport.read_frame() == (1, 7, b"abc")
        transport.write(b"xyz")
        assert theirs.recv(9) == b"xyz"
        with pytest.raises(TimeoutError), transport.having_timeout(0.001):
            transport.read_frame()
        transport.sock = None


def test_a_transport_keeps_what_it_read_too_much_in_a_buffer() -> None:
    """What comes with a confirm, or instead of one, would be lost."""
    for transport in (amqp.transport.TCPTransport, amqp.transport.SSLTransport):
        assert "self._quick_recv = self.sock." in inspect.getsource(transport._setup_transport)
        source = inspect.getsource(transport._read)
        assert "rbuf = self._read_buffer" in source
        assert "self._read_buffer = rbuf" in source
    tcp = amqp.transport.TCPTransport("nowhere")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        tcp.sock = ours
        tcp._setup_transport()
        assert tcp._read_buffer == b""
        frame = struct.pack(">BHI", 1, 7, 3) + b"abc" + b"\xce"
        theirs.sendall(frame[5:])
        tcp._read_buffer = frame[:5]
        assert tcp.read_frame() == (1, 7, b"abc")
        theirs.sendall(frame)
        assert tcp._quick_recv(4096) == frame
        tcp.sock = None


def test_a_setting_is_found_in_the_maps_under_its_names() -> None:
    """The shortcut would publish what should run eagerly."""
    conf = make().conf
    conf.finalize()
    names = conf._to_keys("task_always_eager")
    assert {"task_always_eager", "CELERY_ALWAYS_EAGER"} <= set(names)
    assert any(name in settings for settings in conf.maps for name in names)
    for name in names:
        conf[name] = True
        assert conf.task_always_eager
        assert conf.maps[0][name]
        del conf[name]


def test_celerys_call_is_not_wrapped() -> None:
    """Every call would go the longest way, as if a tracing package had wrapped it."""
    assert not hasattr(Task.apply_async, "__wrapped__")
    assert not hasattr(Celery.send_task, "__wrapped__")


def test_a_tasks_options_are_collected_once() -> None:
    """The shortcut would keep a plan after they changed, or never find one."""
    app = make()
    app.task(name="c.add", shared=False)(nothing)
    task = app.tasks["c.add"]
    assert task._get_exec_options() is task._get_exec_options()


def test_a_call_does_in_celery_what_the_shortcut_does() -> None:
    """What a new Celery does to a call of a task would be passed over."""
    source = inspect.getsource(Task.apply_async).rpartition('"""')[2]
    assert re.findall(r"self\.(\w+)", source) == [
        "soft_time_limit", "time_limit", "soft_time_limit", "time_limit", "typing", "__header__",
        "__v2_compat__", "shadow_name", "shadow_name", "_get_exec_options",
        "_dump_pydantic_arguments", "_dump_pydantic_arguments", "ignore_result", "_get_app",
        "apply", "name", "AsyncResult",
    ]  # fmt: skip
    assert not Task.__v2_compat__
    assert inspect.getsource(Task.delay).rstrip().endswith("return self.apply_async(args, kwargs)")


def test_what_is_no_confirm_is_given_back_to_amqp() -> None:
    """A returned message, an alarm or a closed channel would be taken for nothing."""
    told: list[str] = []
    channel = wired()
    connection = channel.connection
    assert connection.channels[1] is channel
    connection.on_blocked = told.append
    connection.on_inbound_frame((1, 0, struct.pack(">HH", 10, 60) + b"\x03low"))
    assert told == ["connection blocked, see broker logs"]
    connection.on_inbound_frame((8, 0, b""))
    returned = struct.pack(">HHH", 60, 50, 312) + b"\x08NO_ROUTE\x04jobs\x03low"
    connection.on_inbound_frame((1, 1, returned))
    with pytest.raises(amqp.exceptions.AMQPError) as caught:
        connection.on_inbound_frame((2, 1, struct.pack(">HHQH", 60, 0, 0, 0)))
    assert caught.value.reply_code == 312


def test_a_channel_names_its_connection_and_number() -> None:
    """A message would be sent on another channel than the one that confirms."""
    channel = wired()
    assert channel.channel_id == 1
    assert channel.connection.frame_max == 131072
    assert parameters(amqp.Channel.confirm_select) == ["nowait"]


def test_celery_makes_its_messages_in_one_place() -> None:
    """A project's own protocol would be passed over."""
    app = make()
    assert type(app.amqp) is AMQP
    assert app.amqp.task_protocols[2].__func__ is AMQP.as_task_v2
    assert (app.amqp.argsrepr_maxsize, app.amqp.kwargsrepr_maxsize) == (1024, 1024)


def test_a_tasks_options_are_merged_as_we_merge_them() -> None:
    """A call by name would lose the limits of its task."""
    task = make().task(name="c.add", shared=False, time_limit=9)(nothing)
    own = task._get_exec_options()
    assert own["time_limit"] == 9
    assert {"queue", "priority", "soft_time_limit", "expires", "serializer"} <= set(own)
    source = inspect.getsource(Celery.send_task)
    assert "inspect.ismethod(get_exec_options)" in source
    assert "dict(filtered_opts, **options)" in source


def test_what_a_message_holds_is_what_we_prepare() -> None:
    """A header that a new Celery adds would be missing."""
    headers, properties, body, _ = make().amqp.as_task_v2("1", "c.add")
    assert list(headers) == [
        "lang", "task", "id", "shadow", "eta", "expires", "group", "group_index", "retries",
        "timelimit", "root_id", "parent_id", "argsrepr", "kwargsrepr", "origin", "ignore_result",
        "replaced_task_nesting", "stamped_headers", "stamps",
    ]  # fmt: skip
    assert properties == {"correlation_id": "1", "reply_to": ""}
    assert list(body[2]) == ["callbacks", "errbacks", "chain", "chord"]
    assert parameters(Celery.send_task)[9:] == [
        "result_cls", "expires", "publisher", "link", "link_error", "add_to_parent", "group_id",
        "group_index", "retries", "chord", "reply_to", "time_limit", "soft_time_limit", "root_id",
        "parent_id", "route_name", "shadow", "chain", "task_type", "replaced_task_nesting",
        "options",
    ]  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"queue": "low"}, {"shadow": "x", "time_limit": None}])
def test_a_signature_hands_over_what_apply_async_would(options: dict[str, Any]) -> None:
    """A job of ``publish_many`` would differ from the same job of ``apply_async``."""
    app = make()
    app.task(name="c.add", shared=False, typing=False, time_limit=9, priority=3)(nothing)
    task = app.tasks["c.add"]
    handed: list[dict[str, Any]] = []
    app.send_task = lambda *_, **given: handed.append(given)  # type: ignore[method-assign]
    task.apply_async((1,), {}, **options)
    ours = app._sender.options_of(task, (1,), {}, options)
    assert ours is not None
    own = {"task_id", "producer", "result_cls"}
    celerys = {key: value for key, value in handed[0].items() if key not in own}
    assert {k: v for k, v in ours.items() if v is not None} == {
        k: v for k, v in celerys.items() if v is not None
    }
    assert ours["task_type"] is task


def test_what_a_task_does_with_its_arguments_is_done() -> None:
    """Wrong arguments would be published, and pydantic models or other names lost."""
    app = make()

    class Named(JobTask):
        def shadow_name(self, args: Any, kwargs: Any, options: Any) -> str:
            return "another"

    def takes_one(one: int) -> int:
        return one

    app.task(name="c.strict", shared=False)(takes_one)
    app.task(name="c.named", shared=False, base=Named)(nothing)
    app.task(name="c.limited", shared=False, soft_time_limit=9, time_limit=3)(nothing)
    strict, named, limited = (app.tasks[f"c.{name}"] for name in ("strict", "named", "limited"))
    with pytest.raises(TypeError, match="argument"):
        app._sender.options_of(strict, (1, 2), {}, {})
    assert app._sender.options_of(strict, (1,), {}, {}) is not None
    assert strict._dump_pydantic_arguments is None
    assert app._sender.options_of(named, (), {}, {}) is None
    assert app._sender.options_of(limited, (), {}, {}) is None


def test_kombu_composes_a_message_without_a_connection() -> None:
    """What only Celery writes could not go with a batch."""
    from kombu.transport.pyamqp import Channel

    assert parameters(Channel.prepare_message)[:6] == [
        "body", "priority", "content_type", "content_encoding", "headers", "properties",
    ]  # fmt: skip
    taken: list[Any] = []
    connection = kombu.Connection("pyamqp://")
    composer = kombu.Producer(_Composer(connection, taken.append), auto_declare=False)
    composer.publish(
        b"{}", "low", exchange="jobs", headers={"a": 1}, content_type="application/json",
        content_encoding="utf-8", delivery_mode=2, priority=7, expiration=1.5, correlation_id="i",
    )  # fmt: skip
    assert composer.connection is connection
    [publish] = taken
    read = amqp.Message()
    read._load_properties(60, publish.properties, 0)
    assert read.properties == {
        "application_headers": {"a": 1}, "content_type": "application/json", "priority": 7,
        "content_encoding": "utf-8", "delivery_mode": 2, "expiration": "1500",
        "correlation_id": "i",
    }  # fmt: skip
    assert publish.method == frames.publish_method("jobs", "low")
    assert publish.body == b"{}"


@pytest.mark.parametrize(
    ("event", "method", "told"),
    [("basic_ack", 80, [(5, True)]), ("basic_nack", 120, [(5, True)])],
)
def test_a_channel_tells_of_confirms_that_amqp_read(event: str, method: int, told: Any) -> None:
    """A batch would wait for ever for a confirm that py-amqp took."""
    channel = wired()
    heard: list[tuple[int, bool]] = []
    channel.events[event].add(lambda *given: heard.append(given))
    payload = struct.pack(">HHQB", 60, method, 5, 1)
    channel.connection.on_inbound_frame((1, 1, payload))
    assert heard == told


def test_a_channel_tells_of_returned_messages() -> None:
    """A job that no queue got would be taken for accepted."""
    channel = wired()
    heard: list[Any] = []
    channel.events["basic_return"].add(lambda *given: heard.append(given))
    returned = struct.pack(">HHH", 60, 50, 312) + b"\x08NO_ROUTE\x04jobs\x03low"
    channel.connection.on_inbound_frame((1, 1, returned))
    header = struct.pack(">HHQH", 60, 0, 0, 0x0400) + b"\x02id"
    channel.connection.on_inbound_frame((2, 1, header))
    [(error, exchange, key, message)] = heard
    assert (error.reply_code, exchange, key) == (312, "jobs", "low")
    assert message.properties["correlation_id"] == "id"


def test_most_backends_need_nothing_of_the_producer() -> None:
    """Results would never arrive."""
    assert Backend.on_task_call(None, None, "1") == {}
    source = inspect.getsource(RedisBackend.on_task_call)
    assert "producer" not in source.partition(":")[2]


def test_a_worker_gets_a_result_backend_of_its_own() -> None:
    """Redis away would end processes, and make dead letters of finished work."""
    app = make(backend="redis://127.0.0.1:1/0")
    assert type(app.backend) is JobRedisBackend
    app.late_results = LateResults(lambda *_: None)
    app.loader.override_backends = {
        name: _BACKENDS[place] for name, place in app.loader.override_backends.items()
    }
    app._backend = app._get_backend()
    with ThreadPoolExecutor(1) as threads:
        kinds = [type(app.backend), threads.submit(lambda: type(app.backend)).result()]
    assert kinds == [PatientRedisBackend] * 2
    assert set(settings.BACKENDS) == {
        name for name, place in BACKEND_ALIASES.items() if place.startswith("celery.backends.redis")
    }


def test_a_publish_does_not_need_redis() -> None:
    """A call would take 20 seconds while Redis is away, and publish nothing."""
    backend = make(backend="redis://127.0.0.1:1/0").backend
    began = time.monotonic()
    assert backend.on_task_call(None, "1") == {}
    assert time.monotonic() - began < 1
    # Whoever wants the result listens then.
    assert "self.result_consumer.consume_from(" in inspect.getsource(
        AsyncBackendMixin._add_pending_result
    )
    assert "self._add_pending_result(" in inspect.getsource(AsyncBackendMixin.add_pending_result)


def test_how_often_redis_is_tried_can_be_said_for_one_write() -> None:
    """A result would be waited for 20 seconds."""
    app = make(backend="redis://127.0.0.1:1/0")
    began = time.monotonic()
    with pytest.raises(RedisConnectionError):
        app.backend.set(b"a", b"b", max_retries=0)
    assert time.monotonic() - began < 1


def test_a_chain_that_fails_asks_for_states() -> None:
    """Of a step of a chain Redis could not say whether it failed before, and nothing would."""
    assert "self.get_state(" in inspect.getsource(Backend._fail_chain)
    assert "self._fail_chain(" in inspect.getsource(Backend.mark_as_failure)


def test_the_claim_of_a_chord_runs_out() -> None:
    """A count that broke off would be tried again too early, and take the claim for another's."""
    source = inspect.getsource(RedisBackend)
    assert "claim_expires = max(5, int(join_timeout * 2))" in source
    assert "math.ceil((retries + 1) * timeout + waits + max(timeout, 1))" in source


# The worker


def test_the_steps_of_celerys_consumer_are_those_we_know() -> None:
    """A new step would be missing from our list; it must be taken in or left out on purpose."""
    ours = [
        step.replace(
            "laneway.worker.remote_control:Remote", "celery.worker.consumer.control:"
        ).replace("laneway.worker.heart", "celery.worker.consumer.heart")
        for step in JobConsumer.Blueprint.default_steps
        if not step.endswith(":PauseWatch")
    ]
    left_out = {"mingle:Mingle", "gossip:Gossip", "delayed_delivery:DelayedDelivery"}
    assert ours == [
        step
        for step in Consumer.Blueprint.default_steps
        if step.removeprefix("celery.worker.consumer.") not in left_out
    ]
    assert len(Consumer.Blueprint.default_steps) == len(ours) + len(left_out)


@pytest.mark.parametrize(
    ("hook", "takes"),
    [
        ("on_decode_error", ["message", "exc"]),
        ("on_unknown_message", ["body", "message"]),
        ("on_unknown_task", ["body", "message", "exc"]),
        ("on_invalid_task", ["body", "message", "exc"]),
    ],
)
def test_the_consumers_hooks(hook: str, takes: list[str]) -> None:
    """What Celery cannot read would be acknowledged and lost instead of quarantined."""
    assert parameters(getattr(Consumer, hook)) == takes
    assert parameters(getattr(JobConsumer, hook)) == takes
    if hook != "on_decode_error":
        assert f"self.{hook}" in inspect.getsource(Consumer.create_task_handler)


def test_a_consumer_connects_in_one_place() -> None:
    """A worker would consume without having looked at the broker."""
    from celery.worker.consumer.connection import Connection

    assert parameters(Consumer.connect) == parameters(JobConsumer.connect) == []
    made = kombu.Connection("memory://")
    consumer = types.SimpleNamespace(connect=lambda: made, connection=None)
    Connection.start(types.SimpleNamespace(), consumer)
    assert consumer.connection is made


def test_a_queue_can_be_left_and_taken_up_again() -> None:
    """Pausing a queue would not hold its workers still."""
    app = make(broker="amqp://nobody:here@nowhere")
    queues = app.amqp.queues
    assert list(queues.consume_from) == ["default", "high", "low"]
    queues.select(["low"])
    queues.deselect(["low"])
    assert list(queues.consume_from) == []
    assert parameters(Consumer.cancel_task_queue) == ["queue"]
    assert parameters(Consumer.add_task_queue)[0] == "queue"
    assert parameters(Consumer.call_soon) == ["p", "args", "kwargs"]


def test_the_profile_makes_delays_wait_in_the_broker() -> None:
    """Delayed jobs and retries would wait in a worker's memory and hold its slots."""
    app = make(broker="amqp://nobody:here@nowhere")
    found, _ = detect_quorum_queues(app, "amqp")
    assert found
    with app.connection_for_write() as connection:
        assert connection.transport.driver_type == "amqp"


def test_a_consumer_makes_its_handler_in_one_place() -> None:
    """A broken message could end the worker."""
    assert parameters(Consumer.create_task_handler) == ["promise"]
    from celery.worker import loops

    assert "create_task_handler()" in inspect.getsource(loops)


def test_a_message_is_rejected_without_requeue_unless_asked() -> None:
    """A quarantined message would come back for ever instead of going to the dead inbox."""
    assert inspect.signature(Message.reject_log_error).parameters["requeue"].default is False
    assert inspect.signature(Request.reject).parameters["requeue"].default is False


def test_requests_are_made_of_the_tasks_own_class() -> None:
    """A hard time limit would acknowledge the job away, and a queue's limits would not hold."""
    assert Task.Request == "celery.worker.request:Request"
    assert "symbol_by_name(task.Request)" in inspect.getsource(strategy.default)


@pytest.mark.parametrize("hook", ["on_timeout", "on_failure"])
def test_the_requests_hooks(hook: str) -> None:
    """Dead letters of time limits would not be made."""
    assert parameters(getattr(JobRequest, hook)) == parameters(getattr(Request, hook))


def test_py_amqp_takes_a_frame_handler() -> None:
    """A message whose properties cannot be decoded would end the connection again and again."""
    assert "frame_handler" in parameters(amqp.Connection.__init__)
    made = inspect.getsource(amqp.Connection.connect)
    assert "self.frame_handler_cls(" in made
    assert parameters(amqp.Message.inbound_header) == ["buf", "offset"]
    assert "self.Message(raw_message, channel=self)" in inspect.getsource(
        pyamqp.Channel.message_to_python
    )
    assert "self.Connection(**opts)" in inspect.getsource(pyamqp.Transport.establish_connection)


def test_kombu_decompresses_what_headers_say() -> None:
    """If it stops doing that, JobMessage need not keep the headers from it."""
    assert "decompress(body, compression)" in inspect.getsource(Message.__init__)
    assert parameters(Message.decode) == []
    assert "self.decode()" in inspect.getsource(Message.payload.fget)


def test_settling_from_beside_the_loop() -> None:
    """Letters would be settled in a thread that must not use the channel, or never."""
    assert parameters(Consumer.call_soon_ack) == ["p", "args", "kwargs"]
    stopped = inspect.getsource(WorkController.on_stopped)
    assert "self.consumer.shutdown()" in stopped
    assert parameters(WorkController.on_stopped) == []


@pytest.mark.parametrize("hook", ["reject", "acknowledge", "maybe_expire"])
def test_the_requests_ends(hook: str) -> None:
    """A final failure would be no dead letter."""
    assert parameters(getattr(JobRequest, hook)) == parameters(getattr(Request, hook))
    assert "self.maybe_expire()" in inspect.getsource(Request.revoked)
    assert "self.reject(requeue=False)" in inspect.getsource(Request.on_failure)
    assert isinstance(inspect.getattr_static(Request, "message"), property)


def test_a_requests_limits_are_an_attribute() -> None:
    """The time limits of the queue's file would not reach the pool."""
    assert Request.time_limits == (None, None)
    assert isinstance(inspect.getattr_static(JobRequest, "time_limits"), property)
    assert "self.time_limits" in inspect.getsource(Request.execute_using_pool)
    assert {"_app", "_task"} <= set(Request.__init__.__code__.co_names)


def test_a_request_is_settled_once() -> None:
    """Celery would acknowledge what was rejected just before, and the channel would close."""
    assert "if not self.acknowledged" in inspect.getsource(Request.acknowledge)
    assert "if not self.acknowledged" in inspect.getsource(Request.reject)


def test_the_workers_hook_comes_first() -> None:
    """The worker would be set up before it knows its queue."""
    order = inspect.getsource(Worker.__init__)
    assert order.index("on_before_init") < order.index("setup_defaults") < order.index("setup_inst")
    assert parameters(JobWorker.on_before_init) == ["quiet", "options"]


def test_the_application_names_its_worker() -> None:
    """``celery -A … worker`` would start Celery's own worker, without any promise."""
    assert issubclass(make().Worker, JobWorker)
    from celery.bin import worker

    assert "app.Worker(" in inspect.getsource(worker)


def test_celerys_command_is_recognised() -> None:
    """Errors of ``celery -A …`` would be tracebacks."""
    from celery.bin.celery import celery as command

    assert celery_command.context_of_celerys_command() is None
    with click.Context(command) as root, click.Context(command.commands["worker"], parent=root):
        found = celery_command.context_of_celerys_command()
        assert found is not None
        assert found.parent is root


def test_celerys_command_says_whether_a_pool_was_named() -> None:
    """A queue whose file names another pool would be served by prefork processes."""
    from celery.bin.celery import celery as command

    [option] = [one for one in command.commands["worker"].params if "--pool" in one.opts]
    assert option.name == "pool"
    assert option.default == "prefork"


def test_a_backend_ends_a_job_that_nobody_ran() -> None:
    """The keeper writes FAILURE with the job's request: its chord and chain end with it."""
    known = parameters(Backend.mark_as_failure)
    assert known[:2] == ["task_id", "exc"]
    assert {"request", "store_result"} <= set(known)
    assert parameters(Backend.get_task_meta) == ["task_id", "cache"]
    # Else a keeper that was killed in the middle would count a member of a chord twice.
    source = inspect.getsource(RedisBackend.on_chord_part_return)
    assert "args=[tid, encoded" in source
    assert "readycount == -1" in source


def test_a_job_is_done_when_its_hook_of_success_is_called() -> None:
    """``once=`` would take for done what has neither a result nor its next step."""
    from celery.app import trace

    source = inspect.getsource(trace.build_tracer)
    traced = source[source.index("R = retval = fun(") :]
    order = ["_dispatch_callbacks_and_chain(", "mark_as_done(", "task_on_success(", "pop_request()"]
    places = [traced.index(one) for one in order]
    assert places == sorted(places)
    assert "retval=retval" in traced[traced.index("send_postrun(") :]


def test_a_task_hears_of_its_application() -> None:
    """``once=`` and ``unique=`` would be ignored in silence."""
    assert "cls.on_bound(app)" in inspect.getsource(Task.bind)
    assert "task.bind(self)" in inspect.getsource(Celery._task_from_fun)
    assert parameters(Task.apply_async) == [
        "args", "kwargs", "task_id", "producer", "link", "link_error", "shadow", "options",
    ]  # fmt: skip


def test_a_crontab_keeps_how_it_was_written() -> None:
    """Sentry would expect a scheduled job at other times, or not at all."""
    when = crontab(minute="*/5", hour=7, day_of_week="mon", month_of_year={1, 2})
    assert (when._orig_minute, when._orig_hour, when._orig_day_of_month) == ("*/5", 7, "*")
    assert (when._orig_day_of_week, when._orig_month_of_year) == ("mon", {1, 2})
    assert (when.day_of_week, when.month_of_year) == ({1}, {1, 2})


def test_a_retry_keeps_the_headers_of_the_attempt_before() -> None:
    """A scheduled job that is retried would never check out, and a trace would end."""
    task = make().task(name="c.add", shared=False)(nothing)
    given = {"id": "1", "task": "c.add", "sentry-trace": "a-b-1", "periodic_task_name": "nightly"}
    request = Context(given, args=(), kwargs={}, retries=0, delivery_info={})
    headers = task.signature_from_request(request, (), {}, retries=1).options["headers"]
    assert headers["sentry-trace"] == "a-b-1"
    assert headers["periodic_task_name"] == "nightly"
