"""What is found, what is installed, and what is said where nothing can be installed."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from laneway.local import broker43, find_rabbitmq, install
from laneway.local.__main__ import main
from laneway.local.broker43 import broker43_root, debian_mirror, install_rabbitmq_43
from laneway.local.errors import InstallFailed, ServerNotInstalled
from laneway.local.install import install_rabbitmq, install_redis

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without servers whose PATH holds one empty folder."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("LANEWAY_BROKER43_ROOT", str(tmp_path / "root43"))
    monkeypatch.setattr(install, "_RABBITMQ_FOLDERS", ())
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return tmp_path


def program(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return folder


def test_a_bare_machine_has_nothing() -> None:
    assert find_rabbitmq() is None
    assert find_rabbitmq("3.10") is None
    assert find_rabbitmq("4.3") is None


def test_an_unpacked_release_in_path_is_found_through_links(
    bare_machine: Path,
) -> None:
    real = program(bare_machine / "release/sbin", "rabbitmq-server", "rabbitmq-env")
    (bare_machine / "bin/rabbitmq-server").symlink_to(real / "rabbitmq-server")
    found = find_rabbitmq()
    assert found is not None
    assert found.folder == real
    assert found.root is None


def test_a_wrapper_for_a_service_user_is_not_taken(bare_machine: Path) -> None:
    program(bare_machine / "bin", "rabbitmq-server")
    assert find_rabbitmq() is None


def test_auto_prefers_the_4_3_folder_for_root(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(bare_machine / "root43/usr/lib/rabbitmq/bin", "rabbitmq-server")
    program(bare_machine / "bin", "rabbitmq-server", "rabbitmq-env")
    found = find_rabbitmq()
    assert found is not None
    assert found.root == bare_machine / "root43"
    machine = find_rabbitmq("3.10")
    assert machine is not None
    assert machine.root is None
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert find_rabbitmq() == machine
    assert find_rabbitmq("4.3") is None


def test_without_root_the_error_is_the_command_to_run(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    program(bare_machine / "bin", "apt-get")
    with pytest.raises(ServerNotInstalled, match=r"sudo apt-get install .* rabbitmq-server$"):
        install_rabbitmq()
    with pytest.raises(ServerNotInstalled, match=r"sudo apt-get install .* redis-server$"):
        install_redis()
    with pytest.raises(ServerNotInstalled, match=r"laneway\.local install-43$"):
        install_rabbitmq("4.3")


def test_without_apt_the_error_names_the_program() -> None:
    with pytest.raises(ServerNotInstalled, match="redis-server is in PATH"):
        install_redis()


def test_root_installs_what_is_missing_and_finds_it(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(bare_machine / "bin", "apt-get")

    def fake_apt(*packages: str, report: object) -> None:
        program(bare_machine / "bin", *packages, "rabbitmq-env")

    monkeypatch.setattr(install, "apt_install", fake_apt)
    assert install_rabbitmq().folder == bare_machine / "bin"
    assert install_redis() == bare_machine / "bin/redis-server"


def test_the_folder_of_4_3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LANEWAY_BROKER43_ROOT")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert broker43_root() == tmp_path / "cache/laneway/rabbitmq-4.3"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert broker43_root() == tmp_path / ".cache/laneway/rabbitmq-4.3"


def build_43(monkeypatch: pytest.MonkeyPatch, *, fails: bool) -> None:
    monkeypatch.setattr(broker43, "_find_debootstrap", lambda: "debootstrap")
    monkeypatch.setattr(broker43, "debian_mirror", lambda: "http://mirror.invalid/debian")

    def run(command: list[str]) -> None:
        if "debootstrap" in command:
            build = broker43_root().parent / command[-3].rsplit("/", 1)[-1]
            program(build / "usr/lib/rabbitmq/bin", "rabbitmq-server")
        elif fails:
            raise InstallFailed("apt-get", "interrupted")

    monkeypatch.setattr(broker43, "run_command", run)


def test_a_failed_build_is_never_taken_for_a_good_one(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_43(monkeypatch, fails=True)
    with pytest.raises(InstallFailed):
        install_rabbitmq_43()
    assert find_rabbitmq("4.3") is None
    assert [p.name for p in bare_machine.iterdir()] == ["bin"]


def test_a_build_clears_what_a_killed_one_left(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bare_machine / "root43.building-dead/etc").mkdir(parents=True)
    build_43(monkeypatch, fails=False)
    assert install_rabbitmq_43() == bare_machine / "root43"
    assert sorted(p.name for p in bare_machine.iterdir()) == ["bin", "root43"]
    build_43(monkeypatch, fails=True)
    assert install_rabbitmq_43() == bare_machine / "root43"


@pytest.mark.parametrize(
    ("listed", "mirror"),
    [
        (
            (
                "Packages|Debian|Debian-Security|http://sec.invalid/\n"
                "DEP-11|Debian|Debian|http://wrong.invalid/\n"
                "Packages|Debian|Debian|http://mirror.invalid/debian/\n"
            ),
            "http://mirror.invalid/debian/",
        ),
        ("Packages|Ubuntu|Ubuntu|http://ubuntu.invalid/\n", None),
        ("", None),
    ],
)
def test_the_mirror_is_the_machine_s_own(
    monkeypatch: pytest.MonkeyPatch, listed: str, mirror: str | None
) -> None:
    result = subprocess.CompletedProcess([], 0, stdout=listed)
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_options: result)
    if mirror:
        assert debian_mirror() == mirror
    else:
        with pytest.raises(ServerNotInstalled, match="LANEWAY_BROKER43_ROOT"):
            debian_mirror()


def test_without_apt_there_is_no_mirror() -> None:
    with pytest.raises(ServerNotInstalled, match="apt"):
        debian_mirror()


@pytest.mark.parametrize("command", ["install", "install-43"])
def test_the_command_says_what_to_do_and_fails(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main([command]) == 1
    assert "install" in capsys.readouterr().err
