"""A queue's values: what they may be, what they are when unsaid, and what follows from them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import celery.concurrency
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from laneway.policy.queues import POOL_CAN, BrokerLimits, Queue, Retries, Scaling, WorkerShape


def make_queue(**content: Any) -> Queue:
    return Queue.model_validate(
        {"name": "high", "summary": "for tests", "service_level": "1s", **content}
    )


def test_what_a_queue_is_when_nothing_is_said() -> None:
    assert make_queue().model_dump() == {
        "name": "high",
        "summary": "for tests",
        "service_level": 1.0,
        "broker": {
            "vhost": "jobs",
            "max_length": 1_000_000,
            "delivery_limit": 5,
            "consumer_timeout": None,
        },
        "worker": {
            "pool": "prefork",
            "concurrency": 4,
            "soft_time_limit": None,
            "time_limit": None,
            "inversion_budget": 0.025,
            "max_tasks_per_child": None,
            "grace_period": 30.0,
            "unknown_task_grace": 300.0,
        },
        "retry": {"first": 2.0, "longest": 600.0, "budget": 0.2},
        "scaling": {
            "autoscaler": "none",
            "min": 1,
            "max": 10,
            "utilisation": 0.7,
            "drain": None,
            "expected_runtime": 1.0,
            "scale_in_after": 300.0,
        },
    }


@pytest.mark.parametrize(
    ("section", "key", "lowest", "highest"),
    [
        ("broker", "max_length", 1, 10_000_000),
        ("broker", "delivery_limit", 1, 1000),
        ("worker", "concurrency", 1, 1000),
        ("worker", "max_tasks_per_child", 1, 1_000_000),
        ("scaling", "min", 1, 1000),
        ("scaling", "max", 1, 1000),
    ],
)
def test_the_bounds_of_numbers(section: str, key: str, lowest: int, highest: int) -> None:
    for fits in (lowest, highest):
        assert getattr(getattr(make_queue(**{section: {key: fits}}), section), key) == fits
    for wrong in (lowest - 1, highest + 1, float(lowest), str(lowest), True, None, [lowest]):
        with pytest.raises(ValidationError, match="expected a whole number from"):
            make_queue(**{section: {key: wrong}})


@pytest.mark.parametrize(
    ("section", "key", "shortest", "longest", "too_short", "too_long"),
    [
        (None, "service_level", "1ms", "7d", "0.9ms", "7.1d"),
        ("broker", "consumer_timeout", "1m", "30d", "59s", "31d"),
        ("worker", "soft_time_limit", "100ms", "7d", "99ms", "8d"),
        ("worker", "time_limit", "100ms", "7d", "99ms", "8d"),
        ("worker", "inversion_budget", "0s", "10s", "-1s", "10001ms"),
        ("worker", "grace_period", "0s", "1d", "-1s", "25h"),
        ("scaling", "drain", "1s", "7d", "0.9s", "8d"),
        ("scaling", "expected_runtime", "1ms", "7d", "0.9ms", "8d"),
        ("scaling", "scale_in_after", "0s", "1h", "-1s", "61m"),
    ],
)
def test_the_bounds_of_durations(
    section: str | None, key: str, shortest: str, longest: str, too_short: str, too_long: str
) -> None:
    def content(value: object) -> dict[str, Any]:
        return {section: {key: value}} if section else {key: value}

    for fits in (shortest, longest):
        make_queue(**content(fits))
    for wrong in (too_short, too_long, 30, 30.0, "30", "s", "", None, True):
        with pytest.raises(ValidationError, match="expected a duration from"):
            make_queue(**content(wrong))


@pytest.mark.parametrize("summary", ["", "   ", "two\nlines", 3, None])
def test_a_summary_is_one_line(summary: object) -> None:
    with pytest.raises(ValidationError, match="expected a line that says whom the queue serves"):
        make_queue(summary=summary)


@pytest.mark.parametrize(
    ("service_level", "said", "seconds"),
    [("1s", None, 5), ("15s", None, 15), ("15m", None, 900), ("15m", "1m", 60), ("1h", "1s", 1)],
)
def test_a_backlog_is_worked_off_within_the_service_level_but_not_faster_than_it_is_seen(
    service_level: str, said: str | None, seconds: float
) -> None:
    scaling = {} if said is None else {"drain": said}
    assert make_queue(service_level=service_level, scaling=scaling).drain == seconds


def test_a_queue_cannot_be_changed() -> None:
    queue = make_queue()
    with pytest.raises(ValidationError, match="frozen"):
        queue.worker.concurrency = 8  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        queue.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(("vhost", "secure"), [("jobs", False), ("secure", True)])
def test_the_virtual_host_makes_a_queue_secure(vhost: str, secure: bool) -> None:
    queue = make_queue(broker={"vhost": vhost})
    assert (queue.vhost, queue.secure) == (vhost, secure)


def test_the_name_does_not_make_a_queue_secure() -> None:
    assert not make_queue(name="secure").secure


@pytest.mark.parametrize(
    ("limit", "said", "seconds"),
    [
        (None, None, 1800),
        ("30s", None, 1800),
        ("14m", None, 1800),
        ("15m", None, 1860),
        ("1h", None, 7260),
        ("1h", "2h", 7200),
        (None, "1m", 60),
    ],
)
def test_the_broker_waits_longer_than_any_job_takes(
    limit: str | None, said: str | None, seconds: float
) -> None:
    worker = {"time_limit": limit} if limit else {}
    broker = {"consumer_timeout": said} if said else {}
    assert make_queue(worker=worker, broker=broker).consumer_timeout == seconds


@given(st.floats(0.1, 604_800.0))
def test_an_unsaid_consumer_timeout_is_above_every_time_limit(limit: float) -> None:
    queue = make_queue(worker={"time_limit": f"{limit:.3f}s"})
    assert queue.worker.time_limit is not None
    assert queue.consumer_timeout >= queue.worker.time_limit + 60


def test_the_solo_pool_runs_one_job_unless_told_otherwise() -> None:
    assert make_queue(worker={"pool": "solo"}).worker.concurrency == 1
    assert make_queue(worker={"pool": "threads"}).worker.concurrency == 4


def test_every_pool_is_one_of_celerys_or_the_platforms_own() -> None:
    assert set(POOL_CAN) - {"direct"} <= set(celery.concurrency.get_available_pool_names())
    # A name of Celery's would start Celery's pool.
    assert "direct" not in celery.concurrency.ALIASES


def test_the_reference_names_every_key_and_no_other() -> None:
    reference = Path(__file__).resolve().parents[2] / "docs" / "reference" / "policy.md"
    table = reference.read_text().partition("| key | unit |")[2].partition("\n\n")[0]
    sections: list[type[BaseModel]] = [Queue, BrokerLimits, WorkerShape, Retries, Scaling]
    keys = {key for section in sections for key in section.model_fields}
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == keys - {
        "name",
        "broker",
        "worker",
        "retry",
        "scaling",
    }
