"""The chart's output as it was reviewed: ``make chart-golden`` writes it anew.

``defaults.yaml`` is all of it; of every other case of ``CASES`` there is what it changes in that.
Read the diff: what changed that was not meant to?
"""

from __future__ import annotations

import difflib
import json
import re
from typing import TYPE_CHECKING, Final

from support.chart import EVERYTHING, NEWEST, RELEASE, ROOT, rendered_text
from support.chart_cases import CASES

if TYPE_CHECKING:
    from pathlib import Path

FOLDER: Final = ROOT / "tests" / "chart" / "golden"

#: The case that is kept whole.
WHOLE: Final = "defaults"

#: Said elsewhere, and new in every version.
_DASHBOARD = re.compile(r"^  laneway\.json: \|\n(    .*\n|\n)*", re.MULTILINE)


def file_of(case: str) -> Path:
    """Where the reviewed output of a case is."""
    return FOLDER / (f"{case}.yaml" if case == WHOLE else f"{case}.diff")


def output(case: str) -> str:
    """What the chart makes of a case now: the whole, or what is other than in the whole."""
    text = _rendered(case)
    if case == WHOLE:
        return text
    lines = difflib.unified_diff(_rendered(WHOLE).splitlines(), text.splitlines(), lineterm="", n=4)
    return "".join(f"{'@@' if line.startswith('@@') else line.rstrip()}\n" for line in [*lines][2:])


def _rendered(case: str) -> str:
    values = json.dumps(CASES[case], sort_keys=True)
    text = rendered_text(values, NEWEST, EVERYTHING, RELEASE)
    return _DASHBOARD.sub("  laneway.json: (files/dashboard.json)\n", text)


def main() -> None:
    """Write all files."""
    FOLDER.mkdir(exist_ok=True)
    for stale in FOLDER.iterdir():
        stale.unlink()
    for case in CASES:
        file_of(case).write_text(output(case), encoding="utf-8")


if __name__ == "__main__":
    main()
