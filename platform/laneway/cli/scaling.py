"""``laneway scaling``: how many workers a queue needs."""

from __future__ import annotations

import click

from laneway.cli.scaling_simulate import simulate


@click.group()
def scaling() -> None:
    """Play what a scaling policy would have done with an arrival trace."""


scaling.add_command(simulate)
