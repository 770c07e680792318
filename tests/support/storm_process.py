"""Processes whose jobs fail again and again: ``python -m support.storm_process JSON``.

Like a worker it makes everything once and then forks; each child does what a reporter does, without
Sentry, and writes what its events stand for and how long its calls took.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from laneway.sentry.closing import Closer
from laneway.sentry.shared_bucket import RedisTokens, SharedBucket
from laneway.sentry.storm import Held, Storm


def main(text: str) -> int:
    """Fail as told; 0 if all children ended well.

    Args:
        text: JSON of ``url`` and ``prefix`` of the shared bucket, its ``pause``, the number of
            ``processes``, of the ``failures`` of each and of the ``causes`` they have one after the
            other, the seconds between two (``pace``), and the ``folder`` to write to.
    """
    told = json.loads(text)
    tokens = RedisTokens(told["url"], told["prefix"])
    storm = Storm(SharedBucket(tokens, pause=told["pause"]))
    closing: list[Held] = []
    closer = Closer(storm, closing.append)
    # Connected before the fork, and something is held back: neither is the children's.
    tokens.connect()
    for _ in range(10):
        storm.admit("parent")
    print("begun", flush=True)
    children = []
    for number in range(told["processes"]):
        child = os.fork()
        if not child:
            closing.clear()
            events, seconds = fail(storm, told)
            closer.close(10)
            events += [(held.cause, held.count) for held in closing]
            Path(told["folder"], f"{number}.json").write_text(json.dumps([events, seconds]))
            os._exit(0)
        children.append(child)
    return max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)


def fail(storm: Storm, told: dict[str, Any]) -> tuple[list[tuple[str, int]], list[float]]:
    """What each event stands for, by cause, and the seconds of the longest calls."""
    events: list[tuple[str, int]] = []
    seconds: list[float] = []
    for number in range(told["failures"]):
        cause = f"c{number * told['causes'] // told['failures']}"
        began = time.perf_counter()
        held = storm.admit(cause)
        seconds.append(time.perf_counter() - began)
        if held is not None:
            events.append((cause, 1 + held))
        time.sleep(told["pace"])
    return events, sorted(seconds, reverse=True)[:50]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
