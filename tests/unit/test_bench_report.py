"""The document of a run and the report that is made of it."""

# ruff: noqa: RUF001 -- the signs of the report

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from bench.account import account
from bench.plan import Visit
from bench.report import markdown, topics
from bench.results import Results
from bench.systems import SYSTEMS

if TYPE_CHECKING:
    from pathlib import Path

BY_KEY = {system.key: system for system in SYSTEMS}
EXACT = account([range(10)], range(10))
ABOUT: dict[str, Any] = {
    "command": "laneway bench",
    "mode": "default",
    "started": "2026-01-01 00:00 UTC",
    "minutes": 1.0,
    "runs": 2,
    "runs_done": 2,
    "rabbitmq": "4.3.6",
    "ledger_us": 1.2,
    "machine": {
        "cpu": "a processor",
        "cores": 2,
        "memory_gb": 8.0,
        "kernel": "6",
        "load_before": 0.1,
        "fsync_ms": {"median": 0.4, "max": 4.0},
    },
    "versions": {"Laneway": {"celery": "5.7.0"}},
}


@pytest.fixture
def results() -> Results:
    """Two runs of three systems."""
    results = Results(about=dict(ABOUT))
    rates = {"laneway-prefork": 4000, "celery-tuned-1": 1000, "dramatiq": 4100}
    for key in (*rates, "celery-defaults"):
        results.add_system(BY_KEY[key])
    for run in range(2):
        for key, rate in rates.items():
            visit = Visit(run=run, group="work", system=BY_KEY[key])
            waits = {"latency_p50": 2.0, "latency_p95": 4.0, "latency_p99": 8.0}
            results.add(visit, {"drain_noop": rate + 100.0 * run, **waits}, EXACT, {})
        visit = Visit(run=run, group="work", system=BY_KEY["celery-defaults"])
        results.add(visit, {"drain_noop": 2000.0}, EXACT, {"latency": "5 jobs/s"})
    return results


def lines_with(text: str, *parts: str) -> list[str]:
    return [line for line in text.splitlines() if all(part in line for part in parts)]


def test_a_line_has_the_median_the_range_and_the_ratios(results: Results) -> None:
    (line,) = lines_with(markdown(results), "| Laneway, prefork | 4,050")
    assert line == "| Laneway, prefork | 4,050 (4,000–4,100) | 3.9× | tie | 0 | 0 |"


def test_the_defaults_stand_apart(results: Results) -> None:
    text = markdown(results).partition("## Drain")[2]
    equal, _, defaults = text.partition("*their defaults")
    assert "Celery, its defaults |" not in equal
    assert "Celery, its defaults | 2,000" in defaults


def test_percentiles_share_a_table_and_the_95th_is_compared(results: Results) -> None:
    keys = list(results.measures)
    assert list(topics(keys)) == [
        ("drain_noop",),
        ("latency_p50", "latency_p95", "latency_p99"),
    ]
    assert lines_with(markdown(results), "| system | p50 | p95 | p99 | p95 vs Celery tuned, 1 |")


def test_in_short_says_laneway_against_each(results: Results) -> None:
    (line,) = lines_with(markdown(results), "| Drain a filled queue: no-op (jobs/s) |")
    assert line.endswith("| 3.9× | tie |")


def test_a_run_without_loss_is_not_red(results: Results) -> None:
    assert not results.is_red
    assert "No job was lost." in markdown(results)


def test_one_lost_job_turns_the_run_red(results: Results) -> None:
    visit = Visit(run=2, group="work", system=BY_KEY["dramatiq"])
    results.add(visit, {}, account([range(10)], range(9)), {})
    assert results.is_red
    assert results.lossy == ["dramatiq"]
    text = markdown(results)
    assert "**RED: jobs were lost: dramatiq.**" in text
    assert lines_with(text, "| dramatiq |", "| **1** | 0 |")
    assert "No job was lost." not in text


def test_a_duplicate_is_shown_and_is_no_loss(results: Results) -> None:
    visit = Visit(run=2, group="work", system=BY_KEY["dramatiq"])
    results.add(visit, {}, account([range(10)], [*range(10), 3]), {})
    assert not results.is_red
    assert lines_with(markdown(results), "| dramatiq |", "| 0 | 1 |")


def test_a_system_that_broke_down_turns_the_run_red(results: Results) -> None:
    results.failures.append("work, run 1: taskiq: its worker ended by itself\nand its log")
    assert results.is_red
    assert "**FAILED:** work, run 1: taskiq: its worker ended by itself" in markdown(results)


def test_who_is_absent_is_said_with_the_reason(results: Results) -> None:
    results.absent["taskiq"] = "ModuleNotFoundError: No module named 'taskiq_aio_pika'"
    (line,) = lines_with(markdown(results), "Not measured: `taskiq`")
    assert "ModuleNotFoundError" in line


def test_the_document_comes_back_as_it_was(results: Results, tmp_path: Path) -> None:
    results.save(tmp_path / "results.json")
    again = Results.load(tmp_path / "results.json")
    assert again == results
    assert markdown(again) == markdown(results)


def test_growth_is_in_the_order_of_the_lengths(results: Results) -> None:
    visit = replace(Visit(run=0, group="growth", system=BY_KEY["laneway-prefork"]))
    results.add(visit, {"growth_100000": 2.0, "growth_1000": 1.0}, EXACT, {})
    assert list(results.measures)[-2:] == ["growth_1000", "growth_100000"]
