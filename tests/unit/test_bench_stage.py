"""A system's processes: what they see, and what is said when one ends by itself."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from bench.setup import blocks, last_line, write_policy
from bench.stage import Place, Stage, SystemFailed, clean_environment
from bench.systems import System
from laneway.local import RunDirectory
from laneway.policy import load_policy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Script(System):
    """A system whose worker is a line of Python."""

    def worker(self, queue: str) -> list[str]:
        return ["-c", self.settings]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunDirectory]:
    monkeypatch.setenv("LANEWAY_HOME", str(tmp_path / "home"))
    with RunDirectory.create() as run:
        yield run


def stage_of(line: str, run: RunDirectory, folder: Path) -> Stage:
    system = Script(key="script", title="a script", row="equal", app="none", settings=line)
    place = Place(
        broker="amqp://nobody@127.0.0.1:1", vhost="", python=sys.executable, environment={}
    )
    return Stage(system, place, run, folder)


def test_a_worker_that_ends_by_itself_is_told_with_the_end_of_its_log(
    run: RunDirectory, tmp_path: Path
) -> None:
    stage = stage_of("import sys; sys.exit('no such pool')", run, tmp_path)
    with (
        pytest.raises(SystemFailed, match=r"(?s)ended by itself \(status 1\).*no such pool"),
        stage.worker("default"),
    ):
        stage.wait_for_starts(1, silence=60)


def test_a_worker_that_stays_is_told_to_stop(run: RunDirectory, tmp_path: Path) -> None:
    line = "import signal; signal.signal(15, lambda *_: exit()); print(flush=True); signal.pause()"
    with stage_of(line, run, tmp_path).worker("default") as worker:
        assert worker.processes() == [worker.pid]


def test_waiting_for_jobs_that_never_start_ends(run: RunDirectory, tmp_path: Path) -> None:
    assert not stage_of("", run, tmp_path).wait_for_starts(1, silence=0.05)


def test_no_two_jobs_have_the_same_number(run: RunDirectory, tmp_path: Path) -> None:
    stage = stage_of("", run, tmp_path)
    first, second = stage.numbers(3), stage.numbers(2)
    assert list(first) + list(second) == list(range(first.start, first.start + 5))
    assert len(str(first.start)) == 10


def test_a_system_sees_nothing_that_would_set_it_another_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("LANEWAY_POLICY", "CELERY_BROKER_URL", "dramatiq_queue_prefetch", "PYTHONPATH"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("LANG", "C")
    seen = clean_environment()
    assert "x" not in seen.values()
    assert seen["LANG"] == "C"


def test_the_policy_differs_from_the_shipped_one_in_pool_and_concurrency_only(
    tmp_path: Path,
) -> None:
    write_policy(tmp_path, pool="prefork")
    policy, shipped = load_policy(tmp_path), load_policy()
    assert set(policy.queues) == {"default", "high", "low"}
    expected = shipped.queues["default"].worker.model_copy(update={"concurrency": 2})
    assert {queue.worker for queue in policy.queues.values()} == {expected}
    assert policy.queues["low"].broker == shipped.queues["default"].broker


def test_the_last_line_is_the_one_that_says_something() -> None:
    assert last_line("a\nError: b\n\n") == "Error: b"
    assert last_line("") == "(no message)"


def test_a_lock_file_is_its_requirements_each_with_its_hashes() -> None:
    first, second = "a==1 \\\n    --hash=sha256:1\n", "b==2 ; x < '3' \\\n    --hash=sha256:2\n"
    assert blocks(f"# made by\n{first}    # via b\n{second}") == [first, second]
