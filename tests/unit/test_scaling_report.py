"""The report of a worker, and what is none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.scaling import Report, read_report

counts = st.integers(0, 10**12)
seconds = st.floats(0, 1e9)
names = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=80)
reports = st.builds(
    Report,
    queue=names,
    worker=names,
    run=names,
    up=seconds,
    every=seconds,
    concurrency=counts,
    consumers=counts,
    busy=counts,
    running_for=seconds,
    ended=counts,
    runtime=seconds,
    started=counts,
    wait=seconds,
    waits=st.lists(st.tuples(st.none() | seconds, counts), max_size=20).map(tuple),
    leaving=st.booleans(),
)
WELL: dict[str, Any] = {
    "queue": "high",
    "worker": "high@a",
    "run": "1",
    "up": 1.0,
    "every": 5,
    "concurrency": 4,
    "consumers": 1,
    "busy": 1,
    "running_for": 0.5,
    "ended": 3,
    "runtime": 0.3,
    "started": 4,
    "wait": 0.1,
    "waits": [[0.001, 3], [None, 1]],
    "leaving": False,
}


@given(reports)
def test_it_is_read_as_it_was_written(report: Report) -> None:
    assert read_report(report.encode()) == report


def test_one_that_is_well() -> None:
    report = read_report(json.dumps(WELL).encode())
    assert report is not None
    assert report.waits == ((0.001, 3), (None, 1))


def test_what_a_newer_version_says_besides_is_left_alone() -> None:
    assert read_report(json.dumps({**WELL, "more": 1}).encode()) is not None


@pytest.mark.parametrize("name", WELL)
def test_every_part_must_be_there(name: str) -> None:
    said = {key: value for key, value in WELL.items() if key != name}
    assert read_report(json.dumps(said).encode()) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"busy": -1},
        {"busy": 1.5},
        {"busy": True},
        {"busy": "1"},
        {"busy": 10**20},
        {"runtime": -0.1},
        {"up": True},
        {"runtime": None},
        {"queue": ""},
        {"queue": "x" * 300},
        {"worker": 7},
        {"waits": 7},
        {"waits": [[1]]},
        {"waits": [[-1, 1]]},
        {"waits": [[1, 1]] * 65},
    ],
)
def test_what_no_worker_says(wrong: dict[str, Any]) -> None:
    assert read_report(json.dumps({**WELL, **wrong}).encode()) is None


def test_one_that_is_too_long_is_not_read() -> None:
    assert read_report(json.dumps({**WELL, "more": "x" * 3000}).encode()) is not None
    assert read_report(json.dumps({**WELL, "more": "x" * 5000}).encode()) is None


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number(number: str) -> None:
    assert read_report(json.dumps(WELL).replace("0.5", number).encode()) is None


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b"7", b"[" * 100_000, b" " * 5000])
def test_what_is_no_report_at_all(body: bytes) -> None:
    assert read_report(body) is None


@given(st.binary(max_size=200))
def test_no_bytes_raise(body: bytes) -> None:
    assert read_report(body) is None
