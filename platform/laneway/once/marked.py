"""What tasks ask of Redis, looked at before anything runs: ``once=`` and ``unique=``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from laneway.errors import SettingsError
from laneway.once.job_key import SECRET, needs_secret
from laneway.once.once import once_of
from laneway.once.unique import unique_of
from laneway.sentry_args import sentry_args_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from laneway.once.once import Once
    from laneway.once.unique import Unique


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options of a task at its decorator, not at its first call.

    Raises:
        ValueError: says what was expected.
    """
    sentry_args_of(options.get("sentry_args", ()))
    once_of(options.get("once"))
    unique_of(options.get("unique"))


def problems(app: Any, environ: Mapping[str, str] = os.environ) -> list[str]:
    """What the tasks of a worker ask for that it cannot give: one line each.

    Args:
        app: the application, which serves a queue.
        environ: where the secret is looked up.
    """
    found = []
    for task in app.tasks.values():
        once: Once | None = getattr(task, "once", None)
        unique: Unique | None = getattr(task, "unique", None)
        if once is None and unique is None:
            continue
        try:
            _ = app.marks
        except SettingsError as error:
            return [f"{task.name}: {error}"]
        has_key = unique is not None or (once is not None and once.key is not None)
        if has_key and not environ.get(SECRET) and _is_secure(app, task):
            found.append(needs_secret(task.name))
    return found


def _is_secure(app: Any, task: Any) -> bool:
    """Whether the jobs of a task go to the secure queue that this worker serves."""
    queue = app.policy.queue(app.serving)
    return bool(queue.secure and app.decide(task.name).queue == queue.name)
