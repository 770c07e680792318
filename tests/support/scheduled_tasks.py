"""The tasks of the integration tests with a schedule of which no entry comes due by itself."""

from __future__ import annotations

from typing import Any, Final

from celery.schedules import crontab

from support.tasks import app

__all__ = ["SCHEDULE", "app"]

# A day that does not come: the tests make each entry's job themselves, with beat's own code.
NEVER = crontab(minute=0, hour=0, day_of_month=29, month_of_year=2)


def _entry(task: str, *args: Any, queue: str = "low", when: Any = NEVER, **said: Any) -> Any:
    return {"task": task, "args": args, "schedule": when, "options": {"queue": queue, **said}}


SCHEDULE: Final[dict[str, Any]] = {
    "Add up!": _entry("plain.add", 1, 2, sentry_monitor={"owner": "team:sums"}),
    "flaky": _entry("plain.flaky", 1),
    "fails": _entry("plain.fail"),
    "gives up": _entry("plain.give_up"),
    "hangs": _entry("plain.hang"),
    "vanishes": _entry("plain.vanish", queue="default"),
    "too often": _entry("plain.add", 3, 4, when=30),
    "left out": _entry("plain.add", 5, 6, sentry_monitor=False),
    "pays": {"task": "vault.pay", "args": (7,), "schedule": NEVER},
}
app.conf.beat_schedule = SCHEDULE
