"""How far the scaler looks back, and how often workers report and it looks.

=============================  ==================================================================
``LANEWAY_SCALING_WINDOW``     what arrivals and runtimes are the means of; ``60s`` unless said
``LANEWAY_SCALING_EVERY``      between two reports of a worker, and two looks at the broker;
                               ``5s`` unless said
=============================  ==================================================================
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from laneway.errors import SettingsError
from laneway.types import format_duration, parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Shortest and longest of both, in seconds.
_WINDOW: Final = (2.0, 3600.0)
_EVERY: Final = (1.0, 60.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Seconds."""

    #: What rates and runtimes are the means of.
    window: float = 60.0
    #: Between two reports of a worker, and between two looks at the broker.
    every: float = 5.0

    @property
    def stale(self) -> float:
        """Seconds after which what was said last is no longer taken for true.

        One report or look may be missed, and the next one may be late.
        """
        return 3 * self.every + 1.0


def pace_of_environment(environ: Mapping[str, str] = os.environ) -> Pace:
    """What the environment says.

    Raises:
        SettingsError: it is no duration within the bounds, or the window has no room for reports.
    """
    usual = Pace()
    pace = Pace(
        window=_duration(environ, "LANEWAY_SCALING_WINDOW", usual.window, _WINDOW),
        every=_duration(environ, "LANEWAY_SCALING_EVERY", usual.every, _EVERY),
    )
    if pace.window < 2 * pace.every:
        raise SettingsError(
            "LANEWAY_SCALING_WINDOW: expected at least twice LANEWAY_SCALING_EVERY, got: "
            f"{format_duration(pace.window)} and {format_duration(pace.every)}"
        )
    return pace


def _duration(
    environ: Mapping[str, str], name: str, usual: float, bounds: tuple[float, float]
) -> float:
    text = environ.get(name)
    if not text:
        return usual
    low, high = bounds
    try:
        seconds = parse_duration(text)
        if low <= seconds <= high:
            return seconds
    except ValueError:
        pass
    raise SettingsError(
        f"{name}: expected a duration from {format_duration(low)} to {format_duration(high)} with "
        f'its unit, like "60s", got: {text!r}'
    )
