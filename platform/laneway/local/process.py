"""Processes told apart for certain: a pid alone may belong to somebody else by now.

What identifies a process is its pid with its start time, on this boot of the machine.
Everything here reads /proc, so it is Linux only.
"""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RUN_VARIABLE: Final = "LANEWAY_RUN"
"""Environment variable with the id of the run that a process was started for."""

_PROC: Final = Path("/proc")
_POLL_SECONDS: Final = 0.02


@dataclass(frozen=True, kw_only=True)
class ProcessRecord:
    """One process, noted so that it can be found again and never mistaken."""

    name: str
    """What it is, for people: "rabbitmq", "worker-high"."""
    pid: int
    """Its process id."""
    started: int
    """When it started, in clock ticks since the boot (/proc/PID/stat, field 22)."""
    group: int
    """Its process group."""
    session: int
    """Its session."""
    boot: str
    """The boot of the machine on which `started` counts."""

    @classmethod
    def of(cls, pid: int, name: str) -> ProcessRecord:
        """Note a running process. Raises ProcessLookupError if there is none with this pid."""
        stat = Stat.read(pid)
        if stat is None:
            raise ProcessLookupError(f"{name}: no process has pid {pid}")
        return cls(
            name=name,
            pid=pid,
            started=stat.started,
            group=stat.group,
            session=stat.session,
            boot=_boot(),
        )

    @classmethod
    def load(cls, file: Path) -> ProcessRecord | None:
        """Read a record that `save` wrote; None if the file is gone or damaged."""
        try:
            return cls(**json.loads(file.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def save(self, file: Path) -> None:
        """Write the record in one step: a reader sees all of it or nothing."""
        draft = file.with_suffix(".new")
        draft.write_text(json.dumps(asdict(self)))
        draft.replace(file)

    def is_alive(self) -> bool:
        """Whether this very process still runs (one that only waits to be reaped does not)."""
        stat = Stat.read(self.pid)
        return stat is not None and self.is_same(stat) and not stat.is_dead

    def is_same(self, stat: Stat) -> bool:
        """Whether `stat` describes the recorded process and not a later one with its pid."""
        return stat.started == self.started and self.boot == _boot()


def kill_families(
    records: Iterable[ProcessRecord], *, run_id: str | None = None, patience: float = 10
) -> None:
    """Kill the recorded processes and all that came from them, and wait until they are gone.

    To a family belong its descendants, the group and session that it leads, and every
    process that carries `run_id` (if given) in its environment. A pid that now belongs to somebody
    else is left alone. Gives up waiting after `patience` seconds.
    """
    records = tuple(records)
    known: set[int] = set()
    deadline = time.monotonic() + patience
    while True:
        alive = _family(records, run_id, known)
        if not alive:
            return
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
        if time.monotonic() > deadline:
            return
        time.sleep(_POLL_SECONDS)


def _family(records: Iterable[ProcessRecord], run_id: str | None, leaders: set[int]) -> set[int]:
    """The living members; `leaders` grows by the pids whose group and session are ours.

    The number of a group or session is not given out again while a member lives, so a
    leader that was once seen keeps standing for its members after its own death.
    """
    table = {stat.pid: stat for stat in _snapshot()}
    members = {
        record.pid for record in records if (stat := table.get(record.pid)) and record.is_same(stat)
    }
    leaders |= members
    members |= {s.pid for s in table.values() if s.group in leaders or s.session in leaders}
    if run_id is not None:
        members |= {pid for pid in table if _carries(pid, run_id)}
    while children := {s.pid for s in table.values() if s.parent in members} - members:
        members |= children
    return {pid for pid in members if not table[pid].is_dead} - _own_line(table)


def _own_line(table: Mapping[int, Stat]) -> set[int]:
    """This process and its ancestors, which are never killed from here."""
    line: set[int] = set()
    pid = os.getpid()
    while pid in table:
        line.add(pid)
        pid = table[pid].parent
    return line


def _carries(pid: int, run_id: str) -> bool:
    try:
        variables = (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return f"{RUN_VARIABLE}={run_id}".encode() in variables


def _boot() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def _snapshot() -> list[Stat]:
    pids = (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal())
    return [stat for pid in pids if (stat := Stat.read(pid))]


@dataclass(frozen=True, kw_only=True)
class Stat:
    """What /proc says about a process at one moment; the fields as in `ProcessRecord`."""

    pid: int
    state: str
    """One letter, as ps shows it; Z and X are dead."""
    parent: int
    """The pid of the process that will reap it."""
    group: int
    session: int
    started: int

    @property
    def is_dead(self) -> bool:
        """Whether it only waits to be reaped."""
        return self.state in "ZX"

    @classmethod
    def read(cls, pid: int) -> Stat | None:
        """The process with this pid as it is now; None if there is none."""
        try:
            text = (_PROC / str(pid) / "stat").read_text(errors="replace")
        except OSError:
            return None
        # The name stands in brackets and may itself hold spaces and brackets.
        fields = text[text.rindex(")") + 2 :].split()
        return cls(
            pid=pid,
            state=fields[0],
            parent=int(fields[1]),
            group=int(fields[2]),
            session=int(fields[3]),
            started=int(fields[19]),
        )
