"""The blocks of a how-to, run as a reader runs them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FOLDER = Path(__file__).resolve().parents[2] / "docs" / "how-to"
#: Where the command ``laneway`` of these tests is.
_BIN = Path(sys.executable).parent
#: What no block prints by itself.
_NEXT = "@@"


def text_of(name: str) -> str:
    """A how-to, by its file's stem."""
    return (_FOLDER / f"{name}.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    """The code of every fenced block of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def promised(code: str) -> list[str]:
    """What stands behind each ``print`` of Python code, as a comment."""
    return re.findall(r"^ *print\(.*\)  # (.*)$", code, re.MULTILINE)


def with_command(env: Mapping[str, str]) -> dict[str, str]:
    """An environment in which ``laneway`` is found."""
    return {**env, "PATH": f"{_BIN}:{env['PATH']}"}


def run(command: Sequence[str], env: Mapping[str, str], *, folder: Path | None = None) -> str:
    """What a command prints; it must end well, within 150 seconds."""
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=150
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_python(code: str, env: Mapping[str, str], *, folder: Path | None = None) -> list[str]:
    """The lines that Python code prints."""
    return run([sys.executable, "-c", code], env, folder=folder).splitlines()


def run_sh(code: Sequence[str], env: Mapping[str, str]) -> list[str]:
    """What each block of shell code prints, in one shell that ends at the first error."""
    script = "\n".join(f"echo '{_NEXT}'\n{block}" for block in code)
    _, *printed = run(["bash", "-ec", script], with_command(env)).split(f"{_NEXT}\n")
    return printed
