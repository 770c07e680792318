"""Every point of the chart's reference has tests, and every test that it names exists."""

from __future__ import annotations

import re

from support.chart import ROOT

TEXT = (ROOT / "docs" / "reference" / "chart.md").read_text(encoding="utf-8")


def points() -> dict[int, list[str]]:
    """Number of a point: the tests that it names, as FILE::TEST below tests/."""
    found: dict[int, list[str]] = {}
    for line in TEXT.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not (line.startswith("|") and cells[0].isdigit()):
            continue
        file, named = "", []
        for where, test in re.findall(r"`([\w/]*(?:\.py)?)::(\w+)`", cells[2]):
            file = where or file
            folder = "" if "/" in file else "chart/"
            named.append(f"{folder}{file}::{test}")
        found[int(cells[0])] = named
    return found


def test_there_are_24_and_each_is_held_by_something() -> None:
    assert list(points()) == list(range(1, 25))
    assert all(points().values())


def test_every_test_that_is_named_exists() -> None:
    missing = []
    for name in sorted({name for named in points().values() for name in named}):
        file, _, test = name.partition("::")
        path = ROOT / "tests" / file
        if not path.exists() or f"def {test}(" not in path.read_text(encoding="utf-8"):
            missing.append(name)
    assert missing == []


def test_every_name_of_a_test_was_read() -> None:
    assert sum(map(len, points().values())) == len(re.findall(r"`[\w/.]*::test_\w+`", TEXT))
