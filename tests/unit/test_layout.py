"""The guard of the layout: what the folder ``platform/`` must never do, and what a build holds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from laneway.policy import load_policy

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
# Files that .gitignore names, as editors and interpreters leave them behind.
# Debian 12's Python 3.11.2 has no extraction filters yet.
SAFELY: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
IGNORED = (
    "queues/high.toml.bak",
    "queues/.high.toml.swp",
    "routing.py.bak",
    "platform/laneway/router.py.bak",
    "platform/laneway/__pycache__/router.cpython-311.pyc",
)


def run(*command: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    inherited = {
        key: value
        for key, value in os.environ.items()
        if key not in {"LANEWAY_POLICY", "PYTHONPATH", "PYTHONSAFEPATH"}
    }
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env={**inherited, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


# --- platform/ is a source root, and the standard library's platform is untouched -----------


@pytest.mark.parametrize(
    ("command", "environ"),
    [
        (["-c", "import platform; print(platform.platform())"], {}),
        (["-c", "import platform; print(platform.platform())"], {"PYTHONPATH": "."}),
        (["-m", "platform"], {}),
        (["-m", "platform"], {"PYTHONPATH": "."}),
    ],
)
def test_the_standard_platform_is_not_shadowed(command: list[str], environ: dict[str, str]) -> None:
    outside = run("-m", "platform", cwd=Path("/"))
    inside = run(*command, cwd=ROOT, **environ)
    assert inside.returncode == 0, inside.stderr
    assert inside.stdout == outside.stdout


def test_what_needs_the_standard_platform_starts_at_the_root() -> None:
    for command in (["-m", "celery", "--version"], ["-m", "pytest", "--version"]):
        done = run(*command, cwd=ROOT, PYTHONPATH=".")
        assert done.returncode == 0, done.stderr


def test_platform_is_never_a_package() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists(), "remove it: it hides the stdlib's"
    assert [path.name for path in (ROOT / "platform").iterdir() if path.name != "__pycache__"] == [
        "laneway"
    ]


def test_no_folder_of_tests_is_called_platform() -> None:
    assert not [path for path in (ROOT / "tests").rglob("platform") if path.is_dir()]


# --- What a build holds ----------------------------------------------------------------------


def checkout_files() -> list[str]:
    """What git knows or would add: the tree without what .gitignore names."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return sorted(name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file())


def build(tree: Path, *kinds: str) -> Path:
    # Both kinds are named, or the wheel would be made from the sdist and never meet the tree.
    kinds = kinds or ("--sdist", "--wheel")
    done = run("-m", "build", "--no-isolation", *kinds, ".", cwd=tree)
    assert done.returncode == 0, done.stdout + done.stderr
    return tree / "dist"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A wheel and an sdist, each built from a copy of the tree in which ignored files lie about."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in checkout_files():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    for name in IGNORED:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text("ignored")
    yield build(copy)
    shutil.rmtree(copy)


@pytest.fixture
def wheel(built: Path) -> Iterator[zipfile.ZipFile]:
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


@pytest.fixture
def sdist(built: Path) -> Iterator[tarfile.TarFile]:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        yield archive


def test_the_wheel_claims_one_name(wheel: zipfile.ZipFile) -> None:
    top = {name.partition("/")[0] for name in wheel.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"laneway"}


def test_the_wheel_holds_the_engine_and_the_policy(wheel: zipfile.ZipFile) -> None:
    expected = {
        name.removeprefix("platform/"): ROOT / name
        for name in checkout_files()
        if name.startswith("platform/")
    }
    expected |= {
        f"laneway/_policy/{name}": ROOT / name
        for name in checkout_files()
        if name == "routing.py" or name.startswith("queues/")
    }
    held = {name for name in wheel.namelist() if name.startswith("laneway/")}
    assert held == set(expected)
    assert {name for name in held if wheel.read(name) != expected[name].read_bytes()} == set()


def test_ignored_files_stay_out(wheel: zipfile.ZipFile, sdist: tarfile.TarFile) -> None:
    assert [
        name for name in wheel.namelist() if Path(name).suffix in {".bak", ".swp", ".pyc"}
    ] == []
    assert [
        name for name in sdist.getnames() if Path(name).suffix in {".bak", ".swp", ".pyc"}
    ] == []


def test_the_sdist_makes_the_same_wheel(
    sdist: tarfile.TarFile, wheel: zipfile.ZipFile, tmp_path: Path
) -> None:
    sdist.extractall(tmp_path, **SAFELY)
    (tree,) = tmp_path.iterdir()
    assert not {"tests", "docs", ".ci"} & {path.name for path in tree.iterdir()}
    (again,) = build(tree, "--wheel").glob("*.whl")
    with zipfile.ZipFile(again) as archive:
        assert sorted(archive.namelist()) == sorted(wheel.namelist())


def test_an_installed_wheel_carries_its_policy(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    wheel.extractall(site)
    (elsewhere / "queues").mkdir(parents=True)
    (elsewhere / "routing.py").write_text("raise SystemExit('executed')")
    code = "from laneway.policy import load_policy as l; p = l(); print(p.root); print(p.digest)"
    done = run("-c", code, cwd=elsewhere, PYTHONPATH=str(site))
    assert done.stdout.split() == [str(site / "laneway" / "_policy"), load_policy(ROOT).digest], (
        done.stderr
    )
