"""What stands in a virtual host although the policy does not ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from laneway.topology.changes import Leftover, Prune
from laneway.topology.delays import DELIVERY_EXCHANGE
from laneway.topology.parts import BindingPart
from laneway.topology.standing import binding_key, counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from laneway.topology.desired import Topology
    from laneway.topology.standing import Standing


def find_leftovers(
    vhost: str, desired: Topology, standing: Standing, *, prune: bool
) -> tuple[list[Prune], list[Leftover]]:
    """What is to be deleted (only with ``prune``), in order, and what is only reported.

    The queues, exchanges and bindings of Celery's remote control and events are no leftovers.
    """
    search = _Search(vhost, desired, standing)
    found = [*search.queues(prune=prune)]
    gone = {entry.name for entry in found if isinstance(entry, Prune)}
    found += [*search.policies(gone, prune=prune), *search.exchanges(), *search.bindings()]
    return (
        [entry for entry in found if isinstance(entry, Prune)],
        [entry for entry in found if isinstance(entry, Leftover)],
    )


class _Search:
    def __init__(self, vhost: str, desired: Topology, standing: Standing) -> None:
        self.vhost = vhost
        self.desired = desired
        self.standing = standing
        parts = (*desired.queues, *desired.exchanges, *desired.delays)
        self.wanted = {part.name for part in parts}

    def queues(self, *, prune: bool) -> Iterator[Prune | Leftover]:
        for queue in self.standing.queues.values():
            if queue.name in self.wanted or queue.exclusive or queue.auto_delete:
                continue
            if not queue.durable or queue.name.endswith(".celery.pidbox"):
                continue
            if prune and queue.messages == 0 and queue.consumers == 0:
                yield Prune(vhost=self.vhost, kind="queue", name=queue.name)
                continue
            held = f"{counted(queue.messages, 'message')}, {counted(queue.consumers, 'consumer')}"
            cure = (
                "'laneway topology apply --prune' deletes it"
                if queue.messages == 0 and queue.consumers == 0
                else "keep workers on it until it is empty, stop them, then apply --prune"
            )
            yield Leftover(vhost=self.vhost, kind="queue", name=queue.name, note=f"{held}; {cure}")

    def policies(self, pruned: set[str], *, prune: bool) -> Iterator[Prune | Leftover]:
        wanted = {policy.name for policy in self.desired.policies}
        for name in sorted(self.standing.policies):
            if not name.startswith("laneway.") or name in wanted:
                continue
            queue = name.removeprefix("laneway.")
            if queue in self.standing.queues and queue not in pruned:
                continue  # it keeps the messages of a queue that is reported itself
            if prune:
                yield Prune(vhost=self.vhost, kind="policy", name=name)
            else:
                note = "its queue is gone; 'laneway topology apply --prune' deletes it"
                yield Leftover(vhost=self.vhost, kind="policy", name=name, note=note)

    def exchanges(self) -> Iterator[Leftover]:
        for exchange in self.standing.exchanges.values():
            name = exchange.name
            known = name in self.wanted or name.startswith(("amq.", "laneway."))
            if known or name == "celeryev" or name.endswith("celery.pidbox"):
                continue
            yield Leftover(vhost=self.vhost, kind="exchange", name=name, note="left as it is")

    def bindings(self) -> Iterator[Leftover]:
        wanted = {binding_key(p) for p in self.desired.parts if isinstance(p, BindingPart)}
        for source, kind, destination, key in sorted(self.standing.bindings - wanted):
            # What leads to a leftover queue belongs to it; late jobs of deleted queues are ours.
            if destination not in self.wanted or source == DELIVERY_EXCHANGE:
                continue
            part = BindingPart(
                source=source,
                destination=destination,
                destination_type="queue" if kind == "queue" else "exchange",
                routing_key=key,
            )
            yield Leftover(
                vhost=self.vhost,
                kind="binding",
                name=part.name,
                note="it brings more into it than the policy says; left as it is",
            )
