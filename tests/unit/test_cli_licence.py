"""A licence is shown before it is accepted, and nothing accepts it silently."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner, Result

from laneway.cli import licence as module
from laneway.cli.licence import asks_for
from laneway.cli.up import up
from laneway.local import Licence

LICENCE = Licence(software="Thing 1", name="Odd-1.0", url="https://x", text="TERMS OF USE")


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LANEWAY_ACCEPT_LICENCE", raising=False)
    monkeypatch.delenv("LANEWAY_SENTRY_DSN", raising=False)


def ask(*, accepted: bool = False, typed: str = "") -> Result:
    @click.command()
    def command() -> None:
        click.echo(f"answer: {asks_for(accepted=accepted)(LICENCE)}")

    return CliRunner().invoke(command, input=typed)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody sits there."""
    monkeypatch.setattr(module, "is_terminal", lambda: True)


def test_a_person_is_shown_it_and_asked(terminal: None) -> None:
    said = ask(typed="y\n")
    assert said.stdout.endswith("answer: True\n")
    assert said.stderr.index("TERMS OF USE") < said.stderr.index("Do you accept")
    refused = ask(typed="n\n")
    assert refused.exit_code == 1
    assert "answer" not in refused.stdout
    assert ask(typed="\n").exit_code == 1, "the default is no"


def test_where_nobody_sits_it_is_not_accepted() -> None:
    said = ask(typed="y\n")
    assert said.stdout == "answer: False\n"
    assert "TERMS OF USE" in said.stderr


def test_in_advance_it_is_shown_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for said in (ask(accepted=True), _named(monkeypatch)):
        assert said.stdout == "answer: True\n"
        assert "TERMS OF USE" in said.stderr
        assert "accepted in advance: the licence above (Odd-1.0) of Thing 1" in said.stderr


def _named(monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.setenv("LANEWAY_ACCEPT_LICENCE", "Odd-1.0")
    return ask()


def test_what_would_have_no_effect_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    said = CliRunner().invoke(up, ["--app", "x:y", "--accept-licence"])
    assert said.exit_code == 2
    assert "without --sentry" in said.stderr
    monkeypatch.setenv("LANEWAY_SENTRY_DSN", "http://k@127.0.0.1:1/1")
    said = CliRunner().invoke(up, ["--app", "x:y", "--sentry"])
    assert said.exit_code == 2
    assert "LANEWAY_SENTRY_DSN is set" in said.stderr
