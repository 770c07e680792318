"""A process whose jobs fail again and again: ``python -m support.storm_process JSON``.

It does what a reporter does, without Sentry. It says a line when it begins, and one at its end:
what its events stand for by cause, and how long the calls took.
"""

from __future__ import annotations

import json
import sys
import time

from laneway.sentry.closing import Closer
from laneway.sentry.shared_bucket import RedisTokens, SharedBucket
from laneway.sentry.storm import Held, Storm


def main(text: str) -> None:
    """Fail as told.

    Args:
        text: JSON of ``url`` and ``prefix`` of the shared bucket, its ``pause``, the number of
            ``failures`` and of the ``causes`` they have one after the other, and the seconds
            between two (``pace``).
    """
    told = json.loads(text)
    tokens = RedisTokens(told["url"], told["prefix"])
    storm = Storm(SharedBucket(tokens, pause=told["pause"]))
    closing: list[Held] = []
    closer = Closer(storm, closing.append)
    events: list[tuple[str, int]] = []
    seconds: list[float] = []
    print("begun", flush=True)
    for number in range(told["failures"]):
        cause = f"c{number * told['causes'] // told['failures']}"
        began = time.perf_counter()
        held = storm.admit(cause)
        seconds.append(time.perf_counter() - began)
        if held is not None:
            events.append((cause, 1 + held))
        time.sleep(told["pace"])
    closer.close(10)
    events += [(held.cause, held.count) for held in closing]
    print(json.dumps({"events": events, "seconds": sorted(seconds, reverse=True)[:50]}))


if __name__ == "__main__":
    main(sys.argv[1])
