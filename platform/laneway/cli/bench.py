"""``laneway bench``: the benchmarks of the checkout."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from laneway.errors import LanewayError

_BENCHMARKS: Final = Path(__file__).resolve().parents[3] / "benchmarks"


@click.command()
@click.option("--quick", "mode", flag_value="quick", help="A look: one short run, three minutes.")
@click.option("--full", "mode", flag_value="full", help="Seven long runs, up to 1,000,000 jobs.")
@click.option(
    "--runs", type=click.IntRange(min=1), help="How often all is measured.  [default: 5; quick 1]"
)
@click.option(
    "--system",
    "systems",
    multiple=True,
    metavar="NAME",
    help="Only these: laneway, celery, dramatiq, taskiq, raw, or one of them in full.",
)
@click.option(
    "--measure",
    "groups",
    multiple=True,
    type=click.Choice(["publish", "work", "flood", "growth"]),
    help="Only these groups of measures.",
)
@click.option(
    "--soak",
    type=click.FloatRange(min=0.1),
    metavar="MINUTES",
    help="Instead: one Laneway for so long at 70 % of its most; is memory flat, is a job lost?",
)
@click.option(
    "--sentry",
    is_flag=True,
    help="Instead: what Sentry costs: no-ops of one Laneway with it beside one without.",
)
@click.option(
    "--server",
    type=click.Choice(["slow", "429", "500", "hangs-up"]),
    help="With --sentry: the server is in trouble, and every hundredth job fails.",
)
@click.option(
    "--results",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where JSON, report and plots go.  [default: benchmarks/results]",
)
def bench(
    mode: str | None, soak: float | None, sentry: bool, server: str | None, **options: Any
) -> int:
    """Measure Laneway beside its peers, on a private RabbitMQ 4.3.

    Takes up to 45 minutes, and installs the peers into .venv-bench first. Status 1 means that a job
    was lost, that a system broke down, or that memory grew in a soak. Only in a checkout.
    """
    if not (_BENCHMARKS / "bench").is_dir():
        raise LanewayError(
            f"expected the benchmarks in {_BENCHMARKS}: the repository has them, the wheel does "
            "not. Clone it, and run 'make bench' there."
        )
    # Not the engine's: it must not know of its peers, and the wheel does not carry them.
    sys.path.insert(0, str(_BENCHMARKS))
    run = importlib.import_module("bench.run")
    try:
        if server and not sentry:
            raise ValueError("--server: expected --sentry beside it")
        if soak is not None:
            return _soak(mode, soak, sentry, **options)
        if sentry:
            return _sentry(mode, server, **options)
        settings = run.Settings.of(mode=mode or "default", **options)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return int(run.run(settings, Console(stderr=True)))


def _soak(
    mode: str | None,
    minutes: float,
    sentry: bool,
    *,
    runs: int | None,
    systems: tuple[str, ...],
    groups: tuple[str, ...],
    folder: Path | None,
) -> int:
    if mode or sentry or runs or groups or len(systems) > 1:
        raise ValueError("--soak: expected at most --system and --results beside it")
    soak = importlib.import_module("bench.soak")
    return int(
        soak.run(
            minutes=minutes,
            system=systems[0] if systems else "laneway-direct",
            folder=folder or _BENCHMARKS / "results",
            console=Console(stderr=True),
        )
    )


def _sentry(
    mode: str | None,
    server: str | None,
    *,
    runs: int | None,
    systems: tuple[str, ...],
    groups: tuple[str, ...],
    folder: Path | None,
) -> int:
    if mode == "full" or groups or len(systems) > 1:
        raise ValueError(
            "--sentry: expected at most --quick, --runs, --system, --server, --results beside it"
        )
    sentry = importlib.import_module("bench.sentry")
    quick = mode == "quick"
    results = _BENCHMARKS / "results"
    return int(
        sentry.run(
            system=systems[0] if systems else "laneway-direct",
            pairs=runs or (1 if quick else sentry.PAIRS),
            seconds=1.0 if quick else sentry.SECONDS,
            trouble=server,
            folder=folder or (results / "quick" if quick else results),
            console=Console(stderr=True),
        )
    )
