"""``laneway doctor``: what is wrong, and the cure."""

from __future__ import annotations

import json

import click
from rich.console import Console
from rich.text import Text

from laneway.checkup import Check, check_up
from laneway.cli.exit_codes import ExitCode
from laneway.cli.options import find_platform
from laneway.cli.output import json_option

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@click.command()
@json_option
def doctor(as_json: bool) -> ExitCode:
    """Check policy, broker, topology and results.

    Each line is ok, warn (it works, but not as promised or not as written) or fail, with the cure;
    the status is 1 if anything fails.
    """
    find_platform()
    checks = check_up()
    failed = any(check.verdict == "fail" for check in checks)
    if as_json:
        click.echo(
            json.dumps({"ok": not failed, "checks": [c.to_dict() for c in checks]}, indent=2)
        )
    else:
        screen = Console()
        for check in checks:
            screen.print(_line(check), soft_wrap=True)
    return ExitCode.NO if failed else ExitCode.OK


def _line(check: Check) -> Text:
    line = Text(f"{check.verdict:<5}", style=_STYLES[check.verdict])
    line.append(f"{check.subject:<12} {check.finding}", style="default not bold")
    if check.cure:
        line.append(f"\n{'':<18}cure: {check.cure}", style="dim not bold")
    return line
