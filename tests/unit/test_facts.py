from __future__ import annotations

import json
import logging

import pytest

from laneway.facts import Door, Fact
from laneway.log import FactLogger, JsonFormatter, TextFormatter
from laneway.metrics import FactCounter


def test_every_listener_hears_in_order() -> None:
    heard: list[str] = []
    door = Door(clock=lambda: 12.5)
    door.listen(lambda fact: heard.append(f"first {fact.kind} {fact.at}"))
    door.listen(lambda fact: heard.append(f"second {fact.kind} {fact.at}"))
    door.tell("started", task="a.b")
    assert heard == ["first started 12.5", "second started 12.5"]


def test_a_listener_that_fails_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Fact] = []
    door = Door()

    def broken(fact: Fact) -> None:
        raise RuntimeError(fact.kind)

    door.listen(broken)
    door.listen(heard.append)
    door.tell("failed")
    assert [fact.kind for fact in heard] == ["failed"]
    assert "a listener failed" in caplog.text


def test_listening_twice_hears_once_and_leaving_ends_it() -> None:
    counter = FactCounter()
    door = Door()
    door.listen(counter)
    door.listen(counter)
    door.tell("started")
    door.leave(counter)
    door.leave(counter)
    door.tell("started")
    assert counter.count("started") == 1


def test_a_fact_survives_its_dictionary_and_drops_what_a_newer_version_says() -> None:
    fact = Fact(kind="succeeded", at=1.0, queue="high", task_id="x", runtime=0.25)
    assert fact.to_dict() == {
        "kind": "succeeded",
        "at": 1.0,
        "queue": "high",
        "task_id": "x",
        "runtime": 0.25,
    }
    assert Fact.from_dict({**fact.to_dict(), "colour": "blue"}) == fact


def test_counts_by_kind_queue_and_task() -> None:
    counter = FactCounter()
    for queue, task in (("high", "a"), ("high", "b"), ("low", "a")):
        counter(Fact(kind="started", at=0, queue=queue, task=task))
    counter(Fact(kind="failed", at=0, queue="low", task="a"))
    assert counter.count("started") == 3
    assert counter.count("started", queue="high") == 2
    assert counter.count("started", task="a") == 2
    assert counter.count("started", queue="low", task="b") == 0
    assert counter.totals() == {"started": 3, "failed": 1}


def record(fact: Fact) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": "%s", "args": (fact.kind,), "fact": fact})


FAILED = Fact(kind="failed", at=0.0, queue="low", task="a.b", reason='it said "no"\nand left')


def test_json_is_one_line_with_the_facts_fields() -> None:
    line = JsonFormatter().format(record(FAILED))
    assert "\n" not in line
    assert Fact.from_dict(json.loads(line)["fact"]) == FAILED


def test_text_is_one_line_even_if_the_reason_is_not() -> None:
    line = TextFormatter().format(record(FAILED))
    assert line.count("\n") == 0
    assert "failed queue=low task=a.b" in line


def test_a_traceback_stays_in_its_json_line() -> None:
    try:
        raise ValueError("boom")
    except ValueError as error:
        info = (ValueError, error, error.__traceback__)
    line = JsonFormatter().format(logging.makeLogRecord({"msg": "oops", "exc_info": info}))
    assert "\n" not in line
    assert "ValueError: boom" in json.loads(line)["log"]["traceback"]


@pytest.mark.parametrize(
    ("kind", "level"),
    [("failed", logging.ERROR), ("retried", logging.WARNING), ("succeeded", logging.INFO)],
)
def test_the_level_follows_the_kind(
    caplog: pytest.LogCaptureFixture, kind: str, level: int
) -> None:
    with caplog.at_level(logging.DEBUG, "laneway.job"):
        FactLogger()(Fact(kind=kind, at=0))  # type: ignore[arg-type]
    assert [r.levelno for r in caplog.records] == [level]
