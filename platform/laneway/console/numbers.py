"""Numbers as people read them at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What is shown where a number is not known: never a zero.
UNKNOWN: Final = "-"

_BARS: Final = "▁▂▃▄▅▆▇█"


def format_wait(seconds: float | None) -> str:
    """A wait or runtime with two or three digits that count.

    >>> [format_wait(s) for s in (None, 0.0004, 0.0123, 0.5, 1.234, 42.0, 125.0, 7260.0)]
    ['-', '0.4ms', '12ms', '500ms', '1.23s', '42.0s', '2m05s', '2h01m']
    """
    if seconds is None:
        return UNKNOWN
    if seconds < 0.01:
        return f"{seconds * 1000:.1f}ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 9.995:
        return f"{seconds:.2f}s"
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    return f"{minutes // 60}h{minutes % 60:02d}m"


def format_count(number: int | None) -> str:
    """A count with its thousands apart.

    >>> format_count(1234567), format_count(None)
    ('1,234,567', '-')
    """
    return UNKNOWN if number is None else f"{number:,}"


def format_rate(per_second: float) -> str:
    """Jobs per second, with a decimal where it says something.

    >>> [format_rate(r) for r in (0.0, 0.31, 12.34, 345.6)]
    ['0', '0.3', '12.3', '346']
    """
    if per_second == 0:
        return "0"
    return f"{per_second:.1f}" if per_second < 100 else f"{per_second:,.0f}"


def format_uptime(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> format_uptime(3725.4)
    '1:02:05'
    """
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def sparkline(numbers: Sequence[int], *, width: int) -> str:
    """The last ``width`` numbers as bars, the highest of them full height.

    >>> sparkline([0, 1, 2, 4, 8], width=4)
    '▂▃▅█'
    """
    shown = list(numbers)[-width:]
    top = max(shown, default=0)
    if top == 0:
        return _BARS[0] * len(shown)
    return "".join(_BARS[round(number / top * (len(_BARS) - 1))] for number in shown)
