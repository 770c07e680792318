"""``laneway render``: files for other systems, made of the policy."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from laneway.cli.exit_codes import ExitCode
from laneway.cli.output import json_option, write_json
from laneway.policy import load_policy
from laneway.render import RENDERERS, default_root, workers_block
from laneway.sentry.ownership import ownership_rules

_check: Final = click.option(
    "--check", is_flag=True, help="Write nothing; show what differs, status 1 if anything does."
)
_to: Final = click.option(
    "--to",
    "root",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Render into this folder.  [default: that of queues/]",
)


@click.group(invoke_without_command=True)
@_check
@_to
@click.pass_context
def render(context: click.Context, check: bool, root: Path | None) -> ExitCode | None:
    """Write what other systems need to know of the policy.

    Without a verb all files of a checkout are written. The policy is that of LANEWAY_POLICY, else
    the one in the installed wheel, else the checkout's.
    """
    if context.invoked_subcommand is None:
        return _render(list(RENDERERS), root, check=check)
    if check or root:
        raise click.UsageError(f"put the options behind {context.invoked_subcommand!r}")
    return None


@render.command()
@_check
@_to
@click.option("--print", "shown", is_flag=True, help="Write a values file to stdout instead.")
def helm(check: bool, root: Path | None, shown: bool) -> ExitCode:
    """Write the workers of the chart's values: helm/laneway/values.yaml."""
    if shown and (check or root):
        raise click.UsageError("--print writes to stdout: leave out --check and --to")
    if shown:
        click.echo(workers_block(load_policy()), nl=False)
        return ExitCode.OK
    return _render(["helm"], root, check=check)


@render.command()
@_check
@_to
def k8s(check: bool, root: Path | None) -> ExitCode:
    """Write plain manifests, as the chart makes them: deploy/k8s/base."""
    return _render(["k8s"], root, check=check)


@render.command()
@_check
@_to
def compose(check: bool, root: Path | None) -> ExitCode:
    """Write a Compose file: deploy/compose/compose.yaml."""
    return _render(["compose"], root, check=check)


@render.command()
@_check
@_to
def supervisor(check: bool, root: Path | None) -> ExitCode:
    """Write units for supervisord: deploy/supervisor."""
    return _render(["supervisor"], root, check=check)


def _render(names: list[str], root: Path | None, *, check: bool) -> ExitCode:
    policy = load_policy()
    root = root or default_root(policy)
    renderings = [RENDERERS[name](policy, root) for name in names]
    if not check:
        for rendering in renderings:
            for path in rendering.write(root):
                click.echo(path)
        return ExitCode.OK
    drift = [diff for rendering in renderings for diff in rendering.drift(root).values()]
    if not drift:
        return ExitCode.OK
    click.echo("".join(drift), nl=False)
    verb = " ".join(["laneway render", *(names if len(names) == 1 else [])])
    click.echo(
        f"expected what the policy says, got {len(drift)} other "
        f"file{'s' if len(drift) > 1 else ''}; run: {verb}",
        err=True,
    )
    return ExitCode.NO


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
