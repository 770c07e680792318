"""Running a job in a process of the direct pool: what comes of errors around its code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery.exceptions import Retry, SoftTimeLimitExceeded

from laneway.worker import telling
from laneway.worker.direct.runner import Job, Runner
from support.ends import delivery, make_app, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from laneway import Laneway
    from laneway.facts import Fact


# Celery warns of it, and pytest makes errors of warnings.
pytestmark = pytest.mark.filterwarnings("ignore:Exception raised outside body:RuntimeWarning")


class Away(Exception):
    """What a result backend raises."""


class Backend:
    """A result backend that cannot store how a job ended."""

    def __init__(self, backend: Any, error: BaseException) -> None:
        self._backend = backend
        self._error = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def mark_as_done(self, *_: Any, **__: Any) -> None:
        raise self._error

    def mark_as_retry(self, *_: Any, **__: Any) -> None:
        raise self._error

    def mark_as_failure(self, *_: Any, **__: Any) -> None:
        raise self._error


@pytest.fixture
def app() -> Iterator[Laneway]:
    app = make_app("runner")
    app.conf.task_track_started = False
    ran = app.ran = []

    @app.task(name="plain.work", bind=True, shared=False, max_retries=3)
    def work(self: Any, retries: bool) -> None:
        ran.append(self.request.id)
        if retries:
            # As self.retry() does when it has published the next run.
            raise Retry(exc=KeyError())

    yield serve(app)
    app.close()


def run(app: Laneway, error: BaseException, *, retries: bool = False) -> Any:
    task: Any = app.tasks["plain.work"]
    task.backend = Backend(task.backend, error)
    runner = Runner(app, "low", "low@here")
    job = runner.read(delivery("plain.work", retries))
    assert isinstance(job, Job)
    return runner.run(job)


def test_a_result_that_cannot_be_stored_is_a_letter_and_not_the_end_of_the_process(
    app: Laneway,
) -> None:
    facts: list[Fact] = []
    app.facts.listen(facts.append)
    telling.connect(app, "low", "low@here")
    ran = run(app, Away("no such table"))
    assert ran.verdict == "dead-letter"
    assert ran.failure is not None
    assert ran.failure.error_type is not None
    assert ran.failure.error_type.endswith("Away")
    assert app.ran == ["7a"]
    [failed] = [fact for fact in facts if fact.kind == "failed"]
    assert (failed.task_id, failed.attempt, failed.reason) == ("7a", 1, "no such table")


@pytest.mark.parametrize("error", [SoftTimeLimitExceeded(), MemoryError(), SystemExit(1)])
def test_what_says_something_of_the_process_is_passed_on(
    app: Laneway, error: BaseException
) -> None:
    with pytest.raises(type(error)):
        run(app, error)


def test_a_retry_that_was_published_is_no_letter(app: Laneway) -> None:
    """The next run is on its way: a letter that is replayed would be a second one."""
    ran = run(app, Away(), retries=True)
    assert (ran.verdict, ran.failure) == ("ack", None)
