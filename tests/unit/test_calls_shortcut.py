"""Which calls of a task take the shortcut, and that nobody can tell them from the others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, Task, _state, shared_task, signals
from celery._state import _task_stack
from celery.backends.base import Backend, DisabledBackend
from celery.result import AsyncResult, EagerResult

from laneway import Laneway
from laneway.calls import sender
from laneway.errors import ArgumentsNotSerializable, PublishTimeout, UnknownQueue
from laneway.policy import load_policy
from laneway.results.redis import JobRedisBackend, JobSentinelBackend
from laneway.task import JobTask
from support.workers import POLICY

if TYPE_CHECKING:
    from collections.abc import Callable

    from laneway.facts import Fact


def add(a: int, b: int = 0) -> int:
    return a + b


class Recorded(Laneway):
    """An application that notes which way a call goes, and sends nothing."""

    def __init__(self) -> None:
        super().__init__(
            "shop", policy=load_policy(POLICY), backend="disabled://", set_as_current=False
        )
        #: The messages of the shortcut, and the ids of the calls that went the longer way.
        self.short: list[Any] = []
        self.long: list[str] = []
        self.told: list[Fact] = []
        #: What the broker answers instead of a confirm.
        self.error: Exception | None = None
        self.facts.listen(self.told.append)
        self._composer: Any = SimpleNamespace(send=self._compose)

    def publisher(self, _vhost: Any) -> Any:
        return SimpleNamespace(publish=self._publish)

    def _publish(self, message: Any) -> None:
        if self.error is not None:
            raise self.error
        self.short.append(message)

    def _send_short(self, *_: Any) -> None:
        """Leave all to the longest way."""

    def _compose(self, *job: Any, **_how: Any) -> Any:
        task_id = job[-1]
        self.long.append(task_id)
        return AsyncResult(task_id, app=self)

    def went(self) -> str:
        """The ways of the calls so far."""
        return "short" * len(self.short) + "long" * len(self.long)


@pytest.fixture
def app() -> Recorded:
    app = Recorded()
    app.task(name="c.add", shared=False)(add)
    return app


ORDINARY: dict[str, Callable[[Any], Any]] = {
    "delay": lambda task: task.delay(1),
    "keywords": lambda task: task.delay(1, b=2),
    "a list": lambda task: task.apply_async([1], {"b": 2}),
    "options": lambda task: task.apply_async((1,), queue="low", priority=3, shadow="x"),
    "limits": lambda task: task.apply_async((1,), time_limit=3, soft_time_limit=2.5),
    "an id": lambda task: task.apply_async((1,), task_id="an id", ignore_result=True),
    "a signature": lambda task: task.s(1).apply_async(queue="low"),
    "a signature's delay": lambda task: task.s(1).delay(),
}
UNUSUAL: dict[str, Callable[[Any], Any]] = {
    "countdown": lambda task: task.apply_async((1,), countdown=3),
    "link": lambda task: task.apply_async((1,), link=task.si(3)),
    "headers": lambda task: task.apply_async((1,), headers={"a": 1}),
    "timeout": lambda task: task.apply_async((1,), timeout=3),
    "no key": lambda task: task.apply_async((1,), shadow=["no key"]),
    "a positional id": lambda task: task.apply_async((1,), {}, "an id"),
    "an odd id": lambda task: task.apply_async((1,), task_id="x" * 61),
    "odd arguments": lambda task: task.apply_async(iter((1,))),
    "group": lambda task: task.apply_async((1,), group_id="g", group_index=0),
}


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_call_takes_it(app: Recorded, name: str) -> None:
    results = [ORDINARY[name](app.tasks["c.add"]) for _ in range(2)]
    assert app.went() == "shortshort"
    assert [(fact.kind, fact.task_id) for fact in app.told] == [
        ("published", result.id) for result in results
    ]


@pytest.mark.parametrize("name", UNUSUAL)
def test_an_unusual_call_goes_the_longer_way(app: Recorded, name: str) -> None:
    task = app.tasks["c.add"]
    task.typing = False
    UNUSUAL[name](task)
    assert app.went() == "long"


def test_the_result_is_celerys(app: Recorded) -> None:
    result = app.tasks["c.add"].delay(1)
    assert isinstance(result, AsyncResult)
    assert type(result) is app.AsyncResult
    assert (result.parent, result.ignored, result.backend) == (None, False, app.backend)
    assert app.tasks["c.add"].apply_async((1,), ignore_result=True).ignored

    class Odd(JobTask):
        def AsyncResult(self, task_id: str, **_: Any) -> Any:  # noqa: N802 (Celery's name)
            return SimpleNamespace(id=f"odd {task_id}")

    odd = app.task(name="c.odd", shared=False, base=Odd)(add)
    assert odd.delay(1).id.startswith("odd ")
    assert "long" not in app.went()


def test_wrong_arguments_are_refused_as_celery_does(app: Recorded) -> None:
    task = app.tasks["c.add"]
    with pytest.raises(TypeError, match="argument"):
        task.delay()
    with pytest.raises(TypeError, match="argument"):
        task.delay(1, c=3)
    loose = app.task(name="c.loose", shared=False, typing=False)(add)
    loose.delay()

    def takes_itself(self: Any, a: int) -> Any:
        return self, a

    bound = app.task(name="c.bound", shared=False, bind=True)(takes_itself)
    bound.delay(1)
    with pytest.raises(TypeError, match="argument"):
        bound.delay(1, 2)
    assert app.went() == "shortshort"


def test_limits_that_contradict_each_other_are_celerys_error(app: Recorded) -> None:
    task = app.tasks["c.add"]
    task.delay(1)
    task.soft_time_limit, task.time_limit = 9, 3
    with pytest.raises(ValueError, match="soft_time_limit"):
        task.delay(1)


def test_a_refused_call_says_which_job_and_is_told(app: Recorded) -> None:
    task = app.tasks["c.add"]
    with pytest.raises(UnknownQueue) as wrong:
        task.apply_async((1,), queue="hgih")
    with pytest.raises(ArgumentsNotSerializable) as unwritten:
        task.delay(object())
    app.error = PublishTimeout("no confirm", maybe_accepted=True)
    with pytest.raises(PublishTimeout) as late:
        task.apply_async((1,), task_id="mine")
    assert late.value.task_id == "mine"
    assert [(fact.kind, fact.task_id, fact.error_type) for fact in app.told] == [
        ("refused", caught.value.task_id, type(caught.value).__name__)
        for caught in (wrong, unwritten, late)
    ]
    assert (app.told[2].queue, app.told[2].priority) == ("default", 4)


def test_eager_calls_run_at_once_whenever_that_is_set(app: Recorded) -> None:
    task = app.tasks["c.add"]
    task.delay(1)
    for setting in ("task_always_eager", "CELERY_ALWAYS_EAGER"):
        app.conf[setting] = True
        assert app.conf.task_always_eager
        result = task.delay(1, 2)
        assert isinstance(result, EagerResult)
        assert result.get() == 3
        del app.conf[setting]
        assert not isinstance(task.delay(1), EagerResult)
    app.conf.update(task_always_eager=True)
    assert isinstance(task.delay(1), EagerResult)
    app.conf.task_always_eager = False
    assert app.went() == "short" * 3
    app.conf.add_defaults({"task_always_eager": True})
    app.conf.changes.pop("task_always_eager")
    assert isinstance(task.delay(1), EagerResult)


def test_what_equals_and_differs_is_kept_apart(app: Recorded) -> None:
    task = app.tasks["c.add"]
    for limit in (1, 1.0):
        task.apply_async((1,), time_limit=limit)
    first, second = app.short
    assert b"timelimitA\x00\x00\x00\x06I" in first.properties
    assert b"timelimitA\x00\x00\x00\x06I" not in second.properties


def test_a_task_that_changes_its_mind_is_heard(app: Recorded) -> None:
    task = app.tasks["c.add"]
    assert not task.delay(1).ignored
    task.ignore_result = True
    assert task.delay(1).ignored


@pytest.mark.parametrize("signal", ["before_task_publish", "after_task_publish", "task_sent"])
def test_receivers_of_celerys_signals_are_heard(app: Recorded, signal: str) -> None:
    def listen(**_: Any) -> None:
        """A receiver."""

    app.tasks["c.add"].delay(1)
    getattr(signals, signal).connect(listen)
    try:
        app.tasks["c.add"].delay(1)
    finally:
        getattr(signals, signal).disconnect(listen)
    assert app.went() == "shortlong"


@pytest.mark.parametrize("where", [(Task, "apply_async"), (Celery, "send_task")])
def test_what_a_tracing_package_wrapped_is_called(
    app: Recorded, where: tuple[type, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name = where
    inner = getattr(owner, name)
    app.tasks["c.add"].delay(1)

    def wrapped(*given: Any, **options: Any) -> Any:
        return inner(*given, **options)

    monkeypatch.setattr(owner, name, wrapped)
    app.tasks["c.add"].delay(1)
    assert app.went() == "shortlong"


def test_what_was_wrapped_before_laneway_was_imported_is_called(
    app: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.tasks["c.add"].delay(1)
    monkeypatch.setattr(sender, "_IS_TASK_WRAPPED", True)
    app.tasks["c.add"].delay(1)
    assert app.went() == "shortlong"


def test_a_send_task_of_the_projects_own_is_called(app: Recorded) -> None:
    sent: list[str] = []
    app.tasks["c.add"].delay(1)
    app.send_task = lambda name, *_, **__: sent.append(name)  # type: ignore[method-assign]
    app.tasks["c.add"].delay(1)
    assert sent == ["c.add"]

    class Own(Recorded):
        def send_task(self, name: str, *_: Any, **__: Any) -> Any:
            sent.append(name)

    own = Own()
    own.task(name="c.own", shared=False)(add).delay(1)
    assert sent == ["c.add", "c.own"]


def test_a_base_class_of_the_projects_own_is_called(app: Recorded) -> None:
    class Marked(JobTask):
        def apply_async(self, *given: Any, **options: Any) -> Any:
            return super().apply_async(*given, headers={"tenant": 7}, **options)

    class Named(JobTask):
        def shadow_name(self, *_: Any) -> str:
            return "another"

    for name, base in (("c.marked", Marked), ("c.named", Named)):
        app.task(name=name, shared=False, base=base)(add).delay(1)
    assert app.went() == "longlong"


def test_a_job_that_publishes_hands_down_what_it_has(app: Recorded) -> None:
    task = app.tasks["c.add"]
    task.push_request(id="parent", called_directly=False)
    _task_stack.push(task)
    try:
        task.delay(1)
    finally:
        _task_stack.pop()
        task.pop_request()
    assert app.went() == "long"


def test_a_call_in_a_batch_goes_with_it(app: Recorded) -> None:
    with app.batch():
        app.tasks["c.add"].delay(1)
    assert app.went() == "long"


def test_shared_tasks_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # Celery gives a shared task to every application, for good.
    monkeypatch.setattr(_state, "_on_app_finalizers", set(_state._on_app_finalizers))
    shared = shared_task(name="c.shared")(add)
    app = Recorded()
    before = _state._tls.current_app
    app.set_current()
    try:
        shared.delay(1)
    finally:
        _state._set_current_app(before)
    assert app.went() == "short"


def test_a_result_backend_with_wishes_of_its_own_takes_the_longer_way(
    app: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(app.backend), "on_task_call", lambda *_, **__: None)
    app.tasks["c.add"].delay(1)
    assert app.went() == "long"


@pytest.mark.parametrize("kind", [DisabledBackend, JobRedisBackend, JobSentinelBackend])
def test_the_platforms_backends_have_none(kind: type[Backend]) -> None:
    assert kind.on_task_call is Backend.on_task_call
