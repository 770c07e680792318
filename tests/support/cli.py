"""The real command line, as a person or a script runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

TESTS = Path(__file__).parent.parent
POLICY = Path(__file__).parent / "policy"
#: The script that the installation made, beside the interpreter.
LANEWAY = Path(sys.executable).parent / "laneway"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the command said and how it ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The document on stdout."""
        return json.loads(self.out)


class Cli:
    """Runs ``laneway`` with an environment that holds nothing of the developer's own platform."""

    def __init__(self, home: Path, **environment: str) -> None:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("LANEWAY_", "CELERY_"))}
        self.environment: Mapping[str, str] = {
            **clean,
            "LANEWAY_HOME": str(home),
            "LANEWAY_POLICY": str(POLICY),
            "PYTHONPATH": str(TESTS),
            "COLUMNS": "120",
            **environment,
        }

    def having(self, **environment: str) -> Cli:
        """The same with more variables."""
        return Cli(Path(self.environment["LANEWAY_HOME"]), **{**self.environment, **environment})

    def __call__(self, *arguments: str, timeout: float = 100, stdin: str = "") -> Answer:
        """Run it to its end."""
        done = subprocess.run(
            [str(LANEWAY), *arguments],
            env=dict(self.environment),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        return Answer(status=done.returncode, out=done.stdout, err=done.stderr)
