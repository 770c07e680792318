"""Waiting for what a controller does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_POLL_SECONDS: Final = 0.3

_T = TypeVar("_T")


def eventually(read: Callable[[], _T], expected: _T, *, seconds: float = 60, what: str = "") -> _T:
    """Read until it is `expected`. AssertionError with what was seen, and when, if it never is.

    `what` is read, in words, goes before that.
    """
    began = time.monotonic()
    seen: list[str] = []
    last: object = object()
    while True:
        now = time.monotonic() - began
        value = read()
        if value == expected:
            return value
        if value != last:
            seen.append(f"{value!r} at {now:.0f} s")
            last = value
        if now > seconds:
            raise AssertionError(
                f"{what}{what and ': '}expected {expected!r} within {seconds:g} seconds, "
                f"saw: {', '.join(seen)}"
            )
        time.sleep(_POLL_SECONDS)


def always(read: Callable[[], _T], expected: _T, *, seconds: float) -> None:
    """Read for so long. AssertionError if it is ever anything but `expected`."""
    began = time.monotonic()
    while (now := time.monotonic() - began) < seconds:
        value = read()
        assert value == expected, (
            f"expected {expected!r} all the time, got {value!r} at {now:.0f} s"
        )
        time.sleep(_POLL_SECONDS)
