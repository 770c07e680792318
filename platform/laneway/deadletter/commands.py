"""What to type to see a letter, and to replay all of its kind."""

from __future__ import annotations

import shlex


def show_command(letter: str) -> str:
    """The command that shows everything of a letter; safe to paste, whatever a job's id is."""
    return f"laneway dead show {shlex.quote(letter)}"


def replay_command(cause: str) -> str:
    """The command that replays all open letters of a cause, ten first."""
    return f"laneway dead replay --cause {shlex.quote(cause)} --first 10"
