"""The picture of a comparison of scaling policies: what arrived, which pods, what was late."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from laneway.console.chart import Line, Panel, draw_chart

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from laneway.scaling.simulate.compare import Comparison

#: Seconds that a point of the arrivals and of the late jobs stands for.
_STEP: Final = 10


def plot_comparisons(comparisons: Sequence[Comparison]) -> str:
    """Draw each comparison's first trace: arrivals, and pods and late jobs for each policy."""
    panels: list[Panel] = []
    for comparison in comparisons:
        trace, rows = comparison.trace, comparison.rows
        name = trace.name
        panels += [
            Panel(
                f"{name}: jobs published a second",
                [Line("published", _rates(trace.arrivals, trace.seconds), 7)],
            ),
            Panel(
                f"{name}: pods",
                [
                    Line(row.name, [(look.at, look.pods) for look in row.outcomes[0].looks], colour)
                    for colour, row in enumerate(rows)
                ],
            ),
            Panel(
                f"{name}: jobs published a second that started too late",
                [
                    Line(row.name, _rates(row.outcomes[0].late, trace.seconds), colour)
                    for colour, row in enumerate(rows)
                ],
            ),
        ]
    longest = max(comparison.trace.seconds for comparison in comparisons)
    return draw_chart("Scaling policies", panels, seconds=longest)


def _rates(moments: Iterable[float], seconds: float) -> list[tuple[float, float]]:
    counts = Counter(int(at // _STEP) for at in moments if 0 <= at < seconds)
    return [(step * _STEP, counts[step] / _STEP) for step in range(int(seconds // _STEP))]
