"""A run owns its processes and its folder; both end with it, or with the next run."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from laneway.local import RunDirectory, laneway_home, reap_abandoned_runs
from laneway.local.process import ProcessRecord
from laneway.local.rundir import write_private


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LANEWAY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def sleeper(run: RunDirectory) -> ProcessRecord:
    child = run.spawn(
        ["sleep", "60"], name="sleeper", log=run.path / "log", environment={"PATH": os.defpath}
    )
    return ProcessRecord.of(child.pid, "sleeper")


def owner(script: str) -> subprocess.Popen[str]:
    """Another program that owns a run; it prints a line when `script` is done, then waits."""
    code = (
        "import os, subprocess, time\nfrom laneway.local import *\n"
        "with RunDirectory.create() as run:\n"
        f"    {script}\n    print(run.id, flush=True)\n    time.sleep(60)\n"
    )
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


SPAWN = "run.spawn(['sleep', '77'], name='s', log=run.path / 'log', environment=os.environ)"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"LANEWAY_HOME": "/a"}, Path("/a")),
        ({"XDG_STATE_HOME": "/b"}, Path("/b/laneway")),
        ({"HOME": "/c"}, Path("/c/.local/state/laneway")),
    ],
)
def test_where_runs_live(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: Path
) -> None:
    for name in ("LANEWAY_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert laneway_home() == expected


def test_nobody_else_can_look_inside() -> None:
    with RunDirectory.create() as run:
        folders = [run.path, run.folder("rabbitmq"), run.folder("rabbitmq")]
        assert [f.name for f in folders[1:]] == ["rabbitmq", "rabbitmq-2"]
        assert {stat.S_IMODE(f.stat().st_mode) for f in folders} == {0o700}
        write_private(run.path / "secret", "x")
        assert stat.S_IMODE((run.path / "secret").stat().st_mode) == 0o600


def test_the_end_of_a_run_leaves_nothing(home: Path) -> None:
    with RunDirectory.create() as run:
        process = sleeper(run)
        assert process.is_alive()
        assert process.session == process.pid
    assert not process.is_alive()
    assert list((home / "runs").iterdir()) == []
    run.close()


def test_a_tracked_process_of_the_caller_ends_with_the_run() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        with RunDirectory.create() as run:
            run.track(child.pid, "worker-high")
        assert child.wait(30) == -signal.SIGKILL


def test_an_untracked_process_does_not() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        with RunDirectory.create() as run:
            run.track(child.pid, "worker-high")
            run.untrack(child.pid)
        assert child.poll() is None
        child.kill()


def test_the_owner_cannot_be_tracked() -> None:
    with RunDirectory.create() as run, pytest.raises(ValueError, match="owner"):
        run.track(os.getpid(), "myself")


def test_a_living_run_is_not_reaped(home: Path) -> None:
    with RunDirectory.create() as run:
        process = sleeper(run)
        assert reap_abandoned_runs() == 0
        with RunDirectory.create() as other:
            assert {p.name for p in (home / "runs").iterdir()} == {run.id, other.id}
        assert process.is_alive()


def test_what_a_killed_owner_left_is_reaped_by_the_next_run(home: Path) -> None:
    with owner(SPAWN) as other:
        assert other.stdout is not None
        run_id = other.stdout.readline().strip()
        (file,) = (home / "runs" / run_id / "processes").glob("*.json")
        process = ProcessRecord.load(file)
        other.kill()
    assert process is not None
    assert process.is_alive()
    lines: list[str] = []
    with RunDirectory.create(report=lines.append) as run:
        assert [p.name for p in (home / "runs").iterdir()] == [run.id]
    assert not process.is_alive()
    assert len(lines) == 1
    assert run_id in lines[0]


def test_sigterm_ends_a_run_cleanly(home: Path) -> None:
    with owner(SPAWN) as other:
        assert other.stdout is not None
        run_id = other.stdout.readline().strip()
        (file,) = (home / "runs" / run_id / "processes").glob("*.json")
        process = ProcessRecord.load(file)
        other.terminate()
        assert other.wait(30) == 128 + signal.SIGTERM
    assert process is not None
    assert not process.is_alive()
    assert list((home / "runs").iterdir()) == []


def test_a_fork_of_the_owner_does_not_end_the_run() -> None:
    with RunDirectory.create() as run:
        process = sleeper(run)
        child = os.fork()
        if child == 0:
            run.kill(process.pid)
            run.close()
            os._exit(0)
        os.waitpid(child, 0)
        assert process.is_alive()
        assert run.path.is_dir()


def test_half_made_runs_are_cleared(home: Path) -> None:
    (home / "runs" / "20260101-000000-dead").mkdir(parents=True)
    (home / "runs" / "a file").touch()
    assert reap_abandoned_runs() == 1
    assert [p.name for p in (home / "runs").iterdir()] == ["a file"]
