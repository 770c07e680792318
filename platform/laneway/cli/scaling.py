"""``laneway scaling``: how many workers a queue needs."""

from __future__ import annotations

import click

from laneway.cli.scaling_explain import explain
from laneway.cli.scaling_simulate import simulate


@click.group()
def scaling() -> None:
    """Explain how many workers a queue needs; play ways to scale it."""


scaling.add_command(explain)
scaling.add_command(simulate)
