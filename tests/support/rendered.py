"""A checkout of a test's own, with a policy that may be changed, and what is rendered there."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from supervisor.options import ServerOptions

from laneway.cli.root import main
from laneway.local import CONTAINER_TOOLS, KUBERNETES_TOOLS, Tools, find_tools

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


def tool(tools: Tools, name: str) -> str:
    """One of these programs; a laptop may be without them."""
    folder = find_tools(tools)
    if folder is None:
        missing = f"{name} is not installed: make {tools.name}"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return str(folder / name)


@dataclass(frozen=True, kw_only=True)
class Said:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


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

    def render(self, *arguments: str, **environ: str) -> Said:
        """``laneway render …``, into this checkout and by its policy; in this process."""
        command = ["render", *arguments]
        if "--print" not in arguments:
            command += ["--to", str(self.root)]
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            for name, value in {"LANEWAY_POLICY": str(self.root), **environ}.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main(command)
        status = int(ended.value.code or 0)
        return Said(returncode=status, stdout=out.getvalue(), stderr=err.getvalue())

    def files(self) -> dict[str, str]:
        """All of its files."""
        found = [path for path in self.root.rglob("*") if path.is_file()]
        return {path.relative_to(self.root).as_posix(): path.read_text() for path in found}

    def kustomize(self, folder: str) -> list[dict[str, Any]]:
        """The objects that ``kubectl apply -k`` would send."""
        kubectl = tool(KUBERNETES_TOOLS, "kubectl")
        done = subprocess.run(
            [kubectl, "kustomize", str(self.root / folder)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return list(yaml.safe_load_all(done.stdout))

    def text(self, path: str) -> str:
        """A file of it."""
        return (self.root / path).read_text()

    def yaml(self, path: str) -> Any:
        """A file of it, as YAML."""
        return yaml.safe_load(self.text(path))


#: What the Compose file asks for.
COMPOSE_ENVIRONMENT = {
    "LANEWAY_IMAGE": "registry.example/shop@sha256:0",
    "LANEWAY_APP": "shop.app:app",
}
_SECRETS = ("broker", "redis", "jobs", "secure", "control")


def compose_config(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """``docker compose config``: parsed, interpolated, merged, checked; needs no engine."""
    (folder / "secrets").mkdir(exist_ok=True)
    for name in _SECRETS:
        (folder / "secrets" / f"{name}.env").write_text(f"SAYS=only {name}\n")
    return subprocess.run(
        [tool(CONTAINER_TOOLS, "docker-compose"), "config", "--format", "json"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


_MAIN = """\
[supervisord]
logfile={folder}/supervisord.log

[include]
files=deploy/supervisor/{files}.conf
"""


def programs(checkout: Checkout, files: str = "*") -> dict[str, Any]:
    """Every process that supervisord would start, by its name."""
    main = checkout.root / "supervisord.conf"
    main.write_text(_MAIN.format(folder=checkout.root, files=files))
    for unit in (checkout.root / "deploy/supervisor").glob("*.conf"):
        # supervisord refuses a folder of logs that is not there.
        unit.write_text(unit.read_text().replace("/var/log/laneway/", f"{checkout.root}/"))
    options = ServerOptions()
    options.realize(["-c", str(main)], doc="")
    return {
        process.name: process
        for group in options.process_group_configs
        for process in group.process_configs
    }
