"""kubectl and helm, as people run them."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from cluster import programs
from cluster.errors import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Clients:
    """Both programs for one KUBECONFIG; `prefix` goes before each command."""

    def __init__(self, kubeconfig: Path, home: Path, *, prefix: Sequence[str] = ()) -> None:
        self._prefix = prefix
        # Nothing of the user's own configuration, plugins and caches is read or written.
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home),
            "KUBECONFIG": str(kubeconfig),
            "KUBECACHEDIR": str(home / "kube"),
            "HELM_CACHE_HOME": str(home / "helm/cache"),
            "HELM_CONFIG_HOME": str(home / "helm/config"),
            "HELM_DATA_HOME": str(home / "helm/data"),
        }

    def kubectl(self, *arguments: str, stdin: str | None = None, seconds: float = 60) -> str:
        """What kubectl prints; see `Plane.kubectl`."""
        return self._run("kubectl", arguments, stdin, seconds)

    def helm(self, *arguments: str, stdin: str | None = None, seconds: float = 120) -> str:
        """What helm prints; see `Plane.helm`."""
        return self._run("helm", arguments, stdin, seconds)

    def _run(
        self, program: str, arguments: Sequence[str], stdin: str | None, seconds: float
    ) -> str:
        said = f"{program} {' '.join(arguments)}"
        try:
            done = subprocess.run(
                [*self._prefix, str(programs.client(program)), *arguments],
                input=stdin or "",
                capture_output=True,
                text=True,
                timeout=seconds,
                check=False,
                env=self._environment,
            )
        except subprocess.TimeoutExpired as problem:
            output = b"".join(p for p in (problem.stdout, problem.stderr) if p)
            raise CommandFailed(
                said, -9, f"killed after {seconds:g} seconds\n{output.decode(errors='replace')}"
            ) from None
        if done.returncode != 0:
            raise CommandFailed(said, done.returncode, done.stdout + done.stderr)
        return done.stdout
