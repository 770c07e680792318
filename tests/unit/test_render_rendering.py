"""Drift is found, shown as a patch, and undone, and nothing else is touched."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from laneway.errors import LanewayError
from laneway.render import Rendering

if TYPE_CHECKING:
    from pathlib import Path

RENDERING = Rendering(
    files={"made/new.yaml": "a: 1\n", "made/same.yaml": "b: 2\n", "made/old.yaml": "c: 3\n"},
    owned=("made/*.yaml",),
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout in which one file is right, one is old and one is left over."""
    (tmp_path / "made").mkdir()
    (tmp_path / "made/same.yaml").write_text("b: 2\n")
    (tmp_path / "made/old.yaml").write_text("c: 2")
    (tmp_path / "made/gone.yaml").write_text("d: 4\n")
    (tmp_path / "made/README.md").write_text("of people\n")
    return tmp_path


def test_what_differs_is_shown(root: Path) -> None:
    drift = RENDERING.drift(root)
    assert list(drift) == ["made/gone.yaml", "made/new.yaml", "made/old.yaml"]
    assert drift["made/new.yaml"].splitlines() == [
        "--- /dev/null",
        "+++ b/made/new.yaml",
        "@@ -0,0 +1 @@",
        "+a: 1",
    ]


def test_the_shown_is_a_patch(root: Path) -> None:
    patch = "".join(RENDERING.drift(root).values())
    subprocess.run(
        ["git", "apply", "-p1", "-"], cwd=root, input=patch, text=True, check=True, timeout=30
    )
    assert RENDERING.drift(root) == {}


def test_writing_ends_the_drift_and_leaves_the_rest(root: Path) -> None:
    untouched = (root / "made/same.yaml").stat().st_mtime_ns
    assert RENDERING.write(root) == ["made/gone.yaml", "made/new.yaml", "made/old.yaml"]
    assert RENDERING.drift(root) == {}
    assert RENDERING.write(root) == []
    assert sorted(path.name for path in (root / "made").iterdir()) == [
        "README.md",
        "new.yaml",
        "old.yaml",
        "same.yaml",
    ]
    assert (root / "made/same.yaml").stat().st_mtime_ns == untouched


def test_what_cannot_be_read_or_written_is_said(root: Path) -> None:
    (root / "made/old.yaml").write_bytes(b"\xff")
    with pytest.raises(LanewayError, match=r"old.yaml: expected to read it, got: .*utf-8"):
        RENDERING.drift(root)
    (root / "made/old.yaml").unlink()
    (root / "made/new.yaml").symlink_to(root / "nowhere/new.yaml")
    with pytest.raises(LanewayError, match=r"new.yaml: expected to write it, got: "):
        RENDERING.write(root)
