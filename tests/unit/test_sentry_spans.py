"""Spans of publishes and jobs, over the real SDK and a transport that keeps what is sent."""

from __future__ import annotations

import json
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import sentry_sdk
from celery import signals
from celery.app.trace import build_tracer
from celery.exceptions import Ignore
from sentry_sdk.transport import Transport

from laneway import Laneway
from laneway.errors import SettingsError
from laneway.outbox.compose import composing
from laneway.policy import load_policy
from laneway.sentry.config import read_config
from laneway.sentry.spans import UID, JobSpans, PublishSpans
from laneway.sentry.trace import PROCESS, PUBLISH, span_id_of, trace_of
from laneway.worker.direct.properties import decode
from support.workers import POLICY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sentry_sdk.envelope import Envelope

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


class Memory(Transport):
    """Keeps what would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.items: list[dict[str, Any]] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        for item in envelope.items:
            # As it would be read: a value that JSON cannot carry is an error here.
            self.items.append(json.loads(item.get_bytes()))


@pytest.fixture
def sent() -> Iterator[list[dict[str, Any]]]:
    """What the SDK sends in a test."""
    memory = Memory()
    scope = sentry_sdk.get_global_scope()
    before = scope.client
    scope.set_client(
        sentry_sdk.Client(
            dsn="http://key@localhost/1",
            transport=memory,
            default_integrations=False,
            traces_sample_rate=0.0,
        )
    )
    yield memory.items
    scope.set_client(before)


def add(a: int, b: int = 0) -> int:
    return a + b


@pytest.fixture
def app() -> Laneway:
    app = Laneway("tests", policy=load_policy(POLICY), backend="disabled://", set_as_current=False)
    app.tracer = PublishSpans()
    app.task(name="c.add", shared=False)(add)
    app.task(name="vault.pay", shared=False)(add)
    return app


@contextmanager
def request(*, sampled: bool = True) -> Iterator[Any]:
    """A web request that is traced."""
    with sentry_sdk.isolation_scope() as scope:
        transaction = sentry_sdk.tracing.Transaction(
            name="GET /", op="http.server", trace_id=TRACE, sampled=sampled
        )
        with scope.start_transaction(transaction) as running:
            yield running


def headers_of(app: Laneway, call: Callable[[], Any]) -> dict[str, Any]:
    """The headers of the message that a call makes."""
    with composing(app) as composed:
        call()
    [row] = composed.rows
    headers: dict[str, Any] = decode(row.message.properties)["application_headers"]
    return headers


WAYS: dict[str, Callable[[Laneway], Any]] = {
    "apply_async": lambda app: app.tasks["c.add"].apply_async((1,), task_id="j-1"),
    "by name": lambda app: app.send_task("c.add", (1,), task_id="j-1"),
    "celery's own way": lambda app: app.tasks["c.add"].apply_async(
        (1,), task_id="j-1", headers={"tenant": 7}
    ),
    "a delay": lambda app: app.tasks["c.add"].apply_async((1,), task_id="j-1", countdown=60),
    "a signature": lambda app: app.tasks["c.add"].s(1).set(task_id="j-1").apply_async(),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_publish_in_a_trace_carries_it_and_has_a_span(
    way: str, app: Laneway, sent: list[dict[str, Any]]
) -> None:
    with request():
        headers = headers_of(app, lambda: WAYS[way](app))
    [transaction] = sent
    [span] = transaction["spans"]
    assert span["op"] == PUBLISH
    assert span["description"] == "c.add"
    assert headers["sentry-trace"] == f"{TRACE}-{span['span_id']}-1"
    assert f"sentry-trace_id={TRACE}" in headers["baggage"]
    assert list(headers)[-2:] == ["sentry-trace", "baggage"]
    data = span["data"]
    assert data["messaging.system"] == "rabbitmq"
    assert data["messaging.destination.name"] == "default"
    assert data["messaging.message.id"] == "j-1"
    body = '[[1], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
    assert data["messaging.message.body.size"] == len(body)


@pytest.mark.parametrize("way", WAYS)
def test_a_publish_without_a_trace_carries_none(
    way: str, app: Laneway, sent: list[dict[str, Any]]
) -> None:
    assert "sentry-trace" not in headers_of(app, lambda: WAYS[way](app))
    assert sent == []


def test_a_trace_that_is_not_sampled_goes_on_without_spans(
    app: Laneway, sent: list[dict[str, Any]]
) -> None:
    with request(sampled=False):
        headers = headers_of(app, lambda: app.tasks["c.add"].delay(1))
    assert headers["sentry-trace"].startswith(TRACE)
    assert headers["sentry-trace"].endswith("-0")
    assert sent == []


@pytest.mark.parametrize(
    "call",
    [
        lambda app: app.tasks["vault.pay"].delay(1),
        lambda app: app.tasks["vault.pay"].apply_async(
            (1,),
            headers={
                "sentry-trace": f"{TRACE}-{PARENT}-1",
                "Baggage": "sentry-release=7",
                "traceparent": "00",
                "tenant": 7,
                "headers": {"sentry-trace": "x", "tenant": 8},
            },
        ),
    ],
    ids=["plain", "with headers of a package that traces"],
)
def test_a_secure_job_carries_nothing_of_a_trace(
    call: Callable[[Laneway], Any], app: Laneway, sent: list[dict[str, Any]]
) -> None:
    with request():
        headers = headers_of(app, lambda: call(app))
    told = json.dumps(headers).lower()
    for word in ("sentry", "baggage", "traceparent", TRACE):
        assert word not in told
    assert headers.get("tenant", 7) == 7
    assert headers.get("headers", {"tenant": 8}) == {"tenant": 8}
    [transaction] = sent
    assert transaction["spans"] == []


def test_a_refused_publish_is_an_error_of_its_span(
    app: Laneway, sent: list[dict[str, Any]]
) -> None:
    followed = app.tracer
    assert followed is not None
    with request():
        one = followed.follow("c.add", "j-1", "low", retries=2)
        assert one is not None
        one.end(7, ConnectionError())
    [span] = sent[0]["spans"]
    assert span["status"] == "internal_error"
    assert span["data"]["messaging.message.retry.count"] == 2


def test_the_sdks_own_integration_is_left_alone(
    app: Laneway,
    worked: Callable[..., Any],
    sent: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sentry_sdk.get_client().integrations, "celery", object())
    with request():
        assert "sentry-trace" not in headers_of(app, lambda: app.tasks["c.add"].delay(1))
    sent.clear()
    worked(body, 1.0)
    assert sent == []


def test_a_tracer_that_fails_disturbs_no_publish(
    app: Laneway,
    sent: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("what the SDK does")

    monkeypatch.setattr(sentry_sdk, "get_current_scope", broken)
    for _ in range(2):
        assert "sentry-trace" not in headers_of(app, lambda: app.tasks["c.add"].delay(1))
    assert caplog.text.count("a publish is not traced") == 1


# -- jobs --------------------------------------------------------------------------------------


@pytest.fixture
def worked(app: Laneway) -> Iterator[Callable[..., Any]]:
    """Runs a job as a worker does."""

    def work(code: Callable[..., Any], rate: float = 0.0, **headers: Any) -> JobSpans:
        spans = JobSpans(app, "low", rate)

        def started(task: Any, **_: Any) -> None:
            spans.started(task, vars(task.request))

        signals.task_prerun.connect(started, weak=False, dispatch_uid="test")
        task = app.task(name="c.job", shared=False, bind=True, max_retries=3)(code)
        given = {
            "id": "j-1",
            "root_id": "j-1",
            "retries": 0,
            "delivery_info": {"priority": 4},
            "is_eager": False,
            "ignore_result": True,
            "callbacks": None,
            **headers,
        }
        build_tracer("c.job", task, app=app)(given["id"], [1], {}, given)
        assert not spans._running
        assert UID not in str(signals.task_postrun.receivers)
        return spans

    yield work
    signals.task_prerun.disconnect(dispatch_uid="test")


def body(_self: Any, _value: int) -> None:
    """A task's code."""


def test_a_job_goes_on_with_the_trace_that_it_came_with(
    worked: Callable[..., Any], sent: list[dict[str, Any]]
) -> None:
    given = {
        "sentry-trace": f"{TRACE}-{PARENT}-1",
        "baggage": f"sentry-trace_id={TRACE},sentry-sample_rate=0.25,sentry-release=7",
        "retries": 1,
    }
    worked(body, **given)
    [transaction] = sent
    assert transaction["type"] == "transaction"
    assert transaction["transaction"] == "c.job"
    assert transaction["transaction_info"] == {"source": "task"}
    trace = transaction["contexts"]["trace"]
    assert (trace["trace_id"], trace["parent_span_id"]) == (TRACE, PARENT)
    assert (trace["op"], trace["status"]) == (PROCESS, "ok")
    assert trace["data"]["messaging.destination.name"] == "low"
    assert trace["data"]["messaging.message.id"] == "j-1"
    assert trace["data"]["messaging.message.retry.count"] == 1
    empty = '[[1], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
    assert trace["data"]["messaging.message.body.size"] == len(empty)
    assert trace["span_id"] == span_id_of({"id": "j-1", **given})


def test_latency_begins_when_the_job_could_start(
    worked: Callable[..., Any], sent: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 1_000.25)
    worked(body, 1.0, laneway_ready_at=1_000.0, eta="2030-01-01T00:00:00+00:00")
    worked(body, 1.0, laneway_ready_at=1_001.0)
    worked(body, 1.0)
    data = [one["contexts"]["trace"]["data"] for one in sent]
    latencies = [one.get("messaging.message.receive.latency") for one in data]
    assert latencies == [250.0, 0.0, None]


def test_a_trace_that_is_not_sampled_is_not_sampled_here(
    worked: Callable[..., Any], sent: list[dict[str, Any]]
) -> None:
    worked(body, 1.0, **{"sentry-trace": f"{TRACE}-{PARENT}-0"})
    assert sent == []


def test_all_jobs_of_a_workflow_are_sampled_or_none(
    worked: Callable[..., Any], sent: list[dict[str, Any]]
) -> None:
    roots = [str(uuid.UUID(int=number * 7919)) for number in range(400)]
    for root in roots:
        worked(body, 0.25, id=f"{root}-a", root_id=root)
    first = {one["contexts"]["trace"]["trace_id"] for one in sent}
    assert 60 < len(first) < 140
    assert first <= {uuid.UUID(root).hex for root in roots}
    sent.clear()
    for root in roots:
        worked(body, 0.25, id=f"{root}-b", root_id=root)
    assert {one["contexts"]["trace"]["trace_id"] for one in sent} == first


def test_a_sampled_job_hands_on_its_rate_and_its_span(
    app: Laneway, worked: Callable[..., Any], sent: list[dict[str, Any]]
) -> None:
    seen: list[dict[str, Any]] = []

    def code(_self: Any, _value: int) -> None:
        seen.append(headers_of(app, lambda: app.tasks["c.add"].delay(1)))

    root = next(
        root for root in (str(uuid.UUID(int=n)) for n in range(99)) if trace_sampled(root, 0.5)
    )
    worked(code, 0.5, id=root, root_id=root)
    [transaction] = sent
    [span] = transaction["spans"]
    assert seen[0]["sentry-trace"] == f"{uuid.UUID(root).hex}-{span['span_id']}-1"
    assert "sentry-sample_rate=0.5" in seen[0]["baggage"]


def trace_sampled(root: str, rate: float) -> bool:
    import zlib

    return zlib.crc32(root.encode()) < rate * 2**32


def test_a_job_that_is_not_sampled_hands_on_the_trace_it_came_with(
    app: Laneway, worked: Callable[..., Any], sent: list[dict[str, Any]]
) -> None:
    seen: list[dict[str, Any]] = []

    def code(_self: Any, _value: int) -> None:
        seen.append(headers_of(app, lambda: app.tasks["c.add"].delay(1)))
        seen.append(headers_of(app, lambda: app.tasks["c.add"].apply_async((1,), countdown=9)))

    given = {"sentry-trace": f"{TRACE}-{PARENT}-0", "baggage": "sentry-release=7"}
    worked(code, **given)
    for headers in seen:
        assert {name: headers[name] for name in given} == given
    assert sent == []


def raising(error: Exception) -> Callable[..., None]:
    def code(_self: Any, _value: int) -> None:
        raise error

    return code


def waiting(self: Any, _value: int) -> None:
    raise self.retry(countdown=1)


def failing(self: Any, _value: int) -> None:
    raise self.retry(countdown=1, exc=ConnectionError())


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (body, "ok"),
        (raising(ValueError()), "internal_error"),
        (raising(Ignore()), "ok"),
        (waiting, "ok"),
        (failing, "internal_error"),
    ],
    ids=["success", "failure", "ignored", "a retry to wait", "a retry for an error"],
)
def test_what_becomes_of_a_job_is_the_status(
    code: Callable[..., None],
    status: str,
    app: Laneway,
    worked: Callable[..., Any],
    sent: list[dict[str, Any]],
) -> None:
    with composing(app):
        app.send_task = lambda *_, **__: None  # type: ignore[method-assign]
        worked(code, 1.0)
    assert [one["contexts"]["trace"]["status"] for one in sent] == [status]


def test_a_job_leaves_no_scope_behind(
    worked: Callable[..., Any], sent: list[dict[str, Any]]
) -> None:
    def code(_self: Any, _value: int) -> None:
        sentry_sdk.set_tag("colour", "blue")

    before = sentry_sdk.get_isolation_scope(), sentry_sdk.get_current_scope()
    worked(code, 1.0)
    assert (sentry_sdk.get_isolation_scope(), sentry_sdk.get_current_scope()) == before
    assert sent[0]["tags"] == {"queue": "low", "colour": "blue"}
    assert sentry_sdk.get_current_span() is None


@pytest.mark.parametrize(
    "given",
    [7, "", "x" * 10_000, "00-ab-cd-1", f"{TRACE}-{PARENT}-1\n", b"x", {"a": 1}, f"{TRACE}-1"],
    ids=repr,
)
def test_headers_that_are_no_trace_disturb_nothing(
    given: Any, worked: Callable[..., Any], sent: list[dict[str, Any]]
) -> None:
    worked(body, 1.0, **{"sentry-trace": given, "baggage": given})
    assert trace_of({"root_id": "j-1", "sentry-trace": given}).parent_span_id is None
    for one in sent:
        assert one["contexts"]["trace"]["trace_id"] == trace_of({"root_id": "j-1"}).trace_id


def test_a_job_without_tracing_in_the_sdk_is_not_traced(worked: Callable[..., Any]) -> None:
    memory = Memory()
    with sentry_sdk.new_scope() as scope:
        scope.set_client(
            # (With its default integrations it would wrap Celery for the tests that follow.)
            sentry_sdk.Client(
                dsn="http://key@localhost/1", transport=memory, default_integrations=False
            )
        )
        worked(body, 1.0)
    assert memory.items == []


def test_each_run_has_a_span_of_its_own() -> None:
    runs = [
        {"id": "j-1", "retries": 0},
        {"id": "j-1", "retries": 1},
        {"id": "j-1", "retries": 0, "x-delivery-count": 1},
        {"id": "j-1", "retries": 0, "laneway_replays": 1},
        {"id": "j-2", "retries": 0},
    ]
    assert len({span_id_of(run) for run in runs}) == 5


@pytest.mark.parametrize("rate", [-0.1, 1.1])
def test_a_rate_that_is_none_is_refused(rate: float, app: Laneway) -> None:
    with pytest.raises(ValueError, match="expected a sample rate of 0 to 1 for 'low'"):
        JobSpans(app, "low", rate)


def test_secure_jobs_are_not_traced(app: Laneway) -> None:
    with pytest.raises(ValueError, match="secure"):
        JobSpans(app, "secure", 1.0)


def test_the_settings_turn_traces_and_crons_off() -> None:
    said = {"LANEWAY_SENTRY_TRACES": "0.5,low=off", "LANEWAY_SENTRY_CRONS": "0"}
    config = read_config(("low", "high"), said)
    assert (config.traces_rate("low"), config.traces_rate("high"), config.crons) == (
        None,
        0.5,
        False,
    )
    assert read_config(("low",), {"LANEWAY_SENTRY_TRACES": "off"}).traces_rate("low") is None
    assert read_config(("low",), {}).crons
    with pytest.raises(SettingsError, match="LANEWAY_SENTRY_CRONS: expected 1 or 0, got: 'no'"):
        read_config(("low",), {"LANEWAY_SENTRY_CRONS": "no"})
