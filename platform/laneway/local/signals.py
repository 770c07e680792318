"""Two guards that keep a signal from leaving a server behind.

Only the main thread runs signal handlers, so in any other thread both do nothing.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that ask a program to end."""


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Keep ENDING signals waiting inside the block; they act when it is left.

    For the few lines between the birth of a process and the note of its pid.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        arrived.append(number)

    # getsignal() is None for a handler that was not set from Python: it cannot be put back.
    replaced = {s: signal.signal(s, note) for s in ENDING if signal.getsignal(s) is not None}
    try:
        yield
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)
        for waiting in arrived:
            signal.raise_signal(waiting)


@contextmanager
def termination_raises() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise SystemExit(128 + number) inside the block.

    Their default action ends the program without any clean-up. A handler that the
    program has set itself is left alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    replaced = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_DFL
    ]
    for number in replaced:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in replaced:
            if signal.getsignal(number) is leave:
                signal.signal(number, signal.SIG_DFL)
