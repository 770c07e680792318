"""How fast jobs are published and letters replayed, as JSON: ``python -m support.letter_rates N``.

A process of its own, because a coverage tool in the tests' process slows down what is measured.
"""

from __future__ import annotations

import json
import sys
import time

from laneway import Laneway
from laneway.deadletter import DeadLetters, Selection

QUEUES = ("default", "high", "low")


def main(sample: int, since: float, until: float) -> None:
    """Publish so many jobs, then replay the letters of a time."""
    app = Laneway("rates")
    with DeadLetters(app) as letters:
        letters.count()
        began = time.perf_counter()
        # To the queues of the letters, in turn as they stand.
        app.publish_many(
            app.signature("plain.add", args=(n, n), queue=QUEUES[n % 3]) for n in range(sample)
        )
        published = time.perf_counter()
        account = letters.replay(Selection(since=since, until=until))
        replayed = time.perf_counter()
    rates = {
        "publish": sample / (published - began),
        "replay": account.replayed / (replayed - published),
        "replayed": account.replayed,
    }
    print(json.dumps(rates))
    app.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
