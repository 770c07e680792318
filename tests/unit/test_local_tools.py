"""Only what is pinned is unpacked, an old folder is replaced, and what is missing is said."""

from __future__ import annotations

import hashlib
import io
import platform
import tarfile
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from laneway.local import tools as module
from laneway.local.__main__ import main
from laneway.local.errors import InstallFailed, ToolNotInstalled
from laneway.local.tools import (
    CONTAINER_TOOLS,
    KUBERNETES_TOOLS,
    Program,
    Tools,
    Wheel,
    find_tools,
    install_tools,
    need_tools,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CODE = b"#!/bin/sh\necho here\n"


def zipped(name: str, content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("other", b"x")
        archive.writestr(name, content)
    return packed.getvalue()


def tarred(name: str, content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


#: A wheel that holds a tar that holds a zip that holds the program.
WHEEL = zipped("a/b.jsii.tgz", tarred("package/layer.zip", zipped("hammer/hammer", CODE)))


def pinned(code: bytes = CODE) -> Tools:
    program = Program(
        name="hammer",
        within=("*.jsii.tgz", "package/layer.zip", "hammer/hammer"),
        size=len(code),
        sha256=hashlib.sha256(code).hexdigest(),
    )
    wheel = Wheel(requirement="toolbox==1", sha256="0" * 64, programs=(program,))
    return Tools(name="box", variable="LANEWAY_BOX", what="hammer 1", wheels=(wheel,))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder; nobody says where tools are, and this is Linux on x86_64."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for tools in (KUBERNETES_TOOLS, CONTAINER_TOOLS, pinned()):
        monkeypatch.delenv(tools.variable, raising=False)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    return tmp_path / "laneway"


@pytest.fixture(autouse=True)
def commands(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What pip was told, and the requirement that it was given; it brings the wheel."""
    ran: list[tuple[str, str]] = []

    def run(command: Sequence[str]) -> None:
        from pathlib import Path

        ran.append((" ".join(command), Path(command[command.index("-r") + 1]).read_text()))
        (Path(command[-1]) / "toolbox-1.whl").write_bytes(WHEEL)

    monkeypatch.setattr(module, "run_command", run)
    return ran


def test_a_program_is_taken_out_of_archives_in_archives(
    cache: Path, commands: list[tuple[str, str]]
) -> None:
    assert install_tools(pinned()) == cache / "box"
    assert (cache / "box/hammer").read_bytes() == CODE
    assert (cache / "box/hammer").stat().st_mode & 0o777 == 0o755
    ((command, requirement),) = commands
    assert "--require-hashes" in command
    assert requirement == f"toolbox==1 --hash=sha256:{'0' * 64}\n"


def test_what_is_installed_is_not_downloaded_again(commands: list[tuple[str, str]]) -> None:
    install_tools(pinned())
    install_tools(pinned())
    assert len(commands) == 1
    assert need_tools(pinned()) == find_tools(pinned())


@pytest.mark.parametrize("other", [b"#!/bin/sh\necho HERE\n", b"longer than the other one"])
def test_another_program_than_the_pinned_one_is_refused(cache: Path, other: bytes) -> None:
    with pytest.raises(InstallFailed, match="expected hammer of"):
        install_tools(pinned(other))
    assert list(cache.iterdir()) == []


def test_a_wheel_without_the_program_is_refused() -> None:
    (program,) = pinned().programs
    within = ("*.jsii.tgz", "package/layer.zip", "hammer/anvil")
    wheel = replace(pinned().wheels[0], programs=(replace(program, within=within),))
    with pytest.raises(InstallFailed, match="got: 0 bytes"):
        install_tools(replace(pinned(), wheels=(wheel,)))


def test_an_older_program_is_replaced(cache: Path) -> None:
    (cache / "box").mkdir(parents=True)
    (cache / "box/hammer").write_bytes(b"older")
    (cache / "box/hammer").chmod(0o755)
    assert find_tools(pinned()) is None
    install_tools(pinned())
    assert (cache / "box/hammer").read_bytes() == CODE


def test_a_folder_that_is_named_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANEWAY_BOX", str(tmp_path / "mine"))
    with pytest.raises(ToolNotInstalled, match="LANEWAY_BOX: expected a folder that holds hammer"):
        install_tools(pinned())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/hammer").write_bytes(b"of another version")
    (tmp_path / "mine/hammer").chmod(0o755)
    assert install_tools(pinned()) == tmp_path / "mine"


def test_what_is_missing_is_said_with_the_command() -> None:
    with pytest.raises(ToolNotInstalled, match=r"hammer 1: not installed.*make box"):
        need_tools(pinned())


def test_another_kind_of_machine_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(ToolNotInstalled, match=r"got: linux on aarch64; .* set LANEWAY_BOX"):
        install_tools(pinned())


def test_the_command_says_what_went_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["install-kubernetes-tools"]) == 1
    assert "expected helm of 66314400 bytes" in capsys.readouterr().err
    assert main(["install-container-tools"]) == 1
    assert "expected docker-compose of" in capsys.readouterr().err
