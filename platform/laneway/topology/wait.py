"""Wait until the topology stands: in a cluster a worker starts as often before it as after it.

Only what ``laneway topology apply`` marks as applied counts as standing. That mark says nothing of
what works: after somebody's change by hand, or an apply that left something to people, workers must
still start. So a mark that does not come is waited for, but not for ever. Likewise what the broker
refuses to say: the rights may come a moment later (an operator makes them beside the pods), but a
worker whose user may not know of everything can still work.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from laneway.broker.connect import connection_to
from laneway.broker.profile import profile_of, server_version
from laneway.errors import LanewayError
from laneway.topology.check import Finding, check_topology

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from laneway.broker.address import BrokerAddress
    from laneway.policy import Policy

    #: Looks once. It raises LanewayError if nobody can tell.
    Look = Callable[[], Sequence[Finding]]

_ORDER: Final = ("fatal", "unknown", "drift")

#: Seconds between two looks.
EVERY: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class Waited:
    """How the waiting ended."""

    #: What was not as it should be when it ended; fatal findings first, drift last.
    findings: tuple[Finding, ...]
    #: Whether what is missing may be done without: nothing is, or nothing fatal for long enough.
    enough: bool


def look_at(address: BrokerAddress, policy: Policy, queues: Sequence[str]) -> tuple[Finding, ...]:
    """Look once for what the workers of some queues need, with their own rights.

    Args:
        address: where the broker is.
        policy: what should be.
        queues: names of queues of the policy.

    Returns:
        What is not as it should be, each only once; fatal findings first, drift last.

    Raises:
        LanewayError: the broker cannot be asked, or a virtual host is not there yet.
    """

    def found() -> Iterator[Finding]:
        for kind in dict.fromkeys(policy.queue(name).vhost for name in queues):
            with connection_to(address, kind) as connection:
                profile = profile_of(server_version(connection))
                for name in queues:
                    if policy.queue(name).vhost == kind:
                        yield from check_topology(connection, policy, profile, kind, name)

    each = dict.fromkeys(found())
    return tuple(sorted(each, key=lambda finding: _ORDER.index(finding.severity)))


def wait_for_topology(
    look: Look,
    *,
    timeout: float,
    drift_after: float | None = None,
    report: Callable[[str], None] = lambda _line: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Waited:
    """Look again and again until the topology stands, or the time is over.

    Args:
        look: as of :func:`look_at`.
        timeout: seconds; at least one look is taken.
        drift_after: seconds without anything fatal that are enough; None: they never are.
        report: gets a line whenever something else is waited for.
        clock: gives seconds.
        sleep: waits.

    Returns:
        What was found last.

    Raises:
        LanewayError: the broker could not be asked when the time was over.
    """
    began = clock()
    drifting: float | None = None
    said = ""
    while True:
        over = clock() - began >= timeout
        try:
            findings = tuple(look())
        except LanewayError as error:
            if over:
                raise
            drifting, waits_for = None, str(error)
        else:
            fatal = any(finding.severity == "fatal" for finding in findings)
            if not findings:
                return Waited(findings=(), enough=True)
            # (Unknown counts as drift: a user without the right to look is no outage.)
            drifting = None if fatal else clock() if drifting is None else drifting
            lasted = 0.0 if drifting is None else clock() - drifting
            enough = not fatal and drift_after is not None and lasted >= drift_after
            if over or enough:
                return Waited(findings=findings, enough=enough)
            waits_for = "\n  ".join(finding.what for finding in findings)
        if waits_for != said:
            report(f"waiting: {waits_for}")
            said = waits_for
        sleep(EVERY)
