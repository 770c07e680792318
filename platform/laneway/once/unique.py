"""``@app.task(unique=…)``: of equal jobs only one is published; the others get its id.

Before it is published, a job claims the key of its arguments. The claim ends when the job starts,
or when it has ended for good, and in any case after a time.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from celery.utils import uuid

from laneway.errors import ClaimsUnreachable, OptionRefused, SettingsError
from laneway.once.around import own_of, put_around
from laneway.once.job_key import JobKey, check_option
from laneway.once.marks import MarksUnreachable
from laneway.publish import delay, taker
from laneway.publish.batch import Batch
from laneway.types import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from laneway.facts import Fact
    from laneway.once.job_key import KeyOption

log = logging.getLogger(__name__)

#: Until when no equal job is published.
Until = Literal["until-start", "until-done"]

_LONGEST: Final = 366 * 86_400.0
#: Celery's positional arguments of ``apply_async`` after the job's own.
_POSITIONAL: Final = ("task_id", "producer", "link", "link_error", "shadow")
#: Whoever says one of these waits for this very job: a canvas, or the step before.
_OF_A_CANVAS: Final = (
    *("chain", "chord", "group_id", "link", "link_error", "parent_id", "root_id"),
)
_ENDS: Final = {
    "until-start": frozenset({"started", "quarantined", "dead_lettered"}),
    "until-done": frozenset({"succeeded", "failed", "rejected", "quarantined", "dead_lettered"}),
}


@dataclass(frozen=True, slots=True)
class Unique:
    """How equal jobs of a task become one.

    Args:
        until: ``"until-start"`` lets the next one in when this one starts, ``"until-done"`` when it
            succeeded, failed for good or was dropped; a retry keeps it out.
        key: which arguments count; names, or a function of them that gives text or a number. All
            of them if None.
        longest: how long a claim lasts at most, like ``"1h"``, beyond a delay that the call asks
            for: if a job vanishes, or takes longer, the next one is let in. Up to 366 days.
        strict: whether a call is an error when Redis does not answer, instead of publishing.

    Raises:
        ValueError: says what was expected.
    """

    until: Until
    key: KeyOption | None
    longest: float
    strict: bool

    def __init__(
        self,
        until: Until,
        *,
        key: KeyOption | None = None,
        longest: str = "1h",
        strict: bool = False,
    ) -> None:
        if until not in get_args(Until):
            raise ValueError(f'expected unique to be "until-start" or "until-done", got: {until!r}')
        check_option("unique", key)
        try:
            seconds = parse_duration(longest)
        except ValueError as error:
            raise ValueError(f"expected longest to be {error}, got: {longest!r}") from None
        if not 1 <= seconds <= _LONGEST:
            raise ValueError(f'expected longest to be "1s" to "366d", got: {longest!r}')
        set_ = object.__setattr__
        set_(self, "until", until)
        set_(self, "key", key)
        set_(self, "longest", seconds)
        set_(self, "strict", strict)


def unique_of(given: Any) -> Unique | None:
    """What ``@app.task(unique=…)`` means.

    Raises:
        ValueError: says what was expected.
    """
    if given is None or isinstance(given, Unique):
        return given
    return Unique(given)


def bind_unique(task: type, unique: Unique, app: Any) -> None:
    """Make the calls of a class of tasks claim their key first.

    Raises:
        ValueError: ``key`` names no argument of the task.
    """
    _, signature = own_of(task, "run")
    key = JobKey(task.name, unique.key, signature)  # type: ignore[attr-defined]
    publish, _ = own_of(task, "apply_async")

    def apply_async(
        self: Any, args: Any = None, kwargs: Any = None, *positional: Any, **options: Any
    ) -> Any:
        """Celery's ``apply_async``; the result of the job that stands, if an equal one does."""
        options = {**dict(zip(_POSITIONAL, positional, strict=False)), **options}
        return _Call(self, unique, key, publish.__get__(self, type(self))).make(
            args, kwargs, options
        )

    put_around(task, "apply_async", publish, apply_async)
    app.facts.listen(Resigns(app))


class _Call:
    """One call of a unique task."""

    def __init__(self, task: Any, unique: Unique, key: JobKey, publish: Callable[..., Any]) -> None:
        self._task = task
        self._unique = unique
        self._key = key
        self._publish = publish

    def make(self, args: Any, kwargs: Any, options: dict[str, Any]) -> Any:
        app, unique = self._task.app, self._unique
        is_again = "redelivered" in options
        if app.conf.task_always_eager or (is_again and unique.until == "until-start"):
            return self._publish(args, kwargs, **options)
        task_id = options["task_id"] = options.get("task_id") or uuid()
        winner = self._claim(args, kwargs, options)
        is_awaited = any(options.get(one) is not None for one in _OF_A_CANVAS)
        if winner is not None and not (is_again or is_awaited):
            return self._duplicate(winner)
        try:
            result = self._publish_now(args, kwargs, options)
        except Exception as error:
            # What may have been accepted keeps its claim, and so does a job that is under way.
            if not is_again and not getattr(error, "maybe_accepted", False):
                resign(app, task_id)
            raise
        self._count(task_id)
        return result

    def _claim(self, args: Any, kwargs: Any, options: dict[str, Any]) -> str | None:
        """Claim the key of the call; the id of the job that has it, None if it is this one."""
        task, unique = self._task, self._unique
        app = task.app
        decision = app.decide(task.name, kwargs, **options)
        told = {
            "task": task.name,
            "task_id": options["task_id"],
            "queue": decision.queue,
            "priority": decision.priority,
        }
        secure = app.policy.queue(decision.queue).secure
        try:
            key = self._key.of(args, kwargs, secure=secure)
            wait = delay.whole_seconds(options.get("countdown"), options.get("eta"), now=app.now())
            return app.marks.claim(  # type: ignore[no-any-return]
                f"unique:{task.name}:{key}", options["task_id"], unique.longest + (wait or 0)
            )
        except SettingsError as error:
            raise OptionRefused(f"{error} Nothing was published.") from error
        except MarksUnreachable as error:
            if not unique.strict or "redelivered" in options:
                app.facts.tell("unguarded", **told, reason=f"published without a claim: {error}")
                return None
            refusal = ClaimsUnreachable(
                f"{task.name}: expected Redis to say whether an equal job is under way, got: "
                f"{error}. Nothing was published. Call again later, or without strict=True."
            )
            app.tell_refused(refusal, {**told, "attempt": 1})
            raise refusal from error

    def _publish_now(self, args: Any, kwargs: Any, options: dict[str, Any]) -> Any:
        """Publish it, and wait for the confirm also in a batch: a claim must not outlive it.

        An outbox takes it: were it published now, the service could still roll back.
        """
        if "redelivered" in options or not isinstance(taker.current(), Batch):
            return self._publish(args, kwargs, **options)
        with taker.set_aside():
            return self._publish(args, kwargs, **options)

    def _duplicate(self, winner: str) -> Any:
        task = self._task
        task.app.facts.tell("deduplicated", task=task.name, task_id=winner)
        self._count(winner)
        result = task.AsyncResult(winner)
        result.is_duplicate = True
        return result

    def _count(self, task_id: str) -> None:
        batch = taker.current()
        if isinstance(batch, Batch):
            batch.count_at_once(task_id)


@dataclass(frozen=True)
class Resigns:
    """A listener that ends the claims of jobs that started, or ended for good."""

    app: Any

    def __call__(self, fact: Fact, /) -> None:
        """End the claim of the job that the fact is about, if it is time."""
        if fact.task_id is None or fact.task is None:
            return
        unique = getattr(self.app.tasks.get(fact.task), "unique", None)
        if isinstance(unique, Unique) and fact.kind in _ENDS[unique.until]:
            resign(self.app, fact.task_id)


def resign(app: Any, task_id: str) -> None:
    """End the claim of a job, if it has one; without Redis it ends with its time."""
    try:
        app.marks.resign(task_id)
    except MarksUnreachable as error:
        log.warning("the claim of %s ends only with its time: %s", task_id, error)
