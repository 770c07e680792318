"""One virtual host: what is desired against what stands there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from laneway.topology.changes import (
    Change,
    Create,
    CreateDelays,
    Leftover,
    MarkApplied,
    Recreate,
    Refusal,
    Unbind,
    Update,
)
from laneway.topology.desired import (
    DEAD_INBOX,
    digest_exchange,
    is_digest_exchange,
    late_binding,
)
from laneway.topology.leftovers import find_leftovers
from laneway.topology.parts import (
    POLICY_PRIORITY,
    BindingPart,
    ExchangePart,
    Part,
    PolicyPart,
    QueuePart,
    VhostPart,
)
from laneway.topology.standing import binding_key, counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from laneway.topology.desired import Topology
    from laneway.topology.standing import Standing

#: Exchange argument: when the digest was put there, in seconds since 1970.
APPLIED_AT: Final = "x-laneway-applied-at"
#: Digests that stay: in a rolling deploy versions run side by side, and each looks for its own.
KEPT_DIGESTS: Final = 5

_HOW_TO: Final = "See docs/how-to/topology.md, 'a queue of the wrong type'."


class Comparison:
    """One virtual host: what is desired against what stands."""

    def __init__(self, vhost: str, desired: Topology, standing: Standing) -> None:
        self.vhost = vhost
        self.desired = desired
        self.standing = standing
        self.changes: list[Change] = []
        self.refusals: list[Refusal] = []
        self.leftovers: list[Leftover] = []
        #: Queues and exchanges that stand in the way: nothing is done to them.
        self.refused: set[str] = set()
        #: Queues whose bindings go with them.
        self.recreated: set[str] = set()

    def compare(self, *, prune: bool, recreate_empty: bool) -> None:
        """In the order in which it is carried out: a queue gets jobs only when all else is ready.

        Dead letters have a place before any queue refers to it, and a policy stands before the
        queue that it is for.
        """
        if not self.standing.exists:
            self._create(VhostPart(name=self.vhost))
        for exchange in self.desired.exchanges:
            self._exchange(exchange)
        for policy in self.desired.policies:
            self._policy(policy)
        for queue in self.desired.queues:
            self._queue(queue, recreate_empty=recreate_empty)
        self._delays()
        for binding in self.desired.bindings:
            self._binding(binding)
        self.changes.sort(key=_rank)
        self._late_bindings()
        prunes, self.leftovers = find_leftovers(
            self.vhost, self.desired, self.standing, prune=prune
        )
        self.changes += prunes
        self._mark()

    def _create(self, part: Part) -> None:
        self.changes.append(Create(vhost=self.vhost, part=part))

    def _refuse(self, what: str, cure: str) -> None:
        refusal = Refusal(vhost=self.vhost, what=what, cure=cure)
        if refusal not in self.refusals:
            self.refusals.append(refusal)

    def _exchange(self, part: ExchangePart) -> None:
        found = self.standing.exchanges.get(part.name)
        if found is None:
            self._create(part)
        elif found.type != part.type or not found.durable:
            self.refused.add(part.name)
            kind = found.type if found.durable else f"transient {found.type}"
            self._refuse(
                f"expected {part}, found a {kind} exchange",
                "An exchange's type can never be changed. Stop what publishes to it, delete it "
                "(that removes its bindings, no messages), and apply again; or set another "
                "LANEWAY_VHOST_PREFIX.",
            )

    def _policy(self, part: PolicyPart) -> None:
        found = self.standing.policies.get(part.name)
        if found is None:
            self._create(part)
        else:
            have = {
                "pattern": found.pattern,
                "apply-to": found.apply_to,
                "priority": found.priority,
                **found.definition,
            }
            want = {
                "pattern": part.pattern,
                "apply-to": "queues",
                "priority": POLICY_PRIORITY,
                **part.definition,
            }
            if have != want:
                difference = _difference(have, want)
                self.changes.append(Update(vhost=self.vhost, part=part, difference=difference))
        queues = [
            p for p in (*self.desired.queues, *self.desired.delays) if isinstance(p, QueuePart)
        ]
        # Of the 28 delay levels the first finding speaks for all.
        for queue in queues:
            if part.covers(queue.name) and (
                found_overruling := self.standing.overruled(part, queue.name, queue.type)
            ):
                self._refuse(*found_overruling)
                break

    def _queue(self, part: QueuePart, *, recreate_empty: bool) -> None:
        found = self.standing.queues.get(part.name)
        if found is None:
            self._create(part)
            return
        have = {"x-queue-type": found.type, **found.arguments}
        if have == dict(part.arguments) and found.durable and not found.auto_delete:
            return
        extra = [f"{k}={v}" for k, v in sorted(found.arguments.items()) if k != "x-queue-type"]
        if not found.durable or found.auto_delete:
            extra.append("auto-delete" if found.auto_delete else "transient")
        before = f"queue {part.name} ({', '.join([found.type, *extra])})"
        if recreate_empty and not found.messages and not found.consumers:
            self.recreated.add(part.name)
            self.changes.append(Recreate(vhost=self.vhost, part=part, before=before))
            return
        self.refused.add(part.name)
        held = f"{counted(found.messages, 'message')} and {counted(found.consumers, 'consumer')}"
        self._refuse(
            f"expected {part}, found {before} with {held}",
            "A queue's type and arguments can never be changed, and Laneway deletes no messages. "
            "Either let its workers empty it, stop them, and run 'laneway topology apply "
            "--recreate-empty'; or set another LANEWAY_VHOST_PREFIX, apply, and move publishers "
            f"there first. {_HOW_TO}",
        )

    def _delays(self) -> None:
        missing: list[Part] = []
        for part in self.desired.delays:
            match part:
                case ExchangePart():
                    self._delay_exchange(part, missing)
                case QueuePart():
                    self._delay_queue(part, missing)
                case BindingPart() if binding_key(part) not in self.standing.bindings:
                    missing.append(part)
        wrong = any(part.name in self.refused for part in self.desired.delays)
        if missing and not wrong:
            self.changes.append(CreateDelays(vhost=self.vhost, missing=tuple(missing)))

    def _delay_exchange(self, part: ExchangePart, missing: list[Part]) -> None:
        if part.name in self.standing.exchanges:
            self._exchange(part)
        else:
            missing.append(part)

    def _delay_queue(self, part: QueuePart, missing: list[Part]) -> None:
        if part.name in self.standing.queues:
            # Never recreated: a level that is empty now may get a job from the level above.
            self._queue(part, recreate_empty=False)
        else:
            missing.append(part)

    def _binding(self, part: BindingPart) -> None:
        if self.refused & {part.source, part.destination}:
            return
        if part.destination in self.recreated or binding_key(part) not in self.standing.bindings:
            self._create(part)

    def _late_bindings(self) -> None:
        for queue in self.desired.queues:
            late = late_binding(queue.name)
            if binding_key(late) in self.standing.bindings:
                self.changes.append(Unbind(vhost=self.vhost, part=late))

    def _mark(self) -> None:
        wanted = digest_exchange(self.desired.digest)
        if wanted in self.standing.exchanges or self.refusals:
            return
        others = sorted(
            (e for e in self.standing.exchanges.values() if is_digest_exchange(e.name)),
            key=lambda e: (e.arguments.get(APPLIED_AT, 0), e.name),
        )
        retired = tuple(e.name for e in others[: -(KEPT_DIGESTS - 1)])
        self.changes.append(
            MarkApplied(vhost=self.vhost, digest=self.desired.digest, retired=retired)
        )


def _rank(change: Change) -> int:
    """Dead letters have a place before anything can make one."""
    part = change.part if isinstance(change, Create) else None
    if isinstance(part, VhostPart):
        return 0
    if isinstance(part, ExchangePart):
        return 1
    if isinstance(part, PolicyPart) and part.covers(DEAD_INBOX):
        return 2
    if isinstance(part, QueuePart) and part.name == DEAD_INBOX:
        return 3
    if isinstance(part, BindingPart) and part.destination == DEAD_INBOX:
        return 4
    return 5


def _difference(have: Mapping[str, Any], want: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key} {have.get(key, 'unset')} -> {want.get(key, 'unset')}"
        for key in sorted({*have, *want})
        if have.get(key) != want.get(key)
    )
