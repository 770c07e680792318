"""``laneway queues``: what waits, and stopping or emptying a queue."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import Progress

from laneway.broker import broker_address
from laneway.cli.exit_codes import ExitCode
from laneway.cli.options import find_platform
from laneway.cli.output import json_option, write_json
from laneway.console import table
from laneway.console.numbers import format_count, format_wait
from laneway.policy import load_policy
from laneway.queue_control import pause_queue, purge_queue, resume_queue
from laneway.queue_state import QueueState, read_queues

if TYPE_CHECKING:
    from collections.abc import Mapping

_UNKNOWN = "unknown"


@click.group(invoke_without_command=True)
@click.pass_context
@json_option
def queues(context: click.Context, as_json: bool) -> None:
    """Show, pause, resume or purge queues.

    Without a verb it lists them.
    """
    find_platform()
    if context.invoked_subcommand is None:
        _list(as_json=as_json)


@queues.command("list")
@json_option
def list_queues(as_json: bool) -> None:
    """List the queues: what waits, runs, is delayed or dead, and who works.

    Waiting messages are counted now; what runs, priorities, delays and dead letters come from the
    management interface and may be five seconds old.
    """
    _list(as_json=as_json)


def _list(*, as_json: bool) -> None:
    states, vhosts = read_queues(broker_address(), load_policy())
    if as_json:
        write_json({"queues": states, "vhosts": vhosts})
        return
    numbers = ["ready", "running", "consumers"]
    rows = [
        (
            state.name,
            _condition(state),
            _count(state.ready),
            _count(state.running),
            _count(state.consumers),
            _priorities(state.ready_by_priority),
            _head(state),
        )
        for state in states
    ]
    columns = ["queue", "", *numbers, "ready by priority", "oldest wait"]
    screen = Console()
    screen.print(table(columns, rows, numbers=numbers))
    for vhost in vhosts:
        screen.print(
            f"virtual host {vhost.vhost}: {_count(vhost.delayed)} delayed, "
            f"{_count(vhost.dead_inbox)} in the dead inbox, "
            f"{_count(vhost.dead_letters)} dead letters",
            highlight=False,
        )


def _condition(state: QueueState) -> str:
    if not state.exists:
        return "missing"
    return "paused" if state.paused else ""


def _count(number: int | None) -> str:
    return _UNKNOWN if number is None else format_count(number)


def _priorities(counts: Mapping[int, int] | None) -> str:
    if counts is None:
        return _UNKNOWN
    return "  ".join(f"{level}: {format_count(counts[level])}" for level in sorted(counts)[::-1])


def _head(state: QueueState) -> str:
    if state.ready == 0:
        return ""
    return _UNKNOWN if state.head_wait is None else format_wait(state.head_wait)


@queues.command()
@click.argument("name")
def pause(name: str) -> None:
    """Let the jobs of queue NAME wait.

    Its workers stop taking jobs within two seconds and finish what they run; publishing goes on.
    """
    changed = pause_queue(broker_address(), load_policy(), name)
    click.echo(f"{name} is paused" if changed else f"{name} was paused already")


@queues.command()
@click.argument("name")
def resume(name: str) -> None:
    """End the pause of queue NAME."""
    changed = resume_queue(broker_address(), load_policy(), name)
    click.echo(f"{name} is resumed" if changed else f"{name} was not paused")


@queues.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def purge(name: str, yes: bool, as_json: bool) -> ExitCode:
    """Make dead letters of all jobs that wait in queue NAME.

    Nothing is dropped: the messages move to dead.inbox of the queue's virtual host. Jobs that
    workers hold are left alone.
    """
    policy, address = load_policy(), broker_address()
    policy.queue(name)
    if not yes:
        if as_json:
            raise click.UsageError("--json cannot ask: add --yes")
        click.confirm(f"Make dead letters of all jobs that wait in {name}?", abort=True)
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        line = bar.add_task(f"purging {name}", total=None)
        count = purge_queue(
            address,
            policy,
            name,
            progress=lambda done, waiting: bar.update(line, completed=done, total=waiting),
        )
    if as_json:
        write_json({"queue": name, "purged": count})
    else:
        click.echo(f"{count} jobs of {name} became dead letters")
    return ExitCode.OK
