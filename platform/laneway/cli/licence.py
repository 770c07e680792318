"""Showing a licence and asking for its acceptance; nothing is ever accepted silently."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from laneway.local import accepted_in_advance

if TYPE_CHECKING:
    from laneway.local import Accepts, Licence


def is_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty()


def asks_for(*, accepted: bool) -> Accepts:
    """What shows a licence on stderr and finds out whether it is accepted.

    It is if ``accepted`` says so, or ``LANEWAY_ACCEPT_LICENCE`` names it; else whoever sits at the
    terminal is asked, and a no ends the command as Ctrl-C does. Where nobody does, it is not.
    """

    def asks(licence: Licence) -> bool:
        click.echo(licence.text, err=True)
        what = f"the licence above ({licence.name}) of {licence.software}"
        if accepted or accepted_in_advance(licence):
            click.echo(f"accepted in advance: {what}", err=True)
            return True
        if not is_terminal():
            return False
        return click.confirm(f"Do you accept {what}?", abort=True, err=True)

    return asks
