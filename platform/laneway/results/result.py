"""What a call returns: Celery's ``AsyncResult``, made with less."""

from __future__ import annotations

from typing import Any

from celery.result import AsyncResult
from vine import promise


class _Promise:
    """A result's promise, made by the first who asks for it, also when two threads do."""

    def __get__(self, result: Any, owner: type | None = None) -> Any:
        if result is None:
            return self
        made = promise(result._on_fulfilled, weak=True)  # noqa: SLF001 (see test_celery_contract.py)
        # An attribute of the result comes before this descriptor from now on.
        return vars(result).setdefault("on_ready", made)


class JobResult(AsyncResult):
    """Celery's result of one job; most callers never ask to be called back.

    Celery makes a promise with a weak reference for each result, which is four fifths of what a
    result costs. Here it is made when ``then()`` or a backend first needs it.

    Args:
        id: the job's id.
        backend: where the result will be; the application's if None.
        task_name: Celery does not use it.
        app: the application; that of the class if None.
        parent: the result of the step before in a chain.
    """

    app: Any
    #: Whether it is the result of another call: of the equal unique job that was there before.
    is_duplicate: bool = False
    on_ready = _Promise()

    def __init__(
        self,
        id: Any,  # noqa: A002 (Celery's name for it)
        backend: Any = None,
        task_name: str | None = None,
        app: Any = None,
        parent: Any = None,
    ) -> None:
        app = app or self.app
        if id is None or app is None:
            super().__init__(id, backend, task_name, app, parent)
            return
        self.app = app
        self.id = id
        self.backend = backend or app.backend
        self.parent = parent
        self._cache = None
        self._ignored = False
