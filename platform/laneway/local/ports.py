"""Free ports on the loopback interface, away from those that other software expects."""

from __future__ import annotations

import random
import socket
from typing import Final

LOOPBACK: Final = "127.0.0.1"
"""The only address that a private server listens on."""

# Below the range from which Linux takes the local ports of outgoing connections: a port
# that is free now is not taken a moment later by some client.
_RANGE: Final = range(20_000, 30_000)
_EXPECTED_ELSEWHERE: Final = frozenset({25672, 27017, 27018, 27019})


def free_ports(count: int) -> tuple[int, ...]:
    """`count` different ports that nobody listens on, chosen at random.

    They are not reserved: a server must be ready to try again with others. Raises
    OSError if there are not enough.
    """
    found: list[int] = []
    for port in random.SystemRandom().sample(_RANGE, len(_RANGE)):
        if len(found) == count:
            return tuple(found)
        if port not in _EXPECTED_ELSEWHERE and _is_free(port):
            found.append(port)
    raise OSError(f"expected {count} free ports from {_RANGE.start} on, found {len(found)}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
