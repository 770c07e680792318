"""``laneway render``: files for other systems, made of the policy."""

from __future__ import annotations

import click

from laneway.cli.output import json_option, write_json
from laneway.policy import load_policy
from laneway.sentry.ownership import ownership_rules


@click.group()
def render() -> None:
    """Write what other systems need to know of the policy.

    The policy is that of LANEWAY_POLICY, else the one in the installed wheel, else the checkout's.
    """


@render.command("sentry-ownership")
@json_option
def sentry_ownership(as_json: bool) -> None:
    """Write Sentry's ownership rules: whose tasks fail, by the team= of the routes.

    Paste them into the project's settings (Ownership Rules), or keep them with a job of your own.
    """
    rules = ownership_rules(load_policy())
    if as_json:
        write_json({"rules": rules})
        return
    for rule in rules:
        click.echo(rule)
    if not rules:
        click.echo("no route names a team: add team='...' to routes in routing.py", err=True)
