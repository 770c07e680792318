"""What is said to ``laneway dead`` is read as it was meant, or refused with what was expected."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner

from laneway.cli import dead
from laneway.cli.dead_options import filters, read_edit, read_moment, read_rate
from laneway.deadletter import Edit, Selection
from laneway.deadletter.replay_options import ReplayOptions
from laneway.deadletter.state import STATES

if TYPE_CHECKING:
    from pathlib import Path


def selection_of(*arguments: str) -> Selection:
    found: list[Selection] = []

    @click.command()
    @click.argument("letters", nargs=-1)
    @filters
    def verb(selection: Selection) -> None:
        found.append(selection)

    answer = CliRunner().invoke(verb, arguments)
    if answer.exit_code:
        raise click.UsageError(answer.output)
    return found[0]


def test_without_a_filter_all_open_letters_are_meant() -> None:
    assert selection_of() == Selection()


def test_filters_become_a_selection() -> None:
    found = selection_of(
        *("--queue", "high", "--task", "a.*", "--cause", "abcdef", "--outcome", "lost"),
        *("--text", "x", "--state", "open", "--state", "replayed", "--state", "open", "a.0", "b.0"),
        *("--since", "2026-01-01T00:00:00+00:00", "--until", "2026-01-02T00:00:00+00:00"),
    )
    assert found == Selection(
        queue="high",
        task="a.*",
        cause="abcdef",
        outcome="lost",
        since=1_767_225_600.0,
        until=1_767_312_000.0,
        text="x",
        states=("open", "replayed"),
        ids=("a.0", "b.0"),
    )
    assert selection_of("--state", "any").states == STATES


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cause", "x"], "hexadecimal"),
        (["--state", "opne"], "opne"),
        (["--outcome", "gone"], "gone"),
        (["--since", "yesterday"], 'like "2h"'),
        (["--since", "1h", "--until", "2h"], "since"),
    ],
)
def test_what_is_no_filter_is_a_usage_error(arguments: list[str], said: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        selection_of(*arguments)
    assert said in str(caught.value)


def test_a_queue_that_the_policy_does_not_know_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LANEWAY_POLICY", raising=False)
    answer = CliRunner().invoke(
        click.command()(filters(lambda selection: click.echo(selection.queue))),
        ["--queue", "hihg"],
    )
    assert "no queue 'hihg'" in answer.output


def test_moments() -> None:
    ago = read_moment(None, None, "2h")
    assert ago is not None
    assert abs(time.time() - 7200 - ago) < 5
    assert read_moment(None, None, "2026-01-01T00:00:00+00:00") == 1_767_225_600.0
    assert read_moment(None, None, "2026-01-01") is not None
    assert read_moment(None, None, None) is None


@pytest.mark.parametrize(
    ("text", "rate"), [("50/s", 50.0), ("30/m", 0.5), ("36/h", 0.01), ("0.5/s", 0.5)]
)
def test_rates(text: str, rate: float) -> None:
    assert read_rate(None, None, text) == rate


@pytest.mark.parametrize("text", ["50", "0/s", "-1/s", "fast", "50/d", ""])
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(click.BadParameter, match="50/s"):
        read_rate(None, None, text)


def test_edits(tmp_path: Path) -> None:
    text = '{"args": [1], "kwargs": {"a": null}}'
    expected = Edit(args=[1], kwargs={"a": None})
    assert read_edit(None, None, text) == expected
    file = tmp_path / "edit.json"
    file.write_text(text)
    assert read_edit(None, None, f"@{file}") == expected
    assert read_edit(None, None, '{"args": []}') == Edit(args=[])


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"arg": []}', '{"args": {}}', '{"kwargs": []}', "@/no/such/file", "1"]
)
def test_what_is_no_edit(text: str) -> None:
    with pytest.raises(click.BadParameter, match="expected"):
        read_edit(None, None, text)


@pytest.mark.parametrize("verb", ["replay", "discard"])
def test_all_letters_must_be_meant(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("the broker was asked")

    monkeypatch.setattr(dead, "find_platform", lambda: None)
    monkeypatch.setattr(dead, "_letters", never)
    runner = CliRunner()
    for arguments in ([], ["--state", "any"], ["--yes"], ["--dry-run"]):
        answer = runner.invoke(dead.dead, [verb, *arguments])
        assert answer.exit_code == 2
        assert "--all" in answer.output
    answer = runner.invoke(dead.dead, [verb, "--all", "--queue", "high"])
    assert answer.exit_code == 2
    assert "no effect" in answer.output


@pytest.mark.parametrize(
    "given",
    [{"first": 0}, {"wait": -1.0}, {"rate": 0.0}, {"stop_share": 1.5}, {"max_replays": 0}],
)
def test_options_out_of_bounds(given: dict[str, Any]) -> None:
    [name] = given
    with pytest.raises(ValueError, match=f"{name}: expected"):
        ReplayOptions(**given)


def test_a_header_that_json_cannot_carry_is_shown_all_the_same() -> None:
    assert json.dumps(dead._plain(b"\xff")) == "\"b'\\\\xff'\""
    assert dead._plain({"a": 1}) == {"a": 1}


@pytest.mark.parametrize("module", ["redis", "httpx", "asyncio.base_events", "prometheus_client"])
def test_a_list_does_not_wait_for_what_it_does_not_need(module: str) -> None:
    code = f"import sys, laneway.cli.dead; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
