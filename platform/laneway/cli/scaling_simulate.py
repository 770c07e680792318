"""``laneway scaling simulate``: policies on a trace, compared."""

from __future__ import annotations

import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console
from rich.progress import Progress

from laneway.cli.dead_options import read_rate
from laneway.cli.output import json_option, write_json
from laneway.console import table
from laneway.console.numbers import format_wait
from laneway.console.scaling_plot import plot_comparisons
from laneway.policy import load_policy
from laneway.scaling.simulate import TRACES, Shape, World, compare_policies, make_trace
from laneway.scaling.simulate.compare import RUNS
from laneway.scaling.simulate.trace_file import read_lines, trace_of
from laneway.types import format_duration, parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from laneway.policy.queues import Queue
    from laneway.scaling.simulate.compare import Comparison, Row, Spread
    from laneway.scaling.simulate.outcome import Outcome
    from laneway.scaling.simulate.trace import Trace

#: Jobs that may be played for each run of one command's policies: beyond them Python takes minutes.
_MOST_JOBS: Final = 5_000_000

#: Columns of a table that nobody watches.
_WIDE: Final = 160


def _duration(_context: Any, _option: Any, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(f"expected {error}, got: {text!r}") from None


@click.command()
@click.argument("queue")
@click.option(
    "--trace",
    "names",
    multiple=True,
    type=click.Choice(list(TRACES)),
    help="A bundled trace; can be repeated.  [default: all]",
)
@click.option(
    "--csv",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Instead: a file of second,jobs[,runtime] from real metrics.",
)
@click.option(
    "--rate",
    callback=read_rate,
    metavar="N/UNIT",
    help='Jobs of a bundled trace, like "50/s".  [default: a fifth of what max workers can do]',
)
@click.option(
    "--runtime",
    callback=_duration,
    metavar="TIME",
    help="Mean runtime of a job.  [default: the queue's expected_runtime]",
)
@click.option(
    "--length", callback=_duration, default="1h", show_default=True, help="Of a bundled trace."
)
@click.option(
    "--pod-start",
    nargs=2,
    default=("10s", "20s"),
    show_default=True,
    metavar="LOW HIGH",
    help="From the wish for a pod to its first job.",
)
@click.option(
    "--cpu",
    type=click.FloatRange(0.01, 1),
    default=0.3,
    show_default=True,
    help="Share of its runtime for which a job computes; the rest it waits for others.",
)
@click.option(
    "--away",
    nargs=2,
    metavar="FROM TO",
    help="Laneway's scaler is silent for this part of the trace in the row 'laneway away'.  "
    "[default: all of it]",
)
@click.option(
    "--min",
    "fewest",
    type=click.IntRange(0, 1000),
    help="Instead of the queue's; with 0 KEDA starts the first pod and stops the last.",
)
@click.option("--max", "most", type=click.IntRange(1, 1000), help="Instead of the queue's.")
@click.option("--seed", type=int, default=0, show_default=True, help="What is left to chance.")
@click.option(
    "--seeds",
    type=click.IntRange(1, 100),
    default=1,
    show_default=True,
    help="So many traces: thresholds are found on the first, all are judged.",
)
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Draw arrivals, pods and late jobs into this SVG file.",
)
@json_option
def simulate(
    queue: str,
    seed: int,
    seeds: int,
    away: tuple[str, str] | None,
    plot: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Compare ways to scale the workers of QUEUE on traces of arrivals.

    Fixed workers, an HPA on the processor, KEDA's QueueLength and MessageRate (each with the
    threshold that is best on the very trace), and Laneway as the queue's file says and with the
    best utilisation. Needs no broker and no cluster.
    """
    if plot is not None and plot.suffix != ".svg":
        raise click.BadParameter(
            f"expected a file that ends with .svg, got: {plot}", param_hint="--plot"
        )
    world = _world(load_policy().queue(queue), **options)
    traces = _traces(world, **options)
    chosen = [seed + number for number in range(seeds)]
    comparisons = _compare(traces, world, chosen, away and _span(away, "--away"))
    if plot is not None:
        plot.write_text(plot_comparisons(comparisons))
    if as_json:
        write_json(_plain(world, chosen, comparisons))
        return
    _show(world, comparisons, seeds)


def _world(
    queue: Queue,
    *,
    pod_start: tuple[str, str],
    cpu: float,
    fewest: int | None,
    most: int | None,
    **_: Any,
) -> World:
    changes = {key: value for key, value in (("min", fewest), ("max", most)) if value is not None}
    scaling = queue.scaling.model_copy(update=changes)
    if scaling.min > scaling.max:
        raise click.UsageError(
            f"expected min to be at most max, got: min {scaling.min}, max {scaling.max}"
        )
    return World(
        queue=queue.model_copy(update={"scaling": scaling}),
        pod_start=_span(pod_start, "--pod-start"),
        cpu_share=cpu,
    )


def _span(texts: tuple[str, str], option: str) -> tuple[float, float]:
    try:
        low, high = (parse_duration(text) for text in texts)
    except ValueError as error:
        raise click.BadParameter(f"expected {error}, got: {texts}", param_hint=option) from None
    if low > high:
        raise click.BadParameter(
            f"expected the shorter time first, got: {' '.join(texts)}", param_hint=option
        )
    return low, high


def _traces(
    world: World,
    *,
    names: Sequence[str],
    file: Path | None,
    rate: float | None,
    runtime: float | None,
    length: float,
    **_: Any,
) -> dict[str, Callable[[int], Trace]]:
    """What makes the trace of a seed, by its name."""
    scaling = world.queue.scaling
    mean = runtime or scaling.expected_runtime
    if file is not None:
        if names or rate is not None:
            raise click.UsageError("expected --csv or a bundled trace (--trace, --rate), got both")
        lines = read_lines(file)
        _bounded(sum(line.jobs for line in lines))
        return {file.stem: lambda seed: trace_of(file.stem, lines, mean, seed)}
    rate = rate or scaling.max * world.concurrency / mean / 5
    _bounded(int(rate * length))
    shape = Shape(rate=rate, runtime=mean, seconds=max(60, int(length)))
    return {name: partial(make_trace, name, shape) for name in names or TRACES}


def _bounded(jobs: int) -> None:
    if jobs > _MOST_JOBS:
        raise click.UsageError(
            f"expected at most {_MOST_JOBS:,} jobs in a trace, got {jobs:,}: take a shorter one, "
            "or fewer jobs and fewer workers in the same proportion"
        )


def _compare(
    traces: dict[str, Callable[[int], Trace]],
    world: World,
    seeds: Sequence[int],
    away: tuple[float, float] | None,
) -> list[Comparison]:
    runs = RUNS + 7 * (len(seeds) - 1)
    made = []
    with Progress(
        console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True
    ) as bar:
        for name, make in traces.items():
            line = bar.add_task(f"playing {name}", total=runs)
            tried = partial(bar.advance, line)
            made.append(compare_policies(make, world, seeds, away=away, tried=tried))
            bar.update(line, completed=runs)
    return made


def _show(world: World, comparisons: Sequence[Comparison], seeds: int) -> None:
    # Rows stay in one piece in a file, too.
    screen = Console() if sys.stdout.isatty() else Console(width=_WIDE)
    queue = world.queue
    screen.print(
        f"{queue.name}: {queue.scaling.min} to {queue.scaling.max} pods of "
        f"{world.concurrency} slots, "
        f"service level {format_duration(queue.service_level)}"
        + (f"; median (lowest-highest) of {seeds} seeds" if seeds > 1 else ""),
        highlight=False,
    )
    numbers = ["in time", "p95", "p99", "pod-hours", "turns/h", "most pods"]
    for comparison in comparisons:
        trace = comparison.trace
        about = TRACES.get(trace.name, "from a file")
        title = f"\n{trace.name}: {about} ({trace.counted:,} jobs)"
        rows = [
            (
                row.name,
                row.setting,
                _said(row.spread(lambda o: o.within * 100), "{:.2f}%".format),
                _waited(row, "p95"),
                _waited(row, "p99"),
                _said(row.spread(lambda o: o.pod_hours), "{:.2f}".format),
                _said(row.spread(lambda o: o.flapping), "{:.0f}".format),
                _said(row.spread(lambda o: o.most_pods), "{:.0f}".format),
            )
            for row in comparison.rows
        ]
        screen.print(table(["policy", "setting", *numbers], rows, numbers=numbers, title=title))


def _said(spread: Spread, form: Callable[[float], str]) -> str:
    middle, low, high = form(spread.median), form(spread.low), form(spread.high)
    return middle if low == high else f"{middle} ({low}-{high})"


def _waited(row: Row, which: str) -> str:
    waits = [getattr(outcome, which) for outcome in row.outcomes]
    if None in waits:
        return "never"
    return _said(row.spread(lambda outcome: getattr(outcome, which)), format_wait)


def _plain(world: World, seeds: Sequence[int], comparisons: Sequence[Comparison]) -> dict[str, Any]:
    return {
        "queue": world.queue.name,
        "service_level": world.queue.service_level,
        "seeds": list(seeds),
        "traces": [
            {
                "trace": comparison.trace.name,
                "policies": [
                    {
                        "policy": row.name,
                        "setting": row.setting,
                        "runs": [
                            {"seed": seed, **_numbers(outcome)}
                            for seed, outcome in zip(seeds, row.outcomes, strict=True)
                        ],
                    }
                    for row in comparison.rows
                ],
            }
            for comparison in comparisons
        ],
    }


def _numbers(outcome: Outcome) -> dict[str, Any]:
    left_out = {"policy", "looks", "late"}
    return {key: value for key, value in asdict(outcome).items() if key not in left_out}
