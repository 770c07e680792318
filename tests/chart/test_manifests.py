"""Whatever is switched on: manifests are right by themselves, to Kubernetes, and as reviewed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support import chart_golden
from support.chart import EVERYTHING, VERSIONS, Manifest, render
from support.chart_cases import CASES
from support.chart_invariants import problems

if TYPE_CHECKING:
    from support.chart_tools import ChartTools

JUDGE = Path(__file__).parents[1] / "support" / "manifest_judge.py"


@pytest.mark.parametrize("case", CASES)
def test_what_always_holds_does(case: str) -> None:
    assert problems(render(CASES[case]), CASES[case]) == []


@pytest.mark.parametrize("case", CASES)
def test_the_output_is_the_one_that_was_reviewed(case: str) -> None:
    reviewed = chart_golden.file_of(case).read_text(encoding="utf-8")
    assert reviewed == chart_golden.output(case), (
        "if it is meant: `make chart-golden`, read the diff"
    )


def test_every_golden_file_is_of_a_case() -> None:
    assert {file.stem for file in chart_golden.FOLDER.iterdir()} == set(CASES)


def judged(tools: ChartTools, manifests: list[Manifest], versions: tuple[str, ...]) -> list[str]:
    """What Kubernetes of these versions, and the operators, would refuse."""
    asked = json.dumps({"versions": versions, "manifests": manifests})
    done = subprocess.run(
        [str(tools.python), str(JUDGE)], input=asked, capture_output=True, text=True, check=True
    )
    return list(json.loads(done.stdout))


def test_every_kubernetes_takes_every_manifest(tools: ChartTools) -> None:
    """Each different manifest once, of all cases, rendered for the newest version."""
    different = {
        json.dumps(each, sort_keys=True): each
        for values in CASES.values()
        for each in render(values)
    }
    assert len(different) > 50
    assert judged(tools, list(different.values()), VERSIONS) == []


@pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[-1]])
def test_what_is_rendered_for_one_version_is_right_for_it(tools: ChartTools, version: str) -> None:
    found = [
        *render(CASES["defaults"], kube=f"{version}.0"),
        *render(CASES["fenced"], kube=f"{version}.0"),
    ]
    assert judged(tools, found, (version,)) == []


def test_the_judge_finds_what_is_wrong(tools: ChartTools) -> None:
    deployment = json.loads(json.dumps(render().worker("high")))
    deployment["spec"]["replcas"] = 3
    scaled = json.loads(json.dumps(render().worker("high", "ScaledObject")))
    scaled["spec"]["advanced"]["scalingModifiers"]["formulae"] = "1"
    scaled["spec"]["fallback"]["behavior"] = "shrink"
    found = judged(tools, [deployment, scaled], ("1.29", "1.37"))
    assert len(found) == 4
    assert sum("'replcas' was unexpected" in line for line in found) == 2
    assert any("'formulae' was unexpected" in line for line in found)
    assert any("'shrink' is not one of" in line for line in found)


def test_without_operators_there_is_nothing_of_theirs_that_was_not_asked_for() -> None:
    kinds = {each["apiVersion"] for each in render(CASES["type-none"], capabilities=())}
    assert not kinds & set(EVERYTHING)
