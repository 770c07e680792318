"""One producer in a process of its own: ``python -m chaos.producer``.

Its orders are one JSON document in ``CHAOS_ORDERS``. It publishes at its pace until nothing is
left; what became of each job it writes into the ledger. A call that takes long delays the
next ones, which are then made up for as fast as possible.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Final, Protocol, cast

from chaos.apps import NotPublished
from chaos.ledger import Ledger, What
from chaos.workload import Kind, calls, shuffled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chaos.workload import Call

#: The variable with the orders.
VARIABLE: Final = "CHAOS_ORDERS"


class App(Protocol):
    """What every module of :mod:`chaos.apps` offers."""

    def publish(self, call: Call) -> None:
        """Publish.

        Raises:
            NotPublished: not everything was accepted.
        """


def main() -> int:
    """Follow the orders."""
    orders = json.loads(os.environ[VARIABLE])
    app = cast("App", importlib.import_module(orders["app"]))
    ledger = Ledger()
    kinds = [Kind(kind) for kind in orders["kinds"]]
    if orders["shuffled"] is None:
        made = calls(orders["seed"], orders["producer"], orders["jobs"], kinds)
    else:
        made = shuffled(orders["seed"], orders["producer"], orders["shuffled"], orders["jobs"])
    publish_paced(app, ledger, made, rate=orders["rate"])
    return 0


def publish_paced(app: App, ledger: Ledger, made: Iterable[Call], *, rate: float) -> None:
    """Publish so many jobs a second, and write down what became of them."""
    began = time.monotonic()
    published = 0
    for call in made:
        early = began + published / rate - time.monotonic()
        if early > 0:
            time.sleep(early)
        published += len(call.jobs)
        publish(app, ledger, call)


def publish(app: App, ledger: Ledger, call: Call) -> None:
    """Publish, and write down what became of it."""
    for job in call.jobs:
        ledger.note(
            What.SENDING, job.number, detail=call.kind, queue=job.queue, priority=job.priority
        )
    try:
        app.publish(call)
    except NotPublished as error:
        print(f"{call.kind.name} {call.jobs[0].number}: {error}", file=sys.stderr, flush=True)
        for job in call.jobs:
            if job.number in error.accepted:
                ledger.note(What.ACCEPTED, job.number)
            elif job.number in error.refused:
                ledger.note(What.REFUSED, job.number)
            else:
                ledger.note(What.MAYBE, job.number)
        return
    for job in call.jobs:
        ledger.note(What.ACCEPTED, job.number)


if __name__ == "__main__":
    sys.exit(main())
