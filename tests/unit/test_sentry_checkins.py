"""Check-ins of scheduled jobs: what each fact says, and how an entry is watched."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from celery.beat import ScheduleEntry
from celery.schedules import BaseSchedule, crontab, schedule

from laneway import Laneway
from laneway.errors import SettingsError
from laneway.facts import Fact
from laneway.policy import load_policy
from laneway.sentry.checkins import CheckIns
from laneway.sentry.monitor import Unwatched, monitor_of, slug_of
from laneway.sentry.secure import reduced
from laneway.sentry.trace import hex_of
from support.workers import POLICY

if TYPE_CHECKING:
    from sentry_sdk.envelope import Envelope

JOB = "0f6e2a5c-7d7a-4a8e-9d52-0a7f1f6f2c11"


def nothing() -> None:
    """The tasks' code."""


class Tide(BaseSchedule):
    """A schedule that only its project knows."""


class Sent:
    """A transport that keeps what it is given."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        for item in envelope.items:
            assert item.type == "check_in"
            self.items.append(json.loads(item.get_bytes()))


def app_with(**entries: Any) -> Laneway:
    app = Laneway("tests", policy=load_policy(POLICY), backend="disabled://", set_as_current=False)
    app.task(name="plain.report", shared=False)(nothing)
    app.task(name="plain.slow", shared=False, time_limit=900)(nothing)
    app.conf.beat_schedule = entries
    return app


def entry(when: Any = None, task: str = "plain.report", **said: Any) -> Any:
    # A new one each time: a schedule keeps the time zone of its first application.
    when = crontab(hour=2, minute=30) if when is None else when
    return {"task": task, "schedule": when, "options": {"queue": "low", **said}}


def hear(app: Laneway, *facts: Fact, secure: bool | None = None) -> list[dict[str, Any]]:
    """What is sent of some facts."""
    sent = Sent()
    check_ins = CheckIns(
        app,
        lambda is_secure: sent if secure in {None, is_secure} else None,
        environment="staging",
        release="7",
    )
    for fact in facts:
        check_ins(fact)
    return sent.items


def fact(kind: Any, schedule: str | None = "nightly", queue: str = "low", **more: Any) -> Fact:
    return Fact(kind=kind, at=1.0, queue=queue, task_id=JOB, schedule=schedule, **more)


# -- what is told ------------------------------------------------------------------------------


def test_a_job_that_succeeds_opens_and_closes_one_check_in() -> None:
    app = app_with(nightly=entry())
    first, last = hear(app, fact("started"), fact("succeeded", runtime=1.23456))
    assert first == {
        "type": "check_in",
        "check_in_id": uuid.UUID(JOB).hex,
        "monitor_slug": "nightly",
        "status": "in_progress",
        "environment": "staging",
        "release": "7",
        "monitor_config": {
            "schedule": {"type": "crontab", "value": "30 2 * * *"},
            "timezone": "UTC",
            "checkin_margin": 5,
            "max_runtime": 30,
        },
    }
    assert last == {**first, "status": "ok", "duration": 1.235}


@pytest.mark.parametrize(
    ("told", "statuses"),
    [
        (fact("retried", reason="busy"), []),
        (fact("failed", error_type="ValueError"), []),
        (fact("dead_lettered", outcome="failed"), ["error"]),
        (fact("dead_lettered", outcome="time-limit"), ["error"]),
        (fact("dead_lettered", outcome="lost"), ["error"]),
        (fact("dead_lettered", outcome="expired"), ["error"]),
        (fact("rejected", outcome="ignored"), ["ok"]),
        (fact("rejected", outcome="rejected"), []),
        (fact("rejected", outcome="revoked"), ["error"]),
        (fact("rejected", outcome="expired"), []),
        (fact("received"), []),
        (fact("succeeded", schedule=None), []),
    ],
    ids=lambda one: f"{one.kind} {one.outcome}" if isinstance(one, Fact) else "",
)
def test_only_the_final_outcome_closes_a_check_in(told: Fact, statuses: list[str]) -> None:
    sent = hear(app_with(nightly=entry()), told)
    assert [one["status"] for one in sent] == statuses


def test_of_a_secure_queue_only_slug_status_and_times_leave() -> None:
    app = app_with(nightly=entry(sentry_monitor={"owner": "team:payroll"}))
    [one] = hear(app, fact("started", queue="secure", reason="x", task="vault.pay"), secure=True)
    assert set(one) == {
        "type", "check_in_id", "monitor_slug", "status", "environment", "monitor_config"
    }  # fmt: skip
    assert set(one["monitor_config"]) == {
        "schedule", "timezone", "checkin_margin", "max_runtime"
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["started", "succeeded", "dead_lettered"])
def test_what_leaves_of_a_secure_queue_passes_its_gate(kind: str) -> None:
    [one] = hear(app_with(nightly=entry()), fact(kind, queue="secure", runtime=0.5))
    assert reduced(one) == one


@pytest.mark.parametrize("queue", ["secure", "unheard-of", None])
def test_without_an_address_for_secure_queues_nothing_of_them_leaves(queue: Any) -> None:
    app = app_with(nightly=entry())
    assert hear(app, fact("started", queue=queue), secure=False) == []
    assert len(hear(app, fact("started"), secure=False)) == 1


def test_a_job_of_a_schedule_in_a_database_is_told_without_a_monitors_settings() -> None:
    [one] = hear(app_with(), fact("started", schedule="Every Night!"))
    assert one["monitor_slug"] == "every-night"
    assert "monitor_config" not in one


def test_why_an_entry_is_not_watched_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    app = app_with(nightly=entry(10))
    check_ins = CheckIns(app, lambda _: Sent(), environment="x")
    for _ in range(3):
        check_ins(fact("started"))
    assert caplog.text.count("the entry 'nightly' is not watched: it runs every 10s") == 1
    assert "sentry_monitor: False" in caplog.text


def test_an_id_that_is_no_uuid_is_made_one() -> None:
    ids = {hex_of(name) for name in ("mein-Auftrag-ü", "j-1", "\ud800")}
    assert len(ids) == 3
    assert all(uuid.UUID(one).hex == one for one in ids)


# -- how an entry is watched -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        (crontab(), {"type": "crontab", "value": "* * * * *"}),
        (crontab(minute="*/15", hour="8-17"), {"type": "crontab", "value": "*/15 8-17 * * *"}),
        (crontab(minute={0, 30}, hour=4), {"type": "crontab", "value": "0,30 4 * * *"}),
        (crontab("0", "4", "sunday,mon"), {"type": "crontab", "value": "0 4 * * 0,1"}),
        (crontab("0", "4", day_of_month="1, 15"), {"type": "crontab", "value": "0 4 1,15 * *"}),
        (60, {"type": "interval", "value": 1, "unit": "minute"}),
        (5400.0, {"type": "interval", "value": 90, "unit": "minute"}),
        (timedelta(hours=6), {"type": "interval", "value": 6, "unit": "hour"}),
        (schedule(timedelta(days=7)), {"type": "interval", "value": 7, "unit": "day"}),
    ],
    ids=str,
)
def test_celerys_schedules_are_sentrys(when: Any, expected: dict[str, Any]) -> None:
    monitor = monitor_of(app_with(nightly=entry(when)), "nightly")
    assert monitor is not None
    assert monitor.config is not None
    assert monitor.config["schedule"] == expected


@pytest.mark.parametrize(
    ("when", "why"),
    [
        (30, "every 30s"),
        (90, "every 90s"),
        (60.5, "whole minutes"),
        (Tide(), "no schedule of the kind 'Tide'"),
        (crontab("0", "4", "monday", day_of_month="1"), "both"),
    ],
    ids=str,
)
def test_what_sentry_has_no_schedule_for_is_not_watched(when: Any, why: str) -> None:
    with pytest.raises(Unwatched, match=why):
        monitor_of(app_with(nightly=entry(when)), "nightly")


def test_an_entry_can_be_left_out() -> None:
    assert monitor_of(app_with(nightly=entry(sentry_monitor=False)), "nightly") is None


def test_what_the_schedule_and_the_limits_say_is_the_default() -> None:
    app = app_with(
        hourly=entry(120, task="plain.slow"), called=entry(300, time_limit=61), none=entry(60)
    )
    app.serving = "low"

    def config(name: str) -> Any:
        monitor = monitor_of(app, name)
        assert monitor is not None
        assert monitor.config is not None
        return {key: monitor.config[key] for key in ("checkin_margin", "max_runtime")}

    # The limit, and the longest wait for the next attempt: ten minutes unless the file says more.
    assert config("hourly") == {"checkin_margin": 1, "max_runtime": 25}
    assert config("called") == {"checkin_margin": 4, "max_runtime": 12}
    assert config("none") == {"checkin_margin": 1, "max_runtime": 30}


def test_what_the_entry_says_counts() -> None:
    said = {
        "checkin_margin": "90s",
        "max_runtime": "2h",
        "failure_issue_threshold": 3,
        "recovery_threshold": 2,
        "owner": "team:billing",
    }
    app = app_with(nightly=entry(sentry_monitor=said))
    app.conf.timezone = "Europe/Berlin"
    monitor = monitor_of(app, "nightly")
    assert monitor is not None
    assert monitor.config == {
        "schedule": {"type": "crontab", "value": "30 2 * * *"},
        "timezone": "Europe/Berlin",
        "checkin_margin": 2,
        "max_runtime": 120,
        "failure_issue_threshold": 3,
        "recovery_threshold": 2,
        "owner": "team:billing",
    }


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("yes", "expected a dictionary, or False, got: 'yes'"),
        ({"max_runtme": "1h"}, "did you mean 'max_runtime'"),
        ({"max_runtime": 30}, "a duration with its unit"),
        ({"checkin_margin": "0s"}, "expected 1m to 28d, got: '0s'"),
        ({"checkin_margin": "29d"}, "expected 1m to 28d"),
        ({"failure_issue_threshold": 0}, "expected a whole number of 1 to 720, got: 0"),
        ({"recovery_threshold": True}, "got: True"),
        ({"owner": "billing"}, "expected 'team:…' or 'user:…', got: 'billing'"),
    ],
    ids=str,
)
def test_a_wrong_monitor_says_where_and_why(said: Any, why: str) -> None:
    with pytest.raises(SettingsError) as error:
        monitor_of(app_with(nightly=entry(sentry_monitor=said)), "nightly")
    assert "beat_schedule['nightly']: sentry_monitor" in str(error.value)
    assert why in str(error.value)


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("nightly", "nightly"),
        ("Send the Report: 7 a.m.", "send-the-report-7-a-m"),
        ("billing.tasks.close_day", "billing-tasks-close_day"),
        ("a" * 50, "a" * 50),
    ],
)
def test_slugs(name: str, slug: str) -> None:
    assert slug_of(name) == slug


@pytest.mark.parametrize("name", ["Ω", "", "42", "a" * 51, "a b" * 40, "\ud800"])
def test_a_slug_is_always_one_that_sentry_takes(name: str) -> None:
    slug = slug_of(name)
    assert 0 < len(slug) <= 50
    assert not slug.isdigit()
    assert set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")


def test_two_entries_with_one_slug_are_not_mixed_up() -> None:
    app = app_with(**{"close.day": entry(), "close-day": entry()})
    with pytest.raises(Unwatched, match=r"'close\.day' is not watched.*'close-day'.*Rename one"):
        monitor_of(app, "close.day")


def test_celerys_entry_takes_the_option() -> None:
    """The option stands in ``options``: what Celery does not know beside it, it refuses."""
    ScheduleEntry(**entry(sentry_monitor={}), name="nightly", app=app_with())
    with pytest.raises(TypeError):
        ScheduleEntry(**entry(), sentry_monitor={}, name="nightly", app=app_with())
