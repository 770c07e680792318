"""What the gate says of a message."""

from __future__ import annotations

import reprlib
from typing import Any, Literal, NamedTuple

#: What can be wrong with a message; the error type of its letter.
Kind = Literal[
    "PropertiesUnreadable",
    "NoTaskMessage",
    "HeaderRefused",
    "ContentRefused",
    "BodyTooLarge",
    "BodyUnreadable",
    "BodyRefused",
    "UnknownTask",
]


class Run(NamedTuple):
    """A valid job."""

    args: list[Any]
    kwargs: dict[str, Any]
    #: Callbacks, errbacks, chain and chord.
    embed: dict[str, Any]
    #: The body, decompressed.
    body: bytes


class HandBack(NamedTuple):
    """No worker's mistake yet: the message is to come again."""

    #: Whole seconds from now.
    seconds: int
    #: How often it has been handed back then: the value of :data:`UNKNOWN_HEADER`.
    times: int
    reason: str


class Quarantine(NamedTuple):
    """No job."""

    kind: Kind
    #: For people; it can repeat words of the message.
    reason: str


Verdict = Run | HandBack | Quarantine


_short = reprlib.Repr()
_short.maxstring = _short.maxother = 80


class Refused(Exception):
    """Raised where it turns out that a message is no job; it becomes a :class:`Quarantine`."""

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(reason)
        self.kind: Kind = kind


def shown(value: object) -> str:
    """A value of a message in a few words, whatever it is."""
    return _short.repr(value)
