"""The small values that every layer shares: priorities, durations, sizes as people write them."""

from __future__ import annotations

import re
from typing import Final

#: The most urgent priority. Higher is more urgent, everywhere in Laneway.
HIGHEST_PRIORITY: Final = 9
#: The least urgent priority.
LOWEST_PRIORITY: Final = 0
#: The priority of a job for which nobody said one (also RabbitMQ 4.3's own default).
DEFAULT_PRIORITY: Final = 4

_LONGEST_NAME: Final = 255
_DURATION_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE_UNITS: Final = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB)")


def short_text(value: object) -> str | None:
    """A value of a message's header as a name: 1 to 255 printable characters; None otherwise."""
    fits = isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME and value.isprintable()
    return str(value) if fits else None


def parse_duration(text: object) -> float:
    """Read ``"250ms"``, ``"30s"``, ``"5m"``, ``"2h"`` or ``"1d"`` as seconds.

    A bare number is refused, because nobody remembers its unit at 3 a.m.

    Raises:
        ValueError: says which forms are understood.
    """
    if isinstance(text, str) and (match := _DURATION.fullmatch(text.strip())):
        return float(match[1]) * _DURATION_UNITS[match[2]]
    raise ValueError('a duration with its unit, like "250ms", "30s", "5m", "2h" or "1d"')


def format_duration(seconds: float) -> str:
    """Write seconds the way :func:`parse_duration` reads them, in the largest exact unit.

    >>> [format_duration(s) for s in (0.025, 1, 90, 3600)]
    ['25ms', '1s', '90s', '1h']
    """
    for unit in ("d", "h", "m", "s"):
        amount = seconds / _DURATION_UNITS[unit]
        if amount >= 1 and amount == int(amount):
            return f"{int(amount)}{unit}"
    return f"{seconds * 1000:.6f}".rstrip("0").rstrip(".") + "ms"


def parse_size(text: object) -> int:
    """Read ``"512B"``, ``"64KiB"``, ``"1MiB"`` or ``"1GiB"`` as bytes.

    Raises:
        ValueError: says which forms are understood.
    """
    if isinstance(text, str) and (match := _SIZE.fullmatch(text.strip())):
        return int(float(match[1]) * _SIZE_UNITS[match[2]])
    raise ValueError('a size with its unit, like "512B", "64KiB" or "1MiB"')
