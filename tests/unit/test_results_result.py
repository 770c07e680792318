"""A result is Celery's in all that can be seen of it."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from celery import Celery, _state
from celery.result import AsyncResult, ResultSet

from laneway import Laneway
from laneway.policy import load_policy
from laneway.results.result import JobResult
from support.workers import POLICY


@pytest.fixture(scope="module")
def app() -> Laneway:
    return Laneway("r", policy=load_policy(POLICY), backend="cache+memory://", set_as_current=False)


def test_it_has_what_celerys_has(app: Laneway) -> None:
    celerys = app.subclass_with_self(AsyncResult)("1", parent=app.AsyncResult("0"))
    ours = app.AsyncResult("1", parent=app.AsyncResult("0"))
    assert isinstance(ours, AsyncResult)
    assert (type(ours).__name__, repr(ours)) == (type(celerys).__name__, repr(celerys))
    assert set(vars(celerys)) - set(vars(ours)) == {"on_ready"}
    assert {key: vars(ours)[key] for key in vars(ours)} == {
        key: vars(celerys)[key] for key in vars(ours)
    }
    assert ours == celerys
    assert type(ours.on_ready) is type(celerys.on_ready)
    assert set(vars(celerys)) == set(vars(ours))
    assert ours.as_tuple() == celerys.as_tuple()


def test_the_promise_is_one(app: Laneway) -> None:
    result = app.AsyncResult("2")
    promise = result.on_ready
    assert result.on_ready is promise
    assert app.AsyncResult("2").on_ready is not promise
    result.on_ready = "another"
    assert result.on_ready == "another"


def test_whoever_wants_to_be_called_back_is(app: Laneway) -> None:
    heard: list[Any] = []
    result = app.AsyncResult("3")
    result.on_ready.then(heard.append)
    app.backend.store_result("3", 7, "SUCCESS")
    assert result.get() == 7
    assert heard == [result]
    assert ResultSet([app.AsyncResult("3")], app=app).get() == [7]


def test_it_needs_an_id_and_an_application(app: Laneway) -> None:
    with pytest.raises(ValueError, match="valid id"):
        app.AsyncResult(None)
    other = Celery("other", backend="cache+memory://", set_as_current=False)
    assert JobResult("4", app=other).app is other
    assert JobResult("4", app=other).backend is other.backend


def test_it_can_be_pickled(app: Laneway) -> None:
    before = _state._tls.current_app
    app.set_current()
    try:
        read = pickle.loads(pickle.dumps(app.AsyncResult("5")))
    finally:
        _state._set_current_app(before)
    assert read.id == "5"
    assert isinstance(read, JobResult)
