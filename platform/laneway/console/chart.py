"""Lines over time as an SVG document, without a library: for reports that anybody can open."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

_COLOURS: Final = (
    "#4477aa",
    "#ee6677",
    "#228833",
    "#ccbb44",
    "#66ccee",
    "#aa3377",
    "#bbbbbb",
    "#444444",
)
_WIDTH: Final = 900
_LEFT: Final = 60
_RIGHT: Final = 190
_HEIGHT: Final = 150
_GAP: Final = 46
_TOP: Final = 40
#: Points of a line; more of them are drawn as their means.
_POINTS: Final = 600


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a panel: what its colour means, and its points in order of time."""

    label: str
    points: Sequence[tuple[float, float]]
    #: Which colour: the same number is the same one in every panel.
    colour: int = 0


@dataclass(frozen=True, slots=True)
class Panel:
    """Lines over the same time, from zero up."""

    title: str
    lines: Sequence[Line]


def draw_chart(title: str, panels: Sequence[Panel], *, seconds: float) -> str:
    """Draw panels below each other.

    Args:
        title: of the whole.
        panels: what to draw.
        seconds: how long all of them are.

    Returns:
        An SVG document.
    """
    height = _TOP + len(panels) * (_HEIGHT + _GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}">',
        "<style>text { font: 12px sans-serif }</style>",
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{_LEFT}" y="22" style="font-size: 15px">{escape(title)}</text>',
    ]
    for place, panel in enumerate(panels):
        parts += _panel(panel, _TOP + place * (_HEIGHT + _GAP), seconds)
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, top: float, seconds: float) -> list[str]:
    bottom, right = top + 20 + _HEIGHT, _WIDTH - _RIGHT
    highest = max((value for line in panel.lines for _, value in line.points), default=0.0)
    scale = _round_up(highest)
    parts = [f'<text x="{_LEFT}" y="{top + 12:g}">{escape(panel.title)}</text>']
    for share in (0, 0.5, 1):
        y = bottom - share * _HEIGHT
        parts.append(
            f'<line x1="{_LEFT}" x2="{right}" y1="{y:g}" y2="{y:g}" stroke="#dddddd"/>'
            f'<text x="{_LEFT - 6}" y="{y + 4:g}" text-anchor="end">{scale * share:g}</text>'
        )
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = _LEFT + share * (right - _LEFT)
        parts.append(
            f'<text x="{x:g}" y="{bottom + 15:g}" text-anchor="middle">'
            f"{seconds * share / 60:g} min</text>"
        )
    for place, line in enumerate(panel.lines):
        colour = _COLOURS[line.colour % len(_COLOURS)]
        path = " ".join(
            f"{_LEFT + at / seconds * (right - _LEFT):.1f},{bottom - value / scale * _HEIGHT:.1f}"
            for at, value in _thinned(line.points)
        )
        y = top + 32 + place * 18
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
            f'<line x1="{right + 12}" x2="{right + 30}" y1="{y - 4:g}" y2="{y - 4:g}" '
            f'stroke="{colour}" stroke-width="3"/>'
            f'<text x="{right + 36}" y="{y:g}">{escape(line.label)}</text>'
        )
    return parts


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    step = math.ceil(len(points) / _POINTS) or 1
    groups = (points[at : at + step] for at in range(0, len(points), step))
    return [(group[0][0], sum(value for _, value in group) / len(group)) for group in groups]


def _round_up(value: float) -> float:
    """The next number that is easy to halve.

    >>> [_round_up(v) for v in (0, 0.7, 3, 21, 480)]
    [1.0, 1.0, 4.0, 40.0, 500.0]
    """
    if value <= 0:
        return 1.0
    power = float(10 ** math.floor(math.log10(value)))
    return next(step * power for step in (1, 2, 4, 5, 6, 8, 10) if step * power >= value)
