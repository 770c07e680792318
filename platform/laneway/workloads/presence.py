"""How the verbs of another terminal find the platform that runs here.

The owner writes the environment of its platform into its run directory, readable by its user only,
and holds a lock on the file while the platform runs. The passwords in it are those of private
servers that end with the run, or the ones that the owner was given.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from laneway.local import laneway_home

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from laneway.local import RunDirectory

_FILE: Final = "environment.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningPlatform:
    """A platform that runs on this machine, for this user."""

    #: The name of its run.
    run: str
    #: What a process needs to reach it: ``LANEWAY_BROKER_URL`` and so on, with passwords.
    environment: dict[str, str] = field(repr=False)


@contextmanager
def announce(run: RunDirectory, environment: Mapping[str, str]) -> Iterator[None]:
    """Let the other processes of this user find the platform, inside the block."""
    path = run.path / _FILE
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        json.dump(dict(environment), file)
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def running_platforms() -> tuple[RunningPlatform, ...]:
    """The platforms that run now, oldest first; what a killed one left does not count."""
    runs = laneway_home() / "runs"
    found = (_read(path) for path in sorted(runs.glob(f"*/{_FILE}")))
    return tuple(platform for platform in found if platform is not None)


def _read(path: Path) -> RunningPlatform | None:
    try:
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return RunningPlatform(run=path.parent.name, environment=json.load(file))
    except (OSError, ValueError):
        return None  # it has ended, or has only just begun
    return None
