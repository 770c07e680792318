"""From Celery's signals to facts: what the signals of the worker's parent say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celery.app.task import Context
from celery.exceptions import Retry

from laneway import Laneway
from laneway.policy import load_policy
from laneway.worker.telling import Teller
from support.workers import POLICY

if TYPE_CHECKING:
    from laneway.facts import Fact


def job() -> None:
    """A task's code."""


class Odd(Exception):
    """An error that cannot even be printed."""

    def __str__(self) -> str:
        raise RuntimeError


def told(signal: str = "retried", **given: object) -> Fact:
    """The fact that is told when Celery sends a signal of a job."""
    app = Laneway("tests", policy=load_policy(POLICY), set_as_current=False)
    task = app.task(name="plain.job")(job)
    facts: list[Fact] = []
    app.facts.listen(facts.append)
    request = Context(id="a-1", retries=0, delivery_info={"priority": 4})
    task.push_request(id="a-1", retries=0, delivery_info={"priority": 4})
    hear = getattr(Teller(app, "low", "low@here"), signal)
    hear(sender=task, task_id="a-1", request=request, einfo=None, **given)
    [fact] = facts
    return fact


def test_a_retry_is_told_with_the_error_behind_it() -> None:
    fact = told(reason=Retry(exc=KeyError("k")))
    assert (fact.kind, fact.error_type, fact.reason) == ("retried", "KeyError", "'k'")


def test_a_job_that_celery_stops_without_a_reason_is_told_too() -> None:
    # Celery sends the signal without a reason when the connection that delivered the job is lost.
    fact = told()
    assert (fact.kind, fact.error_type) == ("retried", None)
    assert "delivers it again" in (fact.reason or "")


def test_an_error_whose_text_raises_is_told_all_the_same() -> None:
    for fact in (told("failed", exception=Odd()), told(reason=Retry(exc=Odd()))):
        assert (fact.error_type, fact.task_id) == ("Odd", "a-1")
        assert fact.reason == "(RuntimeError while its text was made)"
