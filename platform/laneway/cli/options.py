"""Options and surroundings that several verbs share."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable


def app_options(*, required: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--app`` and ``--app-dir``: where the application is."""

    def decorate(verb: Callable[..., Any]) -> Callable[..., Any]:
        verb = click.option(
            "--app-dir",
            envvar="LANEWAY_APP_DIR",
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            help="Folder to import it from, besides Python's own import path.",
        )(verb)
        return click.option(
            "--app",
            envvar="LANEWAY_APP",
            required=required,
            metavar="MODULE:NAME",
            help="The Laneway application, like shop.app:app.",
        )(verb)

    return decorate


def log_options(verb: Callable[..., Any]) -> Callable[..., Any]:
    """``--log`` (as ``form``) and ``--log-level``, of whatever runs for long."""
    verb = click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        envvar="LANEWAY_LOG_LEVEL",
        default="info",
    )(verb)
    return click.option("--log", "form", type=click.Choice(["text", "json"]), default="text")(verb)


def health_option(verb: Callable[..., Any]) -> Callable[..., Any]:
    """``--health``: where probes and metrics are answered."""
    return click.option(
        "--health",
        metavar="[HOST:]PORT",
        envvar="LANEWAY_HEALTH",
        help="Answer /livez, /readyz and /metrics here.",
    )(verb)


def import_from(folder: Path | None) -> None:
    """Let modules be imported from ``folder``; never from the current directory by itself."""
    if folder is not None:
        sys.path.insert(0, str(folder.absolute()))


def find_platform() -> None:
    """Without ``LANEWAY_BROKER_URL``: use the platform that ``laneway up`` runs on this machine.

    Does nothing if there is none: then the default address counts.

    Raises:
        click.UsageError: several run.
    """
    if os.environ.get("LANEWAY_BROKER_URL"):
        return
    from laneway.workloads.presence import running_platforms  # noqa: PLC0415 (only these verbs)

    running = running_platforms()
    if len(running) > 1:
        raise click.UsageError(
            f"{len(running)} platforms run on this machine ({', '.join(p.run for p in running)}). "
            "Set LANEWAY_BROKER_URL, or stop all but one."
        )
    for platform in running:
        click.echo(f"laneway: using the platform of run {platform.run}", err=True)
        for name, value in platform.environment.items():
            os.environ.setdefault(name, value)
