"""A checkout of a test's own, with a policy that may be changed, and what is rendered there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]

#: A queue that a team adds.
BULK = """\
summary = "imports that run at night"
service_level = "1h"

[worker]
concurrency = 8
time_limit = "2h"
grace_period = "3m"

[scaling]
autoscaler = "keda"
min = 1
max = 6
"""


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """A copy of what rendering reads and writes; the policy is its own."""

    root: Path

    @classmethod
    def copy(cls, to: Path) -> Checkout:
        """The repository's own files, as they are committed."""
        for name in ("queues", "routing.py", "helm", "deploy"):
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, to / name, ignore=shutil.ignore_patterns("secrets"))
            elif source.exists():
                shutil.copy(source, to / name)
        return cls(root=to)

    def add(self, name: str, content: str = BULK) -> None:
        """Add, or change, the file of a queue."""
        (self.root / "queues" / f"{name}.toml").write_text(content)

    def render(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """``laneway render …``, into this checkout and by its policy."""
        command = [sys.executable, "-P", "-m", "laneway", "render", *arguments]
        return subprocess.run(
            command if "--print" in arguments else [*command, "--to", str(self.root)],
            env={**os.environ, "LANEWAY_POLICY": str(self.root)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def text(self, path: str) -> str:
        """A file of it."""
        return (self.root / path).read_text()

    def yaml(self, path: str) -> Any:
        """A file of it, as YAML."""
        return yaml.safe_load(self.text(path))
