"""Result backends other than Redis: one that fails ends a job, and no process."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from support.brokers import depth
from support.letter_stream import letters
from support.workers import WorkerProcess, environment, make_app

if TYPE_CHECKING:
    from pathlib import Path

    from laneway.broker import BrokerAddress

pytestmark = pytest.mark.integration

_TABLE = "celery_taskmeta"


@pytest.mark.parametrize("pool", ["prefork", "direct"])
def test_a_database_that_fails_makes_a_letter_and_ends_no_process(
    topology: BrokerAddress, pool: str, tmp_path: Path
) -> None:
    """The job's code has run, so it is not run again: whoever looks at the letter decides."""
    file = tmp_path / "results.db"
    gate = tmp_path / "open"
    app = make_app(topology)

    def ask(*statements: str) -> list[tuple[str, ...]]:
        with closing(sqlite3.connect(file, timeout=30)) as connection, connection:
            return [row for each in statements for row in connection.execute(each)]

    def stored(task_id: str) -> str | None:
        found = ask(f"SELECT status FROM {_TABLE} WHERE task_id = '{task_id}'")
        return found[0][0] if found else None

    env = environment(topology, f"db+sqlite:///{file}")
    shape = ("--pool", pool, "--concurrency", "1")
    with WorkerProcess("low", env, *shape, app="support.rough_tasks:app") as worker:
        first = app.send_task("rough.pid", queue="low").id
        worker.wait_for("succeeded", task_id=first)
        assert stored(first) == "SUCCESS"
        held = app.send_task("plain.hold", (str(gate),), queue="low").id
        worker.wait_for("started", task_id=held)
        # Its STARTED is written after that.
        end = time.monotonic() + 30
        while stored(held) != "STARTED":
            assert time.monotonic() < end
            time.sleep(0.05)
        [(how,)] = ask(f"SELECT sql FROM sqlite_master WHERE name = '{_TABLE}'")
        ask(f"DROP TABLE {_TABLE}")
        gate.touch()
        [told] = worker.wait_for("dead_lettered", task_id=held)
        assert told.outcome == "failed"
        ask(how)
        last = app.send_task("rough.pid", queue="low").id
        worker.wait_for("succeeded", task_id=last)
        assert worker.stop() == 0
    [letter] = letters(topology, held)
    assert letter.error_type == "celery.exceptions.BackendStoreError"
    assert len(worker.of("started", task_id=held)) == 1
    assert [fact.error_type for fact in worker.of("failed")] == ["BackendStoreError"]
    # No process died of it.
    assert not worker.of("retried")
    assert stored(last) == "SUCCESS"
    assert depth(topology, "low") == depth(topology, "dead.inbox") == 0
