"""Bugsink is never installed unasked, and only what is pinned; it listens to this machine only."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from laneway.local import bugsink_install, environment
from laneway.local.__main__ import main
from laneway.local.bugsink import bugsink_settings
from laneway.local.bugsink_install import (
    VERSION,
    bugsink_licence,
    bugsink_root,
    find_bugsink,
    install_bugsink,
)
from laneway.local.errors import InstallFailed, LicenceNotAccepted, ServerNotInstalled
from laneway.local.licence import Licence, accepted_in_advance

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NAME = "PolyForm-Shield-1.0.0"


def replace_run(monkeypatch: pytest.MonkeyPatch, run: Callable[..., None]) -> None:
    """Have every command of an install answered by ``run``."""
    for module in (bugsink_install, environment):
        monkeypatch.setattr(module, "run_command", run)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where it would be installed; nobody has accepted anything."""
    monkeypatch.setenv("LANEWAY_BUGSINK_ROOT", str(tmp_path / "cache" / "bugsink"))
    monkeypatch.delenv("LANEWAY_ACCEPT_LICENCE", raising=False)
    return tmp_path / "cache" / "bugsink"


@pytest.fixture
def commands() -> list[str]:
    """What an install ran."""
    return []


@pytest.fixture
def pretend(commands: list[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """What runs instead of the commands of an install, and leaves what they would."""

    def run(command: Sequence[str], *, folder: Path | None = None, **_: object) -> None:
        commands.append(" ".join(command))
        if "venv" in command:
            site = Path(command[-1]) / "lib/python3.11/site-packages"
            licences = site / f"bugsink-{VERSION}.dist-info/licenses"
            licences.mkdir(parents=True)
            (licences / "LICENSE").write_text(bugsink_licence().text)
        elif folder is not None:
            (folder / "db.sqlite3").touch()
            (folder / "snappea.sqlite3").touch()

    replace_run(monkeypatch, run)
    return run


pretends = pytest.mark.usefixtures("pretend")


def say(answer: bool) -> Callable[[Licence], bool]:
    return lambda _licence: answer


@pretends
def test_without_acceptance_nothing_is_run(root: Path, commands: list[str]) -> None:
    with pytest.raises(LicenceNotAccepted, match=rf"LANEWAY_ACCEPT_LICENCE={NAME}"):
        install_bugsink()
    with pytest.raises(LicenceNotAccepted, match=bugsink_licence().url):
        install_bugsink(say(False))
    assert commands == []
    assert not root.parent.exists()


def test_only_the_licence_that_is_named_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, accepted in {NAME: True, "yes": False, "1": False, "MIT": False, "": False}.items():
        monkeypatch.setenv("LANEWAY_ACCEPT_LICENCE", value)
        assert accepted_in_advance(bugsink_licence()) is accepted


@pretends
def test_it_is_installed_once_and_not_asked_for_again(root: Path, commands: list[str]) -> None:
    made = install_bugsink(say(True))
    assert made == find_bugsink()
    assert made.python == root / "bin/python"
    assert sorted(path.name for path in made.template.iterdir() if path.suffix != ".py") == [
        "db.sqlite3",
        "snappea.sqlite3",
    ]
    assert "--require-hashes" in commands[1]
    ran = len(commands)
    assert install_bugsink(say(False)) == made
    assert len(commands) == ran
    assert [path.name for path in root.parent.iterdir()] == ["bugsink"]


def test_a_failed_install_leaves_nothing(
    root: Path, pretend: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(command: Sequence[str], **options: object) -> None:
        if "migrate" in command:
            raise InstallFailed("migrate", "interrupted")
        pretend(command, **options)

    replace_run(monkeypatch, fails)
    with pytest.raises(InstallFailed, match="interrupted"):
        install_bugsink(say(True))
    assert find_bugsink() is None
    assert list(root.parent.iterdir()) == []


@pretends
def test_another_licence_than_the_accepted_one_is_refused(
    root: Path, commands: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted = Licence(software="Bugsink", name=NAME, url="https://x", text="something else")
    monkeypatch.setattr(bugsink_install, "bugsink_licence", lambda: accepted)
    with pytest.raises(InstallFailed, match="another licence"):
        install_bugsink(say(True))
    assert list(root.parent.iterdir()) == []


def test_without_venv_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: Sequence[str], **_: object) -> None:
        raise InstallFailed(" ".join(command), "ensurepip is not available")

    replace_run(monkeypatch, run)
    with pytest.raises(ServerNotInstalled, match="apt-get install python3-venv"):
        install_bugsink(say(True))


@pretends
def test_the_command_shows_the_licence_and_takes_silence_for_a_no(
    capsys: pytest.CaptureFixture[str], commands: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert main(["install-bugsink"]) == 1
    said = capsys.readouterr()
    assert "PolyForm Shield License 1.0.0" in said.out
    assert "was not accepted" in said.err
    assert commands == []
    monkeypatch.setenv("LANEWAY_ACCEPT_LICENCE", NAME)
    assert main(["install-bugsink"]) == 0
    assert "PolyForm Shield License 1.0.0" in capsys.readouterr().out


def test_everything_that_is_installed_is_pinned_with_hashes() -> None:
    lock = (Path(bugsink_install.__file__).parent / "bugsink.lock").read_text()
    pinned = re.findall(r"^([a-z0-9._-]+)(?:\[[a-z0-9,-]+\])?==(\S+)(.*)$", lock, re.MULTILINE)
    assert ("bugsink", VERSION) in [(name, version) for name, version, _ in pinned]
    assert len(pinned) > 20
    for requirement in re.split(r"\n(?=[a-z0-9])", lock)[1:]:
        assert "--hash=sha256:" in requirement, requirement
    assert "http" not in lock


def test_the_folder_carries_the_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LANEWAY_BUGSINK_ROOT")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert bugsink_root() == tmp_path / "laneway" / f"bugsink-{VERSION}"


def test_its_settings_keep_to_its_licence_and_to_this_machine() -> None:
    text = bugsink_settings(url="http://127.0.0.1:1", secret_key="s3", ingest="/run/ingest")
    lines = text.splitlines()
    assert "ALLOWED_HOSTS = ['127.0.0.1']" in lines
    for setting in (
        "'SINGLE_USER': True",
        "'SINGLE_TEAM': True",
        "'USER_REGISTRATION': 'CB_NOBODY'",
        "'PHONEHOME': False",
        "'INGEST_STORE_BASE_DIR': '/run/ingest'",
        "'BASE_URL': 'http://127.0.0.1:1'",
    ):
        assert setting in text
    compile(text, "bugsink_conf.py", "exec")
