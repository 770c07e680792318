"""How Sentry watches the entries of a schedule: a monitor for each.

What an entry of ``beat_schedule`` does not say in its option ``sentry_monitor`` follows from its
schedule and from the limits of its task and queue.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from celery.schedules import crontab, maybe_schedule, schedule

from laneway.calls.scheduled import MONITOR_OPTION
from laneway.errors import SettingsError
from laneway.policy.problems import did_you_mean
from laneway.types import format_duration, parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from laneway.app import Laneway

#: Characters that a monitor's slug may have.
LONGEST_SLUG: Final = 50
#: Minutes after which a check-in that did not come is missed, at most, if nobody says otherwise.
_MARGIN: Final = 5
#: Minutes that a job without any limit may take (Sentry's own default).
_MAX_RUNTIME: Final = 30
#: The longest of each that Sentry takes: 28 days.
_LONGEST: Final = 28 * 24 * 60
_MINUTE: Final = 60
_UNITS: Final = (("day", 24 * 60), ("hour", 60), ("minute", 1))
_DURATIONS: Final = ("checkin_margin", "max_runtime")
_COUNTS: Final = ("failure_issue_threshold", "recovery_threshold")
_KEYS: Final = (*_DURATIONS, *_COUNTS, "owner")
_FIELDS_OF_CRONTAB: Final = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")


class Unwatched(Exception):
    """Sentry cannot watch this entry; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitor:
    """An entry of a schedule as Sentry watches it."""

    slug: str
    #: What Sentry calls ``monitor_config``; None for an entry that is not in the settings.
    config: Mapping[str, Any] | None = None


def slug_of(name: str) -> str:
    """The slug of an entry's name: small letters, digits, ``-`` and ``_``, at most 50."""
    slug = re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-")
    # (Sentry refuses one of digits alone.)
    if slug and len(slug) <= LONGEST_SLUG and not slug.isdigit():
        return slug
    # Cut off, or with too little in it: the rest of the name still tells it from others.
    mark = hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=4).hexdigest()
    return f"{slug[: LONGEST_SLUG - 9]}-{mark}".strip("-")


def monitor_of(app: Laneway, name: str) -> Monitor | None:
    """How Sentry watches an entry; None if it is not to.

    An entry that stands in no settings (a schedule in a database) is watched by the monitor that
    somebody made in Sentry.

    Raises:
        Unwatched: Sentry has no such schedules.
        SettingsError: its ``sentry_monitor`` is wrong.
    """
    entry = app.conf.beat_schedule.get(name)
    if entry is None:
        return Monitor(slug=slug_of(name))
    said = (entry.get("options") or {}).get(MONITOR_OPTION)
    if said is False:
        return None
    said = checked(name, said)
    when = maybe_schedule(entry["schedule"], app=app)
    every = _schedule_of(name, when)
    config: dict[str, Any] = {
        "schedule": every,
        "timezone": str(getattr(when, "tz", None) or app.timezone),
        "checkin_margin": _margin(when),
        "max_runtime": _max_runtime(app, entry),
    }
    for key, value in said.items():
        config[key] = _minutes(parse_duration(value)) if key in _DURATIONS else value
    return Monitor(slug=_only_slug(app, name), config=config)


def _only_slug(app: Laneway, name: str) -> str:
    """The slug of an entry.

    It follows from the name alone, so that the keeper, which knows no schedule, finds it too.

    Raises:
        Unwatched: another entry has the same.
    """
    slug = slug_of(name)
    for other in app.conf.beat_schedule:
        if other != name and slug_of(other) == slug:
            raise Unwatched(
                f"the entry {name!r} is not watched: its monitor would be {slug!r}, and so would "
                f"that of {other!r}. Rename one of them"
            )
    return slug


def checked(name: str, said: Any) -> dict[str, Any]:
    """What an entry says of its monitor, looked at.

    Raises:
        SettingsError: all that is wrong with it.
    """
    where = f"beat_schedule[{name!r}]: {MONITOR_OPTION}"
    if said is None or said is True:
        return {}
    if not isinstance(said, dict):
        raise SettingsError(f"{where}: expected a dictionary, or False, got: {said!r}")
    problems = [problem for key, value in said.items() if (problem := _problem(key, value))]
    if problems:
        raise SettingsError("\n  ".join([f"{where} is wrong:", *problems]))
    return dict(said)


def _problem(key: Any, value: Any) -> str | None:
    if key not in _KEYS:
        hint = did_you_mean(str(key), _KEYS)
        return f"expected one of {', '.join(_KEYS)}, got: {key!r}{hint}"
    if key in _DURATIONS:
        try:
            minutes = _minutes(parse_duration(value))
        except ValueError as error:
            return f"{key}: expected {error}, got: {value!r}"
        if not 1 <= minutes <= _LONGEST:
            longest = format_duration(_LONGEST * _MINUTE)
            return f"{key}: expected 1m to {longest}, got: {value!r}"
    elif key in _COUNTS:
        if type(value) is not int or not 1 <= value <= 720:
            return f"{key}: expected a whole number of 1 to 720, got: {value!r}"
    elif not isinstance(value, str) or not value.startswith(("team:", "user:")):
        return f"owner: expected 'team:…' or 'user:…', got: {value!r}"
    return None


def _schedule_of(name: str, when: Any) -> dict[str, Any]:
    """What Sentry calls a schedule.

    Raises:
        Unwatched: it has none like this.
    """
    if isinstance(when, crontab):
        fields = [_field(when, field) for field in _FIELDS_OF_CRONTAB]
        if fields[2] != "*" and fields[4] != "*":
            raise Unwatched(
                f"the entry {name!r} is not watched: Celery runs it when both the day of the month "
                "and the day of the week fit, and Sentry expects it when one of them does"
            )
        return {"type": "crontab", "value": " ".join(fields)}
    if not isinstance(when, schedule):
        raise Unwatched(
            f"the entry {name!r} is not watched: Sentry has no schedule of the kind "
            f"{type(when).__name__!r}"
        )
    seconds = when.seconds
    if seconds < _MINUTE or seconds % _MINUTE:
        raise Unwatched(
            f"the entry {name!r} is not watched: it runs every {format_duration(seconds)}, and "
            f"Sentry takes whole minutes. Say {MONITOR_OPTION}: False in its options, and this is "
            "said no more"
        )
    minutes = int(seconds) // _MINUTE
    unit, size = next(pair for pair in _UNITS if not minutes % pair[1])
    return {"type": "interval", "value": minutes // size, "unit": unit}


def _field(when: crontab, field: str) -> str:
    """One field of a crontab: Celery takes numbers, sets of them, and names of days as well."""
    said = getattr(when, f"_orig_{field}")
    if isinstance(said, str | int) and not re.search("[a-zA-Z]", str(said)):
        return re.sub(r"\s", "", str(said))
    return ",".join(str(one) for one in sorted(getattr(when, field)))


def _margin(when: Any) -> int:
    if isinstance(when, crontab):
        return _MARGIN
    # One that is due again meanwhile is missed before that.
    return max(1, min(_MARGIN, int(when.seconds) // _MINUTE - 1))


def _max_runtime(app: Laneway, entry: Mapping[str, Any]) -> int:
    """Minutes that one attempt and the wait for the next may take."""
    options = entry.get("options") or {}
    task = app.tasks.get(entry["task"])
    queue = app.policy.queues.get(app.serving or "")
    limit = options.get("time_limit") or getattr(task, "time_limit", None)
    limit = limit or (queue.worker.time_limit if queue else None)
    if not limit:
        return _MAX_RUNTIME
    return min(_LONGEST, _minutes(limit + (queue.retry.longest if queue else 0.0)))


def _minutes(seconds: float) -> int:
    return math.ceil(seconds / _MINUTE)
