"""Pictures of the results: ``python -m bench.plots FOLDER``; needs matplotlib."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import matplotlib as mpl

from bench.results import Results
from bench.soak_result import Soak

mpl.use("svg")
from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from collections.abc import Sequence

#: File, title, whether the axis is logarithmic, and the measures side by side in it.
_PICTURES: Final = (
    ("publish", "Publishing (jobs/s)", True, ("publish_one", "publish_many")),
    ("drain", "Draining a filled queue (jobs/s)", True, ("drain_noop", "drain_sleep", "drain_cpu")),
    (
        "flood",
        "Wait of high-priority jobs while the low queue is flooded (ms)",
        False,
        ("flood_p50", "flood_p95", "flood_p99"),
    ),
    (
        "overtake",
        "Wait of an urgent job behind a backlog in its own queue (ms)",
        False,
        ("overtake_p50", "overtake_p95", "overtake_p99"),
    ),
    ("memory", "Memory of the whole worker, PSS (MB)", False, ("memory",)),
    ("startup", "From the command to the first job (s)", False, ("startup",)),
)
_COLOURS: Final = ("#4477aa", "#ee6677", "#228833")


def draw(results: Results, folder: Path) -> list[str]:
    """Draw every picture for which there are numbers; return the names of the files."""
    plt.rcParams.update({"svg.hashsalt": "laneway", "font.size": 9, "axes.axisbelow": True})
    for name in (*(picture[0] for picture in _PICTURES), "growth"):
        # Of an earlier run that measured more.
        (folder / f"{name}.svg").unlink(missing_ok=True)
    drawn = []
    for name, title, logarithmic, keys in _PICTURES:
        there = [key for key in keys if key in results.measures]
        if there:
            _bars(results, there, title, logarithmic=logarithmic)
            drawn.append(_save(folder / f"{name}.svg"))
    growth = [key for key in results.measures if key.startswith("growth_")]
    if len(growth) > 1:
        _lines(results, growth)
        drawn.append(_save(folder / "growth.svg"))
    return drawn


def _bars(results: Results, keys: Sequence[str], title: str, *, logarithmic: bool) -> None:
    """One group of bars a system, with the range of the runs as whiskers."""
    systems = [key for key in results.systems if any(results.spread(key, k) for k in keys)]
    _, axes = plt.subplots(figsize=(8, 0.9 + 0.28 * len(systems) * max(2, len(keys))))
    height = 0.8 / len(keys)
    for place, key in enumerate(keys):
        spots: list[float] = []
        medians: list[float] = []
        whiskers: tuple[list[float], list[float]] = ([], [])
        for row, system in enumerate(systems):
            if spread := results.spread(system, key):
                spots.append(row + place * height)
                medians.append(spread.median)
                whiskers[0].append(spread.median - spread.low)
                whiskers[1].append(spread.high - spread.median)
        label = key.partition("_")[2] or key
        colour = _COLOURS[place]
        axes.barh(spots, medians, height, xerr=whiskers, label=label, color=colour, capsize=2)
    axes.set_yticks(
        [row + 0.4 - height / 2 for row in range(len(systems))],
        [results.systems[key]["title"] for key in systems],
    )
    axes.invert_yaxis()
    axes.set_title(f"{title}, logarithmic" if logarithmic else title)
    axes.grid(axis="x", alpha=0.3)
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.xaxis.set_minor_formatter("")
    if len(keys) > 1:
        axes.legend(loc="best")


def _lines(results: Results, keys: Sequence[str]) -> None:
    """Jobs a second over the length of the queue, one line a system."""
    _, axes = plt.subplots(figsize=(8, 4))
    for system, about in results.systems.items():
        spreads = [(int(key.split("_")[1]), results.spread(system, key)) for key in keys]
        points = [(length, spread) for length, spread in spreads if spread is not None]
        if points:
            lengths = [length for length, _ in points]
            (line,) = axes.plot(lengths, [s.median for _, s in points], "o-", label=about["title"])
            low, high = [s.low for _, s in points], [s.high for _, s in points]
            axes.fill_between(lengths, low, high, color=line.get_color(), alpha=0.2)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("jobs in the queue at the start")
    axes.set_title("Draining the first jobs of a queue, by its length (jobs/s)")
    axes.grid(alpha=0.3)
    axes.legend(loc="best")


def draw_soak(soak: Soak, folder: Path) -> str:
    """Draw memory and backlog over the time of a soak; return the name of the file."""
    minutes = [look.at / 60 for look in soak.looks]
    _, (memory, backlog) = plt.subplots(2, 1, figsize=(8, 5), sharex=True, height_ratios=(3, 1))
    for name in ("worker", "largest", "publisher"):
        label = {"worker": "whole worker", "largest": "its largest process"}.get(name, name)
        memory.plot(minutes, [getattr(look, name) for look in soak.looks], label=label)
    memory.set_ylim(bottom=0)
    memory.set_title(f"A soak at {soak.pace:,.0f} jobs/s: memory, PSS (MB)")
    memory.legend(loc="best")
    backlog.plot(minutes, [look.waiting for look in soak.looks])
    backlog.set_ylim(bottom=0)
    backlog.set_title("Jobs waiting")
    backlog.set_xlabel("minutes")
    for axes in (memory, backlog):
        axes.grid(alpha=0.3)
    return _save(folder / "soak.svg")


def _save(file: Path) -> str:
    plt.tight_layout()
    # Without the date the same numbers make the same file.
    plt.savefig(file, metadata={"Date": None})
    plt.close()
    return file.name


if __name__ == "__main__":
    place = Path(sys.argv[1])
    if (place / "results.json").exists():
        draw(Results.load(place / "results.json"), place)
    if (place / "soak.json").exists():
        draw_soak(Soak.load(place / "soak.json"), place)
