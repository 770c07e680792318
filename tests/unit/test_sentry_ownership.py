"""Whose tasks fail: ownership rules from routing.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from laneway import Route
from laneway.cli.render import render
from laneway.errors import PolicyError
from laneway.policy import lint_policy, load_policy
from laneway.sentry.ownership import ownership_rules

if TYPE_CHECKING:
    from pathlib import Path

ROUTES = """
from laneway import Route
ROUTES = [
    Route("billing.charge", queue="low", team="payments"),
    Route("billing.*", queue="low", team="#billing"),
    Route("billing.tax.*", queue="low", team="ada@example.org"),
    Route("mail.*", queue="low"),
    Route("audit.*", queue="low", team="sec"),
]
DEFAULT_QUEUE = "low"
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "queues").mkdir()
    (tmp_path / "queues" / "low.toml").write_text(
        'summary = "x"\nservice_level = "1m"\n', encoding="utf-8"
    )
    (tmp_path / "routing.py").write_text(ROUTES, encoding="utf-8")
    return tmp_path


def test_wider_rules_stand_first(root: Path) -> None:
    assert ownership_rules(load_policy(root)) == [
        "tags.task:audit.* #sec",
        "tags.task:billing.* #billing",
        "tags.task:billing.tax.* ada@example.org",
        "tags.task:billing.charge #payments",
    ]


def test_the_command(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANEWAY_POLICY", str(root))
    done = CliRunner().invoke(render, ["sentry-ownership"])
    assert done.exit_code == 0
    assert done.output.splitlines() == ownership_rules(load_policy(root))


def test_a_team_is_no_reason_to_call_a_route_idle(root: Path) -> None:
    assert lint_policy(root) == []


@pytest.mark.parametrize("team", ["", "two words", "#", "A-B", 7, "a@b@c", "x" * 65])
def test_a_wrong_team(root: Path, team: object) -> None:
    (root / "routing.py").write_text(
        ROUTES.replace("team='sec'", "").replace('"sec"', repr(team)), encoding="utf-8"
    )
    with pytest.raises(PolicyError) as raised:
        load_policy(root)
    [problem] = raised.value.problems
    assert problem.startswith("routing.py:8: team: expected a team as Sentry calls it")


def test_a_route_says_its_team() -> None:
    assert Route("a.*", queue="low", team="x").team == "x"
    assert Route("a.*", queue="low").team is None
