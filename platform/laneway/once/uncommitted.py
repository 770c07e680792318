"""Claims of unique jobs that are stored in a transaction: they end with it if it is rolled back."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from laneway.once.unique import resign

if TYPE_CHECKING:
    from collections.abc import Iterable

log = logging.getLogger(__name__)


class Uncommitted:
    """The claims of jobs whose transaction has not ended yet.

    Whoever drops it without a word has rolled back: Django tells nobody of that, it forgets what it
    would have called after the commit.

    Args:
        app: whose jobs they are.
        jobs: the name of the task and the id of each.
    """

    def __init__(self, app: Any, jobs: Iterable[tuple[str, str]]) -> None:
        self._app = app
        tasks = app.tasks
        self._ids = [
            job for name, job in jobs if getattr(tasks.get(name), "unique", None) is not None
        ]

    def __bool__(self) -> bool:
        return bool(self._ids)

    def commit(self, *_: object) -> None:
        """The jobs will be published: their claims stand."""
        self._ids = []

    def rollback(self, *_: object) -> None:
        """No job of them ever was: their equals may be published. Never raises."""
        ids, self._ids = self._ids, []
        for task_id in ids:
            try:
                resign(self._app, task_id)
            except Exception as error:  # noqa: BLE001 (it is called where nobody can do anything)
                log.warning("the claim of %s ends only with its time: %s", task_id, error)

    def __del__(self) -> None:
        self.rollback()
