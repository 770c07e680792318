"""What tasks ask of Redis, checked before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from laneway import Laneway, Once, Unique
from laneway.broker import broker_address
from laneway.errors import SettingsError, WorkerError
from laneway.once import marked
from laneway.once.job_key import SECRET
from laneway.once.marks import redis_url

if TYPE_CHECKING:
    from conftest import MakePolicy


def make(make_policy: MakePolicy, backend: str | None, **options: Any) -> Laneway:
    policy = make_policy()
    app = Laneway(
        "tests",
        policy=policy,
        backend=backend,
        address=broker_address("amqp://nobody:here@127.0.0.1:1", vhost_prefix="", env={}),
        set_as_current=False,
    )

    @app.task(name="marked.code", shared=False, **options)
    def code(order: int) -> None:
        """Never runs."""

    app.serve("default")
    return app


@pytest.mark.parametrize("options", [{"once": "1d"}, {"unique": "until-done"}])
def test_a_worker_needs_a_redis_only_if_a_task_asks_for_it(
    make_policy: MakePolicy, options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LANEWAY_REDIS_URL", raising=False)
    assert marked.problems(make(make_policy, None)) == []
    [problem] = marked.problems(make(make_policy, None, **options))
    assert problem.startswith("marked.code: expected a Redis for once= and unique=")
    assert marked.problems(make(make_policy, "redis://127.0.0.1:1/0", **options)) == []
    monkeypatch.setenv("LANEWAY_REDIS_URL", "redis://127.0.0.1:1/0")
    assert marked.problems(make(make_policy, None, **options)) == []


def test_a_worker_does_not_start_without_it(
    make_policy: MakePolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LANEWAY_REDIS_URL", raising=False)
    app = make(make_policy, None, once="1d")
    with pytest.raises(WorkerError, match=r"marked\.code: expected a Redis"):
        app.Worker(queues=["default"], pool="solo")


def test_where_marks_are_kept() -> None:
    assert redis_url("redis://a", {}) == "redis://a"
    assert redis_url("redis://a", {"LANEWAY_REDIS_URL": "rediss://b"}) == "rediss://b"
    assert redis_url("db+sqlite://", {}) is None
    assert redis_url(None, {}) is None
    with pytest.raises(SettingsError, match=r"expected redis://.* got one of 'amqp'") as caught:
        redis_url(None, {"LANEWAY_REDIS_URL": "amqp://user:hidden@host"})
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("queue", "options", "is_refused"),
    [
        ("secure", {"unique": "until-done"}, True),
        ("secure", {"once": Once(key="order")}, True),
        ("secure", {"once": "1d"}, False),
        ("default", {"once": Once(key="order"), "unique": "until-done"}, False),
    ],
)
def test_keys_of_a_secure_queue_need_a_secret(
    queue: str, options: dict[str, Any], is_refused: bool
) -> None:
    app = Laneway(
        "tests",
        backend="redis://127.0.0.1:1/0",
        address=broker_address("amqp://nobody:here@127.0.0.1:1", vhost_prefix="", env={}),
        set_as_current=False,
    )

    @app.task(name="shop.payroll.code" if queue == "secure" else "x.code", shared=False, **options)
    def code(order: int) -> None:
        """Never runs."""

    app.serve(queue)
    found = marked.problems(app, {})
    assert [SECRET in one for one in found] == [True] * is_refused
    assert marked.problems(app, {SECRET: "long and random"}) == []


def any_of(value: Any) -> Any:
    """A value as code without types gives it."""
    return value


@pytest.mark.parametrize(
    ("make_it", "says"),
    [
        (lambda: Once("1d", lease="1s"), "expected lease to be 3 s to 3600 s, got: '1s'"),
        (lambda: Once("1d", key=()), "expected once's key to be the name of an argument"),
        (lambda: Once("1d", key=any_of(3)), "got: 3"),
        (lambda: Unique("until-done", longest="0s"), 'expected longest to be "1s" to "366d"'),
        (lambda: Unique("until-done", longest=any_of(60)), "expected longest to be a duration"),
        (lambda: Unique("until-done", key="two words"), "got: 'two words'"),
    ],
)
def test_what_cannot_be_said(make_it: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make_it()


def test_a_key_names_arguments_of_the_task(make_policy: MakePolicy) -> None:
    app = make(make_policy, "redis://127.0.0.1:1/0", once=Once(key="order"))
    assert app.tasks["marked.code"].once.key == "order"
    app_of_item = make(make_policy, "redis://127.0.0.1:1/0", once=Once(key=("order", "item")))
    with pytest.raises(ValueError, match=r"arguments of marked.code\(order: .*, got: 'item'"):
        _ = app_of_item.tasks["marked.code"]


def test_methods_and_bound_functions_leave_out_self(make_policy: MakePolicy) -> None:
    app = make(make_policy, "redis://127.0.0.1:1/0")

    class Task(app.Task):  # type: ignore[name-defined]
        name = "marked.class"
        once = Once(key="order")

        def run(self, order: int) -> int:
            return order

    class Other(Task):
        name = "marked.other"

        def run(self, order: int) -> int:
            return 2 * int(super().run(order))

    one, other = app.register_task(Task()), app.register_task(Other())
    assert (one(7), other(7)) == (7, 14)

    @app.task(name="marked.bound", shared=False, bind=True, unique=Unique("until-start", key="a"))
    def bound(self: Any, a: int) -> str:
        return f"{self.name} {a}"

    assert bound(7) == "marked.bound 7"
