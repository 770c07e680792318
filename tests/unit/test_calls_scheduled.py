"""The jobs of a schedule say which entry made them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, signals
from celery.beat import Scheduler, Service
from celery.schedules import crontab

from laneway import Laneway
from laneway.calls.call import without_destination
from laneway.calls.scheduled import ENTRY_HEADER, entry_of
from laneway.outbox.compose import composing
from laneway.policy import load_policy
from laneway.worker.direct.properties import decode
from support.workers import POLICY

if TYPE_CHECKING:
    from pathlib import Path


def nothing(*_: object) -> None:
    """The task's code."""


def make() -> Laneway:
    app = Laneway("tests", policy=load_policy(POLICY), backend="disabled://", set_as_current=False)
    app.task(name="plain.report", shared=False)(nothing)
    app.conf.beat_schedule = {
        "nightly": {
            "task": "plain.report",
            "schedule": crontab(hour=2),
            "options": {"queue": "low", "sentry_monitor": {"owner": "team:a"}},
        },
        "by name": {"task": "plain.elsewhere", "schedule": 60},
        "own": {
            "task": "plain.report",
            "schedule": 60,
            "options": {"headers": {"tenant": 7}},
        },
    }
    return app


class Beat(Service):
    """Celery's beat, which does not begin to tick."""

    scheduler_cls = Scheduler

    def __init__(self, app: Any, path: Path) -> None:
        super().__init__(app, schedule_filename=str(path / "schedule"))
        signals.beat_init.send(sender=self)


def headers(app: Laneway, scheduler: Any, name: str) -> dict[str, Any]:
    with composing(app) as composed:
        scheduler.apply_async(scheduler.schedule[name], advance=False)
    [row] = composed.rows
    found: dict[str, Any] = decode(row.message.properties)["application_headers"]
    return found


def test_a_job_of_beat_names_its_entry(tmp_path: Path) -> None:
    app = make()
    scheduler = Beat(app, tmp_path).scheduler
    for name in app.conf.beat_schedule:
        assert headers(app, scheduler, name)[ENTRY_HEADER] == name
    assert headers(app, scheduler, "own")["tenant"] == 7
    # What only says how it is watched is no part of the message, nor anything that Celery sees.
    assert "sentry_monitor" not in headers(app, scheduler, "nightly")
    assert without_destination({"sentry_monitor": {}, "expires": 7}) == {"expires": 7}


def test_the_projects_settings_are_left_alone(tmp_path: Path) -> None:
    app = make()
    Beat(app, tmp_path)
    assert app.conf.beat_schedule == make().conf.beat_schedule


def test_a_name_outlives_the_next_run(tmp_path: Path) -> None:
    app = make()
    scheduler = Beat(app, tmp_path).scheduler
    scheduler.reserve(scheduler.schedule["nightly"])
    assert headers(app, scheduler, "nightly")[ENTRY_HEADER] == "nightly"


def test_the_beat_of_another_application_is_left_alone(tmp_path: Path) -> None:
    make()
    other = Celery("other", set_as_current=False)
    other.conf.beat_schedule = {"x": {"task": "plain.report", "schedule": 60}}
    scheduler = Beat(other, tmp_path).scheduler
    assert scheduler.schedule["x"].options == {}


@pytest.mark.parametrize("name", [None, 7, "", "a\nb", "x" * 256, ["a"]])
def test_a_header_that_is_no_name_is_none(name: Any) -> None:
    assert entry_of({ENTRY_HEADER: name}) is None
    assert entry_of({ENTRY_HEADER: "nightly"}) == "nightly"
