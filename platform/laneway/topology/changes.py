"""What a plan consists of: changes, refusals and leftovers, each with a line for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from laneway.topology.desired import digest_exchange

if TYPE_CHECKING:
    from laneway.topology.parts import BindingPart, Part, PolicyPart, QueuePart


@dataclass(frozen=True, kw_only=True)
class Create:
    """Something is missing."""

    action: ClassVar = "create"
    vhost: str
    part: Part

    def __str__(self) -> str:
        return f"+ {self.vhost}: create {self.part}"

    def to_dict(self) -> dict[str, Any]:
        """For machines."""
        return _entry(self, self.part.kind, self.part.name, str(self.part))


@dataclass(frozen=True, kw_only=True)
class CreateDelays:
    """Some of Celery's delay levels are missing; kombu declares them all."""

    action: ClassVar = "create"
    vhost: str
    missing: tuple[Part, ...]

    def __str__(self) -> str:
        return (
            f"+ {self.vhost}: create the delay levels celery_delayed_0 to 27 "
            f"({len(self.missing)} parts are missing)"
        )

    def to_dict(self) -> dict[str, Any]:
        """For machines."""
        detail = ", ".join(str(part) for part in self.missing)
        return _entry(self, "delays", "celery_delayed", detail)


@dataclass(frozen=True, kw_only=True)
class Update:
    """A policy says something else."""

    action: ClassVar = "change"
    vhost: str
    part: PolicyPart
    #: What differs, in words.
    difference: str

    def __str__(self) -> str:
        return f"~ {self.vhost}: change policy {self.part.name}: {self.difference}"

    def to_dict(self) -> dict[str, Any]:
        """For machines."""
        return _entry(self, "policy", self.part.name, self.difference)


@dataclass(frozen=True, kw_only=True)
class Recreate:
    """An empty queue of the wrong type is deleted and created; checked again before it is done."""

    action: ClassVar = "recreate"
    vhost: str
    part: QueuePart
    #: What it is now, in words.
    before: str

    def __str__(self) -> str:
        return f"- {self.vhost}: delete the empty {self.before}, create {self.part}"

    def to_dict(self) -> dict[str, Any]:
        """For machines."""
        return _entry(self, "queue", self.part.name, f"{self.before} becomes {self.part}")


@dataclass(frozen=True, kw_only=True)
class Unbind:
    """A binding that would bring jobs of a queue to the dead letters as well."""

    action: ClassVar = "delete"
    vhost: str
    part: BindingPart

    def __str__(self) -> str:
        return f"- {self.vhost}: delete {self.part}: the queue is in the policy again"

    def to_dict(self) -> dict[str, Any]:
        """For machines."""
        return _entry(self, "binding", self.part.name, "the queue is in the policy again")


@dataclass(frozen=True, kw_only=True)
class Prune:
    """A queue or a policy that is not in the policy is deleted, as asked; a queue only if empty."""

    action: ClassVar = "delete"
    vhost: str
    kind: Literal["queue", "policy"]
    name: str

    def __str__(self) -> str:
        return f"- {self.vhost}: delete the {self.kind} {self.name}, which nothing asks for"

    def to_dict(self) -> dict[str, Any]:
        """For machines."""
        return _entry(self, self.kind, self.name, "nothing asks for it")


@dataclass(frozen=True, kw_only=True)
class MarkApplied:
    """The digest of the topology is put on the broker, last; the marks of old ones go."""

    action: ClassVar = "create"
    vhost: str
    digest: str
    #: Digest exchanges that are deleted, for there are newer ones.
    retired: tuple[str, ...] = ()

    def __str__(self) -> str:
        more = f", delete {len(self.retired)} old ones" if self.retired else ""
        return f"+ {self.vhost}: mark the topology {self.digest} as applied{more}"

    def to_dict(self) -> dict[str, Any]:
        """For machines."""
        return _entry(self, "digest", digest_exchange(self.digest), ", ".join(self.retired))


Change = Create | CreateDelays | Update | Recreate | Unbind | Prune | MarkApplied


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Something that only people may change, because messages or somebody's intent are at stake."""

    vhost: str
    #: What is wrong.
    what: str
    #: How to put it right.
    cure: str

    def __str__(self) -> str:
        return f"! {self.vhost}: {self.what}\n      {self.cure}"

    def to_dict(self) -> dict[str, Any]:
        """For machines."""
        return {"vhost": self.vhost, "what": self.what, "cure": self.cure}


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """Something that the policy does not ask for. It is reported and left alone."""

    vhost: str
    kind: Literal["queue", "exchange", "binding", "policy"]
    name: str
    #: What is to be known of it.
    note: str

    def __str__(self) -> str:
        return f"? {self.vhost}: {self.kind} {self.name} is not in the policy: {self.note}"

    def to_dict(self) -> dict[str, Any]:
        """For machines."""
        return {"vhost": self.vhost, "kind": self.kind, "name": self.name, "note": self.note}


def _entry(change: Change, kind: str, name: str, detail: str) -> dict[str, Any]:
    return {
        "action": change.action,
        "vhost": change.vhost,
        "kind": kind,
        "name": name,
        "detail": detail,
    }
