"""What can go wrong before a test can say anything about Kubernetes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class ClusterUnavailable(Exception):
    """This machine cannot run the control plane as it is; the message says what to run.

    Tests skip with it.
    """


class BuildFailed(Exception):
    """A program could not be built; the message ends with the compiler's last lines."""


class StartFailed(Exception):
    """A part did not become ready in time, or ended."""

    def __init__(self, part: str, problem: str, log: Path) -> None:
        super().__init__(f"{part}: {problem}; its log is {log} and ends:\n{_tail(log)}")
        self.part = part
        self.log = log


class CommandFailed(Exception):
    """kubectl or helm ended with another code than 0."""

    def __init__(self, command: str, code: int, output: str) -> None:
        super().__init__(f"{command}: expected exit code 0, got {code}:\n{output.strip()}")
        self.code = code
        self.output = output


def _tail(log: Path, lines: int = 20) -> str:
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError as problem:
        return f"({problem})"
