"""docs/reference/cli.md says everything that the command line can do, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from laneway.cli.exit_codes import ExitCode
from laneway.cli.root import VERBS, laneway
from laneway.worker.topology_check import EXIT_TOPOLOGY

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "docs" / "reference" / "cli.md").read_text()
ENGINE = ROOT / "platform" / "laneway"
# Not for people: they are how the platform talks to its own processes and tests.
INTERNAL = {
    "LANEWAY_RUN",
    "LANEWAY_BROKER43_ROOT",
    "LANEWAY_BUGSINK_ROOT",
    "LANEWAY_CONTAINER_TOOLS",
    "LANEWAY_KUBERNETES_TOOLS",
}


def commands() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(laneway)
    for name in VERBS:
        verb = laneway.get_command(context, name)
        assert verb is not None
        yield name, verb
        if isinstance(verb, click.Group):
            for inner, command in verb.commands.items():
                yield f"{name} {inner}", command


def options(command: click.Command) -> set[str]:
    return {
        option
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.hidden
        for option in parameter.opts
        if option.startswith("--")
    }


def test_every_verb_has_its_place() -> None:
    for name, _ in commands():
        verb, _, inner = name.partition(" ")
        assert f"`laneway {verb}" in REFERENCE
        assert not inner or re.search(rf"`[^`]*\b{inner}\b", REFERENCE), name


def test_every_option_is_explained_and_every_explained_option_exists() -> None:
    known = {option for _, command in commands() for option in options(command)}
    said = set(re.findall(r"--[a-z][a-z-]+", REFERENCE)) - {"--help"}
    assert said == known


def test_every_exit_status_is_in_the_table() -> None:
    said = {int(status) for status in re.findall(r"^\| (\d+) \|", REFERENCE, re.MULTILINE)}
    assert said == {code.value for code in ExitCode} | {EXIT_TOPOLOGY, 130}


def test_every_variable_that_the_engine_reads_is_in_the_table() -> None:
    read = {
        name
        for file in ENGINE.rglob("*.py")
        for name in re.findall(r"\bLANEWAY_[A-Z0-9_]*[A-Z0-9]\b", file.read_text())
    }
    said = set(re.findall(r"^\| `(LANEWAY_[A-Z0-9_]+)`", REFERENCE, re.MULTILINE))
    assert said == read - INTERNAL
