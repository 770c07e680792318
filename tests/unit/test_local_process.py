"""Only the recorded processes are hit, with everything that came from them."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from laneway.local.process import RUN_VARIABLE, ProcessRecord, Stat, kill_families

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def spawn() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def start(script: str = "exec sleep 60", **options: object) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(["sh", "-c", script], **options)  # type: ignore[call-overload]
        started.append(child)
        return child  # type: ignore[no-any-return]

    yield start
    for child in started:
        child.kill()
        child.wait()


def ends_within(seconds: float, pid: int) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        stat = Stat.read(pid)
        if stat is None or stat.is_dead:
            return True
        time.sleep(0.01)
    return False


def pid_in(file: Path) -> int:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if file.exists() and (text := file.read_text().strip()):
            return int(text)
        time.sleep(0.01)
    raise AssertionError(f"no pid in {file}")


def test_a_record_survives_the_file(
    spawn: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    record = ProcessRecord.of(spawn().pid, "sleeper")
    record.save(tmp_path / "record.json")
    assert ProcessRecord.load(tmp_path / "record.json") == record
    assert record.is_alive()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}'])
def test_a_damaged_record_is_no_record(tmp_path: Path, text: str) -> None:
    (tmp_path / "record.json").write_text(text)
    assert ProcessRecord.load(tmp_path / "record.json") is None


def test_no_process_no_record() -> None:
    with pytest.raises(ProcessLookupError, match="worker-high"):
        ProcessRecord.of(2**22 + 1, "worker-high")


def test_a_zombie_is_not_alive(spawn: Callable[..., subprocess.Popen[bytes]]) -> None:
    child = spawn()
    record = ProcessRecord.of(child.pid, "sleeper")
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not record.is_alive()


@pytest.mark.parametrize("change", [{"started": 1}, {"boot": "another boot"}])
def test_a_reused_pid_is_left_alone(
    spawn: Callable[..., subprocess.Popen[bytes]], change: dict[str, int]
) -> None:
    stranger = spawn(start_new_session=True)
    record = ProcessRecord.of(stranger.pid, "rabbitmq")
    kill_families([dataclasses.replace(record, **change)])  # type: ignore[arg-type]
    assert stranger.poll() is None


def test_the_session_of_the_caller_is_left_alone(
    spawn: Callable[..., subprocess.Popen[bytes]],
) -> None:
    worker, neighbour = spawn(), spawn()
    kill_families([ProcessRecord.of(worker.pid, "worker")])
    assert worker.wait(30) == -9
    assert neighbour.poll() is None


@pytest.mark.parametrize(
    "script",
    [
        "sleep 60 & echo $! > {file}; wait; sleep 60",
        "setsid sleep 60 & echo $! > {file}; wait; sleep 60",
        "(sh -c 'sleep 60 & echo $! > {file}; wait' &); wait; sleep 60",
    ],
    ids=["child", "child in a session of its own", "orphan in the session"],
)
def test_a_family_goes_together(
    spawn: Callable[..., subprocess.Popen[bytes]], tmp_path: Path, script: str
) -> None:
    file = tmp_path / "pid"
    leader = spawn(script.format(file=file), start_new_session=True)
    child = pid_in(file)
    kill_families([ProcessRecord.of(leader.pid, "leader")])
    # Killed, or ended with the status of its last sleep, which was killed a moment earlier.
    assert leader.wait(30) in (-9, 128 + 9)
    assert ends_within(30, child)


def test_a_detached_orphan_is_known_by_its_environment(
    spawn: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    file = tmp_path / "pid"
    script = f"setsid sh -c 'echo $$ > {file}; exec sleep 60' &"
    parent = spawn(script, env={**os.environ, RUN_VARIABLE: "run-1"})
    orphan = pid_in(file)
    parent.wait()
    kill_families([], run_id="run-2")
    assert not ends_within(0.2, orphan)
    kill_families([], run_id="run-1")
    assert ends_within(30, orphan)


def test_the_caller_and_its_parents_are_never_killed() -> None:
    code = (
        "import os; from laneway.local.process import *;"
        "kill_families([ProcessRecord.of(os.getppid(), 'parent')], run_id='run-3'); print('alive')"
    )
    done = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -c "{code}"; echo parent too'],
        env={**os.environ, RUN_VARIABLE: "run-3"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split("\n")[:2] == ["alive", "parent too"]
