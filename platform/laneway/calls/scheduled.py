"""Which entry of a schedule made a job: a header, because Celery's beat does not say it.

The header's name is the one that django-celery-beat uses, so its jobs need nothing more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from celery import signals

from laneway.types import short_text

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Message header: the name of the entry in the schedule.
ENTRY_HEADER: Final = "periodic_task_name"
#: Option of an entry of ``beat_schedule``: how Sentry watches it; it never reaches a message.
MONITOR_OPTION: Final = "sentry_monitor"

_UID: Final = "laneway.calls.scheduled"


def entry_of(headers: Mapping[Any, Any]) -> str | None:
    """The entry that made a job, by its message's headers, whatever these are."""
    return short_text(headers.get(ENTRY_HEADER))


def connect() -> None:
    """Let every beat of this process name its entries in their jobs; once is enough."""
    signals.beat_init.connect(_name_entries, weak=False, dispatch_uid=_UID)


def _name_entries(sender: Any, **_: Any) -> None:
    name_entries(sender.scheduler)


def name_entries(scheduler: Any) -> None:
    """Let the jobs of a beat scheduler's entries carry the names of these.

    It is for schedulers that keep their entries (Celery's own do). One that reads them from a
    database each time forgets it, and has to say the name itself, as django-celery-beat does.
    """
    if not hasattr(scheduler.app, "policy"):  # another application's beat in this process
        return
    for name, entry in scheduler.schedule.items():
        # New dictionaries: these stand in the project's settings.
        headers = {ENTRY_HEADER: name, **(entry.options.get("headers") or {})}
        entry.options = {**entry.options, "headers": headers}
