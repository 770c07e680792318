"""``laneway scaling``: how many workers a queue needs."""

from __future__ import annotations

import click

from laneway.cli.scaling_explain import explain
from laneway.cli.scaling_simulate import simulate


@click.group()
def scaling() -> None:
    """Say how many workers a queue needs, or play what a scaling policy would have done."""


scaling.add_command(explain)
scaling.add_command(simulate)
