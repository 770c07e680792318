"""``laneway topology``: what must exist on the broker, compared and carried out."""

from __future__ import annotations

import dataclasses

import click

from laneway.broker import broker_address
from laneway.broker.management import Management
from laneway.cli.exit_codes import ExitCode
from laneway.cli.options import find_platform
from laneway.cli.output import json_option, write_json
from laneway.policy import load_policy
from laneway.topology import Plan, apply_plan, make_plan

_prune = click.option(
    "--prune", is_flag=True, help="Delete queues that left the policy, if they are empty."
)
_recreate = click.option(
    "--recreate-empty", is_flag=True, help="Make empty queues of the wrong type anew."
)


@click.group()
def topology() -> None:
    """Plan or apply what must exist on the broker.

    Needs the management interface (LANEWAY_MANAGEMENT_URL). Nothing else that Laneway does needs
    its rights.
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
@json_option
def apply(prune: bool, recreate_empty: bool, yes: bool, as_json: bool) -> ExitCode:
    """Carry the plan out; status 1 if something of it is left to people.

    Nothing that holds messages is ever deleted.
    """
    if as_json and not yes:
        raise click.UsageError("--json cannot ask: add --yes")
    policy, address = load_policy(), broker_address()
    with Management(address) as management:
        made = make_plan(management, policy, address, prune=prune, recreate_empty=recreate_empty)
        _show(made, as_json=as_json)
        if made.changes:
            if not yes:
                click.confirm(f"Carry out {len(made.changes)} changes?", abort=True)
            # What it refuses has been shown and becomes the status; it is no error of the broker.
            apply_plan(management, dataclasses.replace(made, refusals=()), address)
            if not as_json:
                click.echo("applied")
    return ExitCode.NO if made.refusals else ExitCode.OK


def _show(made: Plan, *, as_json: bool) -> None:
    if as_json:
        write_json(made.to_dict())
    else:
        click.echo(str(made))
