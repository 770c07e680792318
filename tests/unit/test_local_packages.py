"""Installs start no service, whatever happens, and leave policy-rc.d as it was."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path

import pytest

from laneway.local import packages
from laneway.local.errors import InstallFailed
from laneway.local.packages import apt_install, no_service_starts, run_command


@pytest.fixture
def sbin(tmp_path: Path) -> Path:
    folder = tmp_path / "usr/sbin"
    folder.mkdir(parents=True)
    return folder


def test_the_guard_forbids_starts_and_goes_again(sbin: Path, tmp_path: Path) -> None:
    with no_service_starts(tmp_path):
        answer = subprocess.run([sbin / "policy-rc.d", "rabbitmq-server", "start"], check=False)
        assert answer.returncode == 101
    assert list(sbin.iterdir()) == []


def test_an_existing_policy_is_put_aside_and_comes_back(sbin: Path, tmp_path: Path) -> None:
    policy = sbin / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 104\n")
    policy.chmod(0o750)
    with no_service_starts(tmp_path):
        assert subprocess.run([policy], check=False).returncode == 101
    assert policy.read_text() == "#!/bin/sh\nexit 104\n"
    assert policy.stat().st_mode & 0o777 == 0o750
    assert list(sbin.iterdir()) == [policy]


def test_a_policy_that_is_a_symlink_comes_back_as_one(sbin: Path, tmp_path: Path) -> None:
    (sbin / "policy-rc.d").symlink_to("/nowhere/policy")
    with no_service_starts(tmp_path):
        assert not (sbin / "policy-rc.d").is_symlink()
    assert (sbin / "policy-rc.d").readlink() == Path("/nowhere/policy")


@pytest.mark.parametrize("error", [InstallFailed("apt-get", ""), KeyboardInterrupt()])
def test_errors_and_interrupts_restore_too(
    sbin: Path, tmp_path: Path, error: BaseException
) -> None:
    (sbin / "policy-rc.d").write_text("theirs")
    with pytest.raises(type(error)), no_service_starts(tmp_path):
        raise error
    assert [f.read_text() for f in sbin.iterdir()] == ["theirs"]


@pytest.mark.parametrize("theirs", ["their own policy", None])
def test_what_a_killed_install_left_is_repaired_by_the_next(
    sbin: Path, tmp_path: Path, theirs: str | None
) -> None:
    (sbin / "policy-rc.d").write_text(packages._GUARD)
    if theirs:
        (sbin / packages._SAVED).write_text(theirs)
    with no_service_starts(tmp_path):
        pass
    assert [f.read_text() for f in sbin.iterdir()] == ([theirs] if theirs else [])


def test_installs_wait_for_each_other(sbin: Path, tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with no_service_starts(tmp_path):
            order.append("second")

    other = threading.Thread(target=second)
    with no_service_starts(tmp_path):
        other.start()
        time.sleep(0.1)
        order.append("first")
    other.join()
    assert order == ["first", "second"]
    assert list(sbin.iterdir()) == []


class FakeApt:
    """Stands for apt-get: notes the commands, fails the first `failing` installs."""

    def __init__(self, *, known: bool, failing: int = 0) -> None:
        self.known = known
        self.failing = failing
        self.commands: list[str] = []

    def run(self, command: list[str], **_: object) -> None:
        self.commands.append(command[1])
        if command[1] == "install":
            assert "--no-install-recommends" in command
            self.failing -= 1
            if self.failing >= 0:
                raise InstallFailed("apt-get install", "404 Not Found")


@pytest.mark.parametrize(
    ("apt", "commands"),
    [
        (FakeApt(known=True), ["install"]),
        (FakeApt(known=False), ["update", "install"]),
        (FakeApt(known=True, failing=1), ["install", "update", "install"]),
    ],
    ids=["lists are good", "package unknown", "lists are older than the mirror"],
)
def test_the_lists_are_refreshed_only_when_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sbin: Path, apt: FakeApt, commands: list[str]
) -> None:
    monkeypatch.setattr(packages, "run_command", apt.run)
    monkeypatch.setattr(packages, "_is_known", lambda _package: apt.known)
    monkeypatch.setattr(packages, "_keep_from_starting_at_boot", lambda: None)
    monkeypatch.setattr(packages, "no_service_starts", lambda: no_service_starts(tmp_path))
    apt_install("redis-server")
    assert apt.commands == commands


def test_a_second_failure_is_final(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sbin: Path
) -> None:
    apt = FakeApt(known=True, failing=2)
    monkeypatch.setattr(packages, "run_command", apt.run)
    monkeypatch.setattr(packages, "_is_known", lambda _package: True)
    monkeypatch.setattr(packages, "no_service_starts", lambda: no_service_starts(tmp_path))
    with pytest.raises(InstallFailed, match="404"):
        apt_install("redis-server")
    assert list(sbin.iterdir()) == []


def test_a_failed_command_shows_its_last_lines() -> None:
    with pytest.raises(InstallFailed, match="no space left") as failed:
        run_command(["sh", "-c", "seq 100; echo no space left >&2; exit 3"])
    assert failed.value.output.splitlines()[0] == "87"


def test_a_missing_program_is_an_install_error() -> None:
    with pytest.raises(InstallFailed, match="not found"):
        run_command(["laneway-no-such-program"])
