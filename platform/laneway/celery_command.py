"""Errors of Laneway under Celery's own command (``celery -A …``): one message and a status.

Celery's command shows click's errors as messages and any other with a traceback, which buries the
cure.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import click

from laneway.errors import LanewayError

if TYPE_CHECKING:
    from collections.abc import Iterator


def context_of_celerys_command() -> click.Context | None:
    """Celery's command line that runs in this process, or None."""
    module = sys.modules.get("celery.bin.celery")
    context = click.get_current_context(silent=True)
    if module is None or context is None or context.find_root().command is not module.celery:
        return None
    return context


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Let an error of Laneway end Celery's own command with its message and status 1.

    Anywhere else errors pass as they are. Not for what a running worker or beat does: there an
    error is one job's, and not the end of the process.
    """
    try:
        yield
    except LanewayError as error:
        if context_of_celerys_command() is None:
            raise
        click.echo(f"laneway: {error}", err=True)
        # Not a click exception: while it imports the application Celery's command shows every
        # Exception with its traceback.
        raise SystemExit(1) from error
