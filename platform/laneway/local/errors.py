"""What can go wrong with private servers; each error says the cure.

LanewayError
└── LocalServerError
    ├── ServerNotInstalled
    ├── ToolNotInstalled
    ├── LicenceNotAccepted
    ├── InstallFailed
    ├── ServerStartFailed
    └── ServerCommandFailed
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from laneway.errors import LanewayError

if TYPE_CHECKING:
    from pathlib import Path


class LocalServerError(LanewayError):
    """A private server could not be provided. The leaves say why."""


class ServerNotInstalled(LocalServerError):
    """A server program is missing and may not be installed from here.

    The message ends with the exact command that installs it.
    """


class ToolNotInstalled(LocalServerError):
    """A program that writes or reads deployment files is missing, and is not installed unasked.

    The message says how it gets here.
    """


class LicenceNotAccepted(LocalServerError):
    """A server is not free software, and nobody has accepted its licence.

    The message says where the licence stands and how to accept it.
    """


class InstallFailed(LocalServerError):
    """An install command ended with an error. The message carries its last lines."""

    def __init__(self, command: str, output: str) -> None:
        super().__init__(f"`{command}` failed; its last lines:\n{output}")
        self.command = command
        """The command as it would be typed."""
        self.output = output
        """The last lines that it wrote."""


class ServerStartFailed(LocalServerError):
    """A server did not come up. The message carries the reason and the end of its log."""

    def __init__(self, server: str, reason: str, *, log: Path, tail: str) -> None:
        super().__init__(f"{server} did not start: {reason}; last lines of {log}:\n{tail}")
        self.server = server
        """What was started, for example "RabbitMQ"."""
        self.reason = reason
        """Why it was given up, in a few words."""
        self.log = log
        """The log file. It is gone once the run directory is removed; `tail` stays."""
        self.tail = tail
        """The last lines of the log."""


class ServerCommandFailed(LocalServerError):
    """An administration command of a private server ended with an error."""

    def __init__(self, command: str, output: str) -> None:
        super().__init__(f"`{command}` failed: {output.strip()}")
        self.command = command
        """The command, without its arguments (they may hold a password)."""
        self.output = output
        """All that it wrote."""
