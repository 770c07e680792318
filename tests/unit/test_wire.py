"""A worker's stderr: facts are facts, and everything else stays readable."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import pytest

from laneway.facts import Fact
from laneway.log import JsonFormatter
from laneway.workloads import wire
from laneway.workloads.wire import LogFile, parse_line

if TYPE_CHECKING:
    from pathlib import Path


def written(**record: object) -> str:
    """A line as the worker's own formatter writes it."""
    made = logging.LogRecord("shop", logging.WARNING, "f", 1, "hello %s", ("you",), None)
    made.__dict__.update(record)
    return JsonFormatter().format(made)


def test_a_fact_comes_out_as_it_went_in() -> None:
    fact = Fact(kind="started", at=1.5, queue="high", task="t", task_id="1", wait=0.25, priority=9)
    assert parse_line(written(fact=fact) + "\n") == fact


def test_a_log_record_becomes_a_readable_line() -> None:
    line = parse_line(written(created=0.0))
    assert line == "00:00:00.000 warning shop: hello you"


def test_a_traceback_stays_with_its_record() -> None:
    line = parse_line('{"log": {"message": "oh", "traceback": "Traceback ...\\nValueError"}}')
    assert line == "oh\nTraceback ...\nValueError"


@pytest.mark.parametrize(
    "line",
    [
        "plain text",
        "",
        "{not json",
        '{"other": 1}',
        "[1]",
        '{"fact": "no"}',
        '{"fact": {"kind": 5, "at": 1}}',
        '{"fact": {"kind": "started"}}',
        '{"log": {"level": "info"}}',
    ],
)
def test_anything_else_stays_as_it_is(line: str) -> None:
    assert parse_line(line + "\n") == line


def test_a_newer_worker_may_tell_more() -> None:
    line = json.dumps({"fact": {"kind": "started", "at": 1, "invented_later": True}})
    assert parse_line(line) == Fact(kind="started", at=1)


def test_a_log_is_set_aside_once_when_it_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAX_LOG_BYTES", 100)
    log = LogFile(tmp_path / "high.log")
    for number in range(100):
        log.write(f"line {number}")
    log.close()
    assert {file.name for file in tmp_path.iterdir()} == {"high.log", "high.log.1"}
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 300
    assert "line 99\n" in "".join(file.read_text() for file in tmp_path.iterdir())


def test_the_tail_is_there_at_once(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "high.log")
    log.write("one")
    log.write("two")
    assert log.tail(1) == "two"
    log.close()
