"""How jobs of a task run effectively once: what ``@app.task(once=…)`` says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from laneway.once.job_key import check_option
from laneway.types import parse_duration

if TYPE_CHECKING:
    from laneway.once.job_key import KeyOption

_SHORTEST_LEASE: Final = 3.0
_LONGEST_KEEP: Final = 366 * 86_400.0


@dataclass(frozen=True, slots=True)
class Once:
    """How a task's jobs run effectively once.

    Args:
        keep: how long it is known that a job was done, like ``"1d"``: longer than a second delivery
            may come late. Up to 366 days.
        key: what makes two jobs one. A job's id if None: its second delivery does nothing. Names of
            arguments, or a function of them that gives text or a number: a second job with the
            same key does not run its code either, and gets what the first returned.
        lease: how long after a killed process its job may run again, like ``"30s"``; at least 3 s.
            Longer than the code ever holds the interpreter's lock.
        strict: whether jobs wait when Redis does not answer, instead of running as all others do,
            at least once.

    Raises:
        ValueError: says what was expected.
    """

    keep: float
    key: KeyOption | None
    lease: float
    strict: bool

    def __init__(
        self,
        keep: str = "1d",
        *,
        key: KeyOption | None = None,
        lease: str = "30s",
        strict: bool = False,
    ) -> None:
        check_option("once", key)
        set_ = object.__setattr__
        set_(self, "keep", _seconds("keep", keep, 1.0, _LONGEST_KEEP))
        set_(self, "key", key)
        set_(self, "lease", _seconds("lease", lease, _SHORTEST_LEASE, 3600.0))
        set_(self, "strict", strict)


def once_of(given: object) -> Once | None:
    """What ``@app.task(once=…)`` means.

    Raises:
        ValueError: says what was expected.
    """
    if given is None or isinstance(given, Once):
        return given
    if isinstance(given, str):
        return Once(given)
    raise ValueError(
        f'expected once to be how long done jobs are remembered ("1d") or Once(...), got: {given!r}'
    )


def _seconds(name: str, given: object, least: float, most: float) -> float:
    try:
        seconds = parse_duration(given)
    except ValueError as error:
        raise ValueError(f"expected {name} to be {error}, got: {given!r}") from None
    if not least <= seconds <= most:
        raise ValueError(f"expected {name} to be {least:g} s to {most:g} s, got: {given!r}")
    return seconds
