"""``laneway topology``: what must exist on the broker, compared and carried out."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Final

import click

from laneway.broker import broker_address
from laneway.broker.management import Management
from laneway.cli.exit_codes import ExitCode
from laneway.cli.options import find_platform
from laneway.cli.output import json_option, write_json
from laneway.errors import BrokerError
from laneway.policy import load_policy
from laneway.topology import Plan, apply_plan, look_at, make_plan, wait_for_topology

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds between two tries to reach the management interface.
_RETRY_EVERY: Final = 2.0

_prune = click.option(
    "--prune", is_flag=True, help="Delete queues that left the policy, if they are empty."
)
_recreate = click.option(
    "--recreate-empty", is_flag=True, help="Make empty queues of the wrong type anew."
)


@click.group()
def topology() -> None:
    """Plan, apply or wait for what must exist on the broker.

    Plan and apply need the management interface (LANEWAY_MANAGEMENT_URL). Nothing else that
    Laneway does needs its rights.
    """
    find_platform()


@topology.command()
@_prune
@_recreate
@json_option
def plan(prune: bool, recreate_empty: bool, as_json: bool) -> ExitCode:
    """Show what apply would do; status 1 if there is anything to do."""
    address = broker_address()
    with Management(address) as management:
        made = make_plan(
            management, load_policy(), address, prune=prune, recreate_empty=recreate_empty
        )
    _show(made, as_json=as_json)
    return ExitCode.OK if made.is_empty else ExitCode.NO


@topology.command()
@_prune
@_recreate
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="SECONDS",
    help="Wait for a broker that does not answer yet.",
)
@json_option
def apply(prune: bool, recreate_empty: bool, yes: bool, wait: float, as_json: bool) -> ExitCode:
    """Carry the plan out; status 1 if something of it is left to people.

    Nothing that holds messages is ever deleted.
    """
    if as_json and not yes:
        raise click.UsageError("--json cannot ask: add --yes")
    policy, address = load_policy(), broker_address()
    with Management(address) as management:
        made = _when_it_answers(
            lambda: make_plan(
                management, policy, address, prune=prune, recreate_empty=recreate_empty
            ),
            wait,
        )
        _show(made, as_json=as_json)
        if made.changes:
            if not yes:
                click.confirm(f"Carry out {len(made.changes)} changes?", abort=True)
            # What it refuses has been shown and becomes the status; it is no error of the broker.
            apply_plan(management, dataclasses.replace(made, refusals=()), address)
            if not as_json:
                click.echo("applied")
    return ExitCode.NO if made.refusals else ExitCode.OK


@topology.command()
@click.option(
    "--queue", "queues", multiple=True, metavar="NAME", help="Only what its worker needs."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait.",
)
@click.option(
    "--drift-after",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="After so long, be content with one that differs, or cannot be seen.  [default: never]",
)
def wait(queues: tuple[str, ...], timeout: float, drift_after: float | None) -> ExitCode:
    """Wait until this very topology stands, without any privilege.

    Status 1: it works, but differs; 3: the broker cannot be asked, or refuses to say; 5: something
    is missing.
    """
    policy, address = load_policy(), broker_address()
    names = [policy.queue(name).name for name in queues or policy.queues]
    ended = wait_for_topology(
        lambda: look_at(address, policy, names),
        timeout=timeout,
        drift_after=drift_after,
        report=lambda line: click.echo(line, err=True),
    )
    for finding in ended.findings:
        click.echo(f"{finding.severity}: {finding.what}. {finding.cure}", err=True)
    if ended.enough:
        return ExitCode.OK
    match ended.findings[0].severity:
        case "fatal":
            return ExitCode.FAILED
        case "unknown":
            return ExitCode.BROKER
        case "drift":
            return ExitCode.NO


def _when_it_answers(make: Callable[[], Plan], seconds: float) -> Plan:
    """Make the plan as soon as the management interface answers.

    Raises:
        BrokerError: it does not within these seconds.
    """
    until = time.monotonic() + seconds
    said = ""
    while True:
        try:
            return make()
        except BrokerError as error:
            if time.monotonic() >= until:
                raise
            if str(error) != said:
                said = str(error)
                click.echo(f"waiting: {said}", err=True)
        time.sleep(_RETRY_EVERY)


def _show(made: Plan, *, as_json: bool) -> None:
    if as_json:
        write_json(made.to_dict())
    else:
        click.echo(str(made))
