"""Each end of a job is one event, whoever sees it: on Celery's pools and in the direct one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sentry_sdk
from billiard.einfo import ExceptionInfo
from billiard.exceptions import TimeLimitExceeded
from celery import signals
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from kombu.exceptions import EncodeError
from sentry_sdk.scope import Scope

from laneway.sentry.event import event_id_of
from laneway.worker import reporting, telling
from laneway.worker.direct.message import original_of
from laneway.worker.direct.runner import Job, Runner
from laneway.worker.letters import Failure, LetterWriter
from laneway.worker.request import JobRequest
from support.ends import delivery, make_app, message, serve
from support.sentry import DSN, Outbox, make_reporter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from laneway import Laneway
    from laneway.deadletter.letter import Letter

CANARY = "canary-4242-4242"


class Unpicklable(ValueError):
    """Cannot be made of its ``args``: Celery's pools see a ValueError."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


@pytest.fixture(scope="module")
def app() -> Laneway:
    app = make_app("sentry-ends", backend="cache+memory://")

    def task(name: str, **options: Any) -> Any:
        return app.task(name=f"ends.{name}", shared=False, **options)

    @task("well")
    def well() -> None:
        """Ends well."""

    @task("badly")
    def badly(card: str) -> None:
        raise KeyError(card)

    @task("unpicklable")
    def unpicklable() -> None:
        raise Unpicklable("one", "two")

    @task("memory")
    def memory() -> None:
        raise MemoryError

    @task("soft")
    def soft() -> None:
        raise SoftTimeLimitExceeded

    @task("thrown", throws=(LookupError,))
    def thrown() -> None:
        raise KeyError("expected")

    @task("reject")
    def reject() -> None:
        raise Reject(LookupError("not for us"), requeue=False)

    @task("ignore")
    def ignore() -> None:
        raise Ignore

    @task("unserialisable", ignore_result=False)
    def unserialisable() -> Any:
        return object()

    @task("exhausted", bind=True, max_retries=0)
    def exhausted(self: Any, card: str) -> None:
        raise self.retry()

    return serve(app)


@pytest.fixture(autouse=True)
def clean_sdk(app: Laneway) -> Iterator[None]:
    yield
    # A new one is told of no scopes.
    telling.connect(app, "low", "low@here")
    reporting._disconnect()
    app.reporter = None
    sentry_sdk.get_global_scope().set_client(None)
    Scope.set_isolation_scope(None)  # type: ignore[arg-type]
    Scope.set_current_scope(None)  # type: ignore[arg-type]


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


@pytest.fixture
def posted(monkeypatch: pytest.MonkeyPatch) -> list[Letter]:
    letters: list[Letter] = []

    def post(_app: Any, letter: Letter, *_: Any) -> None:
        letters.append(letter)

    monkeypatch.setattr("laneway.deadletter.postbox.post", post)
    return letters


def start(app: Laneway, outbox: Outbox, monkeypatch: pytest.MonkeyPatch, *, direct: bool) -> None:
    monkeypatch.setattr(reporting, "reporter_for", lambda *_, **__: make_reporter(app, outbox))
    teller = telling.connect(app, "low", "low@here")
    reporting.start(app, "low", "low@here", direct=direct, teller=teller)


#: The tasks that take it are called with it.
CALLS = {"ends.badly": [CANARY], "ends.exhausted": [CANARY]}


def run_directly(app: Laneway, task: str) -> None:
    """Run a job as a process of the direct pool does."""
    runner = Runner(app, "low", "low@here")
    given = delivery(task, *CALLS.get(task, []))
    job = runner.read(given)
    assert isinstance(job, Job)
    ran = runner.run(job)
    if ran.failure is not None:
        writer = LetterWriter(app, "low", "low@here")
        writer.bury(job.request, ran.failure, original_of(given), priority=job.priority)


def run_in_a_pool(app: Laneway, task: str) -> None:
    """Run a job as a child of a Celery pool does, and tell its parent."""
    request = {
        "id": "7a",
        "task": task,
        "is_eager": False,
        "delivery_info": {},
    }
    args = CALLS.get(task, [])
    einfo, info, *_ = app.tasks[task].__trace__("7a", args, {}, request)
    if info is not None and info.state != "IGNORED":
        parent(app, task).on_failure(einfo, return_ok=True)


def parent(app: Laneway, task: str) -> JobRequest:
    """The parent's request of the job."""
    given = delivery(task, *CALLS.get(task, []))
    writer = LetterWriter(app, "low", "low@here")

    def bury(failure: Failure) -> None:
        writer.bury(came.headers, failure, original_of(given))

    came = message(task, bury)
    return JobRequest(came, app=app, task=app.tasks[task], hostname="low@here")


def refuse(*_: Any) -> None:
    raise EncodeError("not JSON")


ENDS = [
    ("well", None, None),
    ("badly", "failed", "KeyError"),
    ("unpicklable", "failed", "Unpicklable"),
    ("memory", "failed", "MemoryError"),
    ("soft", "failed", "SoftTimeLimitExceeded"),
    ("thrown", "failed", None),
    ("reject", "rejected", "LookupError"),
    ("ignore", None, None),
    ("unserialisable", "failed", "EncodeError"),
    ("exhausted", "failed", "MaxRetriesExceededError"),
]


@pytest.mark.parametrize("run", [run_directly, run_in_a_pool])
@pytest.mark.parametrize(("task", "outcome", "error"), ENDS)
def test_each_end_is_one_event(
    app: Laneway,
    outbox: Outbox,
    posted: list[Letter],
    monkeypatch: pytest.MonkeyPatch,
    run: Any,
    task: str,
    outcome: str | None,
    error: str | None,
) -> None:
    start(app, outbox, monkeypatch, direct=run is run_directly)
    if task == "unserialisable":
        # As a backend that stores JSON does; this one keeps the object.
        monkeypatch.setattr(app.backend, "mark_as_done", refuse)
    run(app, f"ends.{task}")
    assert [letter.outcome for letter in posted] == ([outcome] if outcome else [])
    events = outbox.events
    assert [event["exception"]["values"][-1]["type"] for event in events] == (
        [error] if error else []
    )
    for event, letter in zip(events, posted, strict=False):
        assert event["event_id"] == letter.event_id == event_id_of("7a.0")
        assert event["tags"]["cause"] == letter.cause
        assert event["tags"]["task"] == f"ends.{task}"
        assert event["contexts"]["job"]["letter"] == letter.id
        if outcome == "failed" and error != "EncodeError":
            frames = event["exception"]["values"][-1]["stacktrace"]["frames"]
            assert any(frame["function"] == task for frame in frames)
            assert "started" in event["contexts"]["job"]
    if task == "thrown":
        assert posted[0].event_id is None
    assert CANARY.encode() not in outbox.bytes


@pytest.mark.parametrize("direct", [True, False])
def test_a_hard_limit_is_one_event(
    app: Laneway,
    outbox: Outbox,
    posted: list[Letter],
    monkeypatch: pytest.MonkeyPatch,
    direct: bool,
) -> None:
    start(app, outbox, monkeypatch, direct=direct)
    request = parent(app, "ends.badly")
    # Celery tells it twice.
    request.on_timeout(soft=False, timeout=3)
    try:
        raise TimeLimitExceeded(3)
    except TimeLimitExceeded:
        request.on_failure(ExceptionInfo())
    assert [letter.outcome for letter in posted] == ["time-limit"]
    [event] = outbox.events
    assert event["tags"]["outcome"] == "time-limit"
    assert event["fingerprint"] == ["time-limit", "ends.badly"]


def test_what_goes_wrong_around_the_code(
    app: Laneway, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(app, outbox, monkeypatch, direct=False)
    task = app.tasks["ends.well"]
    for _ in range(2):
        try:
            raise ConnectionError("the backend is away")
        except ConnectionError as error:
            signals.task_internal_error.send(
                sender=task,
                task_id="8b",
                args=[],
                kwargs={},
                request={"id": "8b", "delivery_info": {"priority": 7}},
                exception=error,
                einfo=ExceptionInfo(),
            )
    [event] = outbox.events
    assert event["event_id"] == event_id_of("8b.0")
    assert event["tags"]["priority"] == "7"
    assert event["exception"]["values"][-1]["type"] == "ConnectionError"


def test_without_a_dsn_there_is_nothing(
    app: Laneway, posted: list[Letter], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LANEWAY_SENTRY_DSN", "LANEWAY_SENTRY_SECURE_DSN"):
        monkeypatch.delenv(name, raising=False)
    teller = telling.connect(app, "low", "low@here")
    reporting.start(app, "low", "low@here", direct=True, teller=teller)
    assert app.reporter is None
    assert teller.at_start is None
    assert not [one for one in signals.task_failure.receivers if "reporting" in str(one[0])]
    run_directly(app, "ends.badly")
    assert [letter.event_id for letter in posted] == [None]


def test_a_dsn_is_enough(app: Laneway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANEWAY_SENTRY_DSN", DSN)
    teller = telling.connect(app, "low", "low@here")
    reporting.start(app, "low", "low@here", direct=True, teller=teller)
    assert sentry_sdk.get_client().dsn == DSN
    app.reporter.close(0)
