"""What ``scripts/test`` calls red and what it calls unsteady, with a real pytest."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from steps import MOST_AGAIN, WIDTH, Suite, may_run_again, run

if TYPE_CHECKING:
    from pathlib import Path

GOOD = "def test_good(): pass\n"
BAD = "def test_bad(): assert {'a': 1} == {'a': 2, 'b': 300 * 'x'}\n"
#: Fails in the first run only.
ONCE = (
    "from pathlib import Path\n"
    "def test_once():\n"
    "    mark = Path('seen')\n"
    "    seen = mark.exists()\n"
    "    mark.touch()\n"
    "    assert seen, 'the machine was busy\\nand more'\n"
)


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """All tests of a project that has nothing to do with this one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return Suite(name="all", command=(sys.executable, "-m", "pytest", "-q"))


def test_green_is_green(suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(GOOD)
    outcome = suite.run()
    assert (outcome.status, outcome.failures) == (0, {})
    assert outcome.passed == {"test_it.py::test_good"}
    assert not may_run_again(outcome)


def test_what_fails_twice_is_red_and_told_with_its_error(suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(GOOD + BAD + ONCE)
    first = suite.run()
    assert first.failures.keys() == {"test_it.py::test_bad", "test_it.py::test_once"}
    assert may_run_again(first)
    second = suite.run_failed(first)
    assert second.status != 0
    (line,) = second.lines
    assert line.startswith("FAILED [all-again] test_it.py::test_bad (test_it.py:2: AssertionError)")
    assert "assert {'a': 1} ==" in line
    assert len(line) <= WIDTH


def test_what_passes_the_second_time_is_unsteady(suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(GOOD + ONCE)
    first = suite.run()
    (line,) = first.lines
    assert line.startswith("FAILED [all] test_it.py::test_once (test_it.py:7: AssertionError)")
    assert line.endswith("the machine was busy")
    second = suite.run_failed(first)
    assert (second.status, second.lines) == (0, [])
    assert second.passed == {"test_it.py::test_once"}, "only what failed runs again"


def test_what_is_skipped_the_second_time_is_red(suite: Suite, tmp_path: Path) -> None:
    skips = ONCE.replace(
        "assert seen, ", "import pytest\n    if seen: pytest.skip()\n    assert 0, "
    )
    (tmp_path / "test_it.py").write_text(skips)
    second = suite.run_failed(suite.run())
    assert second.status != 0
    assert "test_it.py::test_once" in second.lines[0]


@pytest.mark.parametrize(
    "text",
    [
        "import os\ndef test_crash(): os._exit(1)\n",
        "import not_there\n",
        "".join(f"def test_{n}(): assert 0\n" for n in range(MOST_AGAIN + 1)),
    ],
    ids=["a crash", "an import", "many"],
)
def test_what_is_no_accident_is_red_at_once(suite: Suite, tmp_path: Path, text: str) -> None:
    (tmp_path / "test_it.py").write_text(GOOD + text)
    outcome = suite.run()
    assert outcome.status != 0
    assert outcome.lines
    assert not may_run_again(outcome)


def test_a_command_is_a_step_as_well() -> None:
    outcome = run("three", sys.executable, "-c", "raise SystemExit(3)")
    assert outcome.status == 3
    assert outcome.lines == ["FAILED three: status 3"]
