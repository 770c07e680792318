"""What judges the chart is installed whole or not at all, and only what is pinned."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from laneway.local import environment
from laneway.local.errors import InstallFailed, ServerNotInstalled
from support import chart_tools
from support.chart_tools import find_chart_tools, install_chart_tools, tools_root

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where they would be installed."""
    folder = tmp_path / "cache" / "chart-tools"
    monkeypatch.setenv("LANEWAY_CHART_TOOLS", str(folder))
    return folder


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What an install ran; each leaves what the real one would."""
    ran: list[str] = []

    def run(command: Sequence[str], *, folder: Path | None = None, **_: object) -> None:
        ran.append(" ".join(command))
        if command[:2] == ["apt-get", "download"]:
            assert folder is not None
            (folder / "prometheus_2.42_amd64.deb").touch()
        if command[0] == "dpkg-deb":
            program = Path(command[-1]) / "usr/bin/promtool"
            program.parent.mkdir(parents=True)
            program.write_text("promtool")

    for module in (chart_tools, environment):
        monkeypatch.setattr(module, "run_command", run)
    monkeypatch.setattr(shutil, "which", {"apt-get": "/usr/bin/apt-get"}.get)
    return ran


def test_the_versions_are_those_of_the_lock_file() -> None:
    lock = (Path(chart_tools.__file__).parents[1] / "chart" / "tools.lock").read_text()
    pinned = dict(re.findall(r"^([a-z0-9-]+)==([^ ;]+)", lock, re.MULTILINE))
    assert pinned["checkov"] == chart_tools.CHECKOV
    assert pinned["kubernetes-validate"] == chart_tools.KUBERNETES_VALIDATE
    assert lock.count("--hash=sha256:") > len(pinned)


def test_an_install_is_found_again_and_keeps_nothing_else(root: Path, commands: list[str]) -> None:
    assert find_chart_tools() is None
    tools = install_chart_tools()
    assert tools == find_chart_tools()
    assert tools.promtool.read_text() == "promtool"
    assert sorted(path.name for path in root.iterdir()) == ["complete", "promtool"]
    assert any("--require-hashes" in command for command in commands)
    number = len(commands)
    assert install_chart_tools() == tools
    assert len(commands) == number


def test_a_promtool_in_the_path_is_used(
    root: Path, commands: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = tmp_path / "promtool"
    own.touch()
    monkeypatch.setattr(shutil, "which", {"promtool": str(own)}.get)
    install_chart_tools()
    assert (root / "promtool").resolve() == own
    assert not any("apt-get" in command for command in commands)


def test_without_both_it_is_said_what_to_do(
    commands: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(ServerNotInstalled, match="put a promtool"):
        install_chart_tools()
    assert commands == []
    assert find_chart_tools() is None


def test_a_failed_install_leaves_nothing(
    root: Path, commands: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(command: Sequence[str], **_: object) -> None:
        if "pip" in command:
            raise InstallFailed(" ".join(command), "no network")

    monkeypatch.setattr(environment, "run_command", fails)
    with pytest.raises(InstallFailed):
        install_chart_tools()
    assert not root.exists()
    assert list(tools_root().parent.iterdir()) == []
    assert commands


def test_a_folder_without_them_is_none_of_them(root: Path) -> None:
    root.mkdir(parents=True)
    assert find_chart_tools() is None
