from __future__ import annotations

from typing import Any

import pytest
from celery import Celery

from shop.submit import signature_of, submit
from shop.workload import Chain, Chord, Job, Linked


@pytest.fixture
def app() -> Celery:
    """An app that runs jobs in place and remembers the id, the task and the arguments of each."""
    app = Celery("t", set_as_current=False, backend="cache+memory://")
    app.conf.task_always_eager = True
    app.ran = []

    def note(self: Any, *args: Any) -> str:
        app.ran.append((self.request.id, args))
        return str(self.request.id)

    app.task(name="note", bind=True, shared=False)(note)
    return app


def job(name: str, *args: Any, **fields: Any) -> Job:
    return Job(id=name, task="note", args=args, **fields)


def test_a_chain_keeps_ids_and_order(app: Celery) -> None:
    submit(app, Chain((job("a", 1), job("b"), job("c", 2))))
    assert app.ran == [("a", (1,)), ("b", ("a",)), ("c", ("b", 2))]


def test_a_single_job(app: Celery) -> None:
    submit(app, Chain((job("a", 1),)))
    assert app.ran == [("a", (1,))]


def test_links_keep_ids_and_order(app: Celery) -> None:
    submit(app, Linked((job("a", 1), job("b"), job("c"))))
    assert app.ran == [("a", (1,)), ("b", ("a",)), ("c", ("b",))]


def test_a_chord_keeps_ids_and_links_of_its_body(app: Celery) -> None:
    submit(app, Chord((job("a", 1), job("b", 2)), Linked((job("c"), job("d")))))
    assert sorted(app.ran[:2]) == [("a", (1,)), ("b", (2,))]
    assert app.ran[2:] == [("c", (["a", "b"],)), ("d", ("c",))]


def test_options_are_given_only_where_planned(app: Celery) -> None:
    urgent = signature_of(app, Chain((job("a", priority=8, countdown=3),)))
    assert urgent.options == {"task_id": "a", "priority": 8, "countdown": 3}
    plain = signature_of(app, Chain((job("a"),)))
    assert plain.options == {"task_id": "a"}
