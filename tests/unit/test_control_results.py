"""The results of dead jobs, with a backend that can be away."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import Any

import pytest
from celery import shared_task

from laneway.control import ControlApp, results
from laneway.control.given_up import GivenUp
from laneway.control.results import Results
from laneway.deadletter.letter import Letter, Original
from laneway.errors import DeadLettered
from laneway.policy import load_policy
from support.workers import POLICY


def job(name: str = "a", body: bytes = b"[[], {}, {}]", **headers: Any) -> GivenUp:
    letter = Letter(
        id=f"{name}.0",
        queue="high",
        outcome="expired",
        cause="c",
        at=1.0,
        by="keeper",
        task="shop.pay",
        task_id=name,
        message="it expired",
        original=Original(exchange="", routing_key="", properties=b"", body=body),
    )
    return GivenUp(
        letter=letter,
        tag=1,
        properties={"content_type": "application/json"},
        headers={"task": "shop.pay", "id": name, **headers},
    )


class Backend:
    """Keeps what it is told, unless it is away."""

    def __init__(self) -> None:
        self.away: Exception | None = None
        self.slow = 0.0
        self.asked = 0
        self.stored: dict[str, dict[str, Any]] = {}
        self.calls: list[Any] = []

    def get_task_meta(self, task_id: str, *, cache: bool) -> dict[str, Any]:
        assert not cache
        self.asked += 1
        time.sleep(self.slow)
        if self.away is not None:
            raise self.away
        return self.stored.get(task_id, {"status": "PENDING", "result": None})

    def mark_as_failure(
        self, task_id: str, error: Exception, *, request: Any, store_result: bool
    ) -> None:
        self.calls.append((task_id, request, store_result))
        if store_result:
            self.stored[task_id] = {"status": "FAILURE", "result": error}


@pytest.fixture
def backend() -> Backend:
    return Backend()


def made(backend: Backend, **given: Any) -> Results:
    app: Any = SimpleNamespace(backend=backend)
    return Results(app, **given)


def test_a_result_says_cause_and_letter(backend: Backend) -> None:
    made(backend).settle([job()])
    error = backend.stored["a"]["result"]
    assert (error.cause, error.letter) == ("c", "a.0")
    assert str(error) == "it expired; cause c; dead letter a.0"
    again = type(error)(*error.args)
    assert (str(again), again.letter) == (str(error), "a.0")


@pytest.mark.parametrize("state", ["SUCCESS", "FAILURE", "REVOKED"])
def test_a_result_that_is_there_stays(backend: Backend, state: str) -> None:
    backend.stored["a"] = {"status": state, "result": ValueError()}
    kept = made(backend)
    kept.settle([job()])
    assert backend.calls == []
    assert (kept.counts.kept, kept.counts.written) == (1, 0)


def test_what_a_killed_keeper_left_undone_is_done(backend: Backend) -> None:
    """The state is written first; the chord and the callbacks come after it."""
    backend.stored["a"] = {"status": "FAILURE", "result": DeadLettered("it", "c", "a.0")}
    made(backend).settle([job()])
    assert [(task_id, store) for task_id, _, store in backend.calls] == [("a", False)]


def test_an_ignored_result_is_not_written_and_its_chord_is_told(backend: Backend) -> None:
    made(backend).settle([job(ignore_result=True, group="g")])
    [(_, request, store)] = backend.calls
    assert not store
    assert request.group == "g"


def test_what_celery_needs_of_the_job_and_nothing_of_its_arguments(backend: Backend) -> None:
    embedded = {"chord": {"task": "sum"}, "chain": [{"task": "x"}], "errbacks": [{"task": "y"}, 1]}
    body = json.dumps([["secret"], {"k": "secret"}, embedded]).encode()
    made(backend).settle([job(body=body, group="g", group_index=3, root_id="r", parent_id=5)])
    [(_, request, _)] = backend.calls
    assert (request.id, request.task, request.group, request.group_index) == (
        "a",
        "shop.pay",
        "g",
        3,
    )
    assert (request.root_id, request.parent_id) == ("r", None)
    assert request.chord == {"task": "sum"}
    assert request.chain == [{"task": "x"}]
    assert request.errbacks == [{"task": "y"}]
    assert "secret" not in repr(vars(request))


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"[]", b"{}", b"[1, 2, 3]", b'[1, 2, {"chord": "x", "errbacks": "y"}]']
)
def test_a_body_that_is_none_does_not_matter(backend: Backend, body: bytes) -> None:
    made(backend).settle([job(body=body)])
    [(_, request, store)] = backend.calls
    assert store
    assert not request.chord
    assert not request.errbacks


def test_while_the_backend_is_away_nobody_waits_and_it_is_tried_again(backend: Backend) -> None:
    backend.away = ConnectionError("gone")
    kept = made(backend, first_pause=0.3)
    began = time.monotonic()
    kept.settle([job("a")])
    kept.settle([job("b")])
    kept.settle([job("c")])
    assert time.monotonic() - began < 0.25
    assert kept.waiting == 3
    backend.away = None
    until = time.monotonic() + 10
    while kept.counts.written < 3:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert kept.waiting == 0


def test_a_slow_backend_is_waited_for_only_so_long(backend: Backend) -> None:
    backend.slow = 1.0
    kept = made(backend, patience=0.1)
    began = time.monotonic()
    kept.settle([job()])
    assert time.monotonic() - began < 0.8
    kept.stop(10)
    assert kept.counts.written == 1


def test_a_result_is_tried_a_bounded_number_of_times(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "TRIES", 3)
    backend.away = ConnectionError("gone")
    kept = made(backend, first_pause=0.001)
    kept.settle([job()])
    until = time.monotonic() + 10
    while not kept.counts.given_up:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert backend.asked == 3


def test_an_answer_that_would_come_again_is_not_asked_for_again(backend: Backend) -> None:
    backend.away = TypeError("no such thing")
    kept = made(backend)
    kept.settle([job()])
    assert (kept.counts.given_up, backend.asked, kept.waiting) == (1, 1, 0)


def test_too_many_that_wait_are_given_up_and_counted(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "MOST_WAITING", 2)
    backend.away = ConnectionError("gone")
    kept = made(backend, first_pause=30)
    for name in ("a", "b", "c", "d"):
        kept.settle([job(name)])
    assert (kept.waiting, kept.counts.given_up) == (2, 2)
    kept.stop(1)
    assert (kept.waiting, kept.counts.given_up) == (0, 4)


def test_what_is_no_job_has_no_result(backend: Backend) -> None:
    one = job()
    made(backend).settle([GivenUp(letter=one.letter, tag=1, properties={}, headers={})])
    assert backend.asked == 0


def work() -> None:
    """The body of a task."""


def test_the_control_application_runs_no_task() -> None:
    app = ControlApp(policy=load_policy(POLICY), backend="disabled://")
    try:
        shared_task(name="shared.nobody")(work)
        app.task(name="own.nobody")(work)
        app.finalize()
        assert not app.tasks
        assert not Results(app).kept
    finally:
        app.close()
