"""What has to stand before anything can be measured: the peers, the broker, a stage a system."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.stage import Place, Stage, clean_environment
from bench.systems import PROCESSES
from laneway.broker import broker_address
from laneway.broker.management import Management
from laneway.errors import PolicyError
from laneway.policy import load_policy
from laneway.topology import apply_plan, make_plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.systems import System
    from laneway.local import PrivateRabbitMQ, RunDirectory

#: The checkout.
ROOT: Final = Path(__file__).resolve().parents[2]
#: The folder that the measured processes import ``bench`` from.
_BENCHMARKS: Final = ROOT / "benchmarks"
_LOCK: Final = _BENCHMARKS / "requirements.lock"
_VENV: Final = ROOT / ".venv-bench"
PEERS_PYTHON: Final = _VENV / "bin" / "python"


#: What the image holds, and no more: a developer's libraries cost memory too.
_IMAGE_LOCK: Final = ROOT / "deploy" / "image" / "requirements.lock"
_IMAGE_VENV: Final = ROOT / ".venv-bench-image"


class Absent(Exception):
    """A system is not measured; the message says why."""


def set_up_peers(report: Callable[[str], None]) -> None:
    """Make the virtual environment of the peers and the plots, unless it is up to date.

    What cannot be installed is reported; then the systems that need it are absent.
    """
    if _is_there(_VENV, _LOCK):
        return
    report(f"installing the peers into {_VENV.name} (about a minute)")
    problem = _install(_VENV, _LOCK)
    if problem is None:
        return
    report(f"not all could be installed: {problem}")
    if PEERS_PYTHON.exists():
        _install_one_by_one(report)


def set_up_image(report: Callable[[str], None]) -> str:
    """Make a virtual environment of what the image holds, this checkout's engine as a wheel.

    Returns:
        Its Python.

    Raises:
        Absent: it could not be made.
    """
    python = str(_IMAGE_VENV / "bin" / "python")
    problem = None
    if not _is_there(_IMAGE_VENV, _IMAGE_LOCK):
        report(f"installing what the image holds into {_IMAGE_VENV.name} (half a minute)")
        problem = _install(_IMAGE_VENV, _IMAGE_LOCK)
    with tempfile.TemporaryDirectory() as wheels:
        pip = ["-m", "pip", "-q", "--disable-pip-version-check"]
        build = [sys.executable, *pip, "wheel", "--no-deps", "--no-build-isolation", "-w", wheels]
        problem = problem or _end_of([*build, str(ROOT)])
        found = [str(wheel) for wheel in Path(wheels).glob("*.whl")]
        install = [python, *pip, "install", "--no-deps", "--force-reinstall", *found]
        problem = problem or _end_of(install)
    if problem:
        raise Absent(f"what the image holds could not be installed: {problem}")
    return python


def _is_there(venv: Path, lock: Path) -> bool:
    stamp = venv / ".installed"
    return stamp.exists() and stamp.stat().st_mtime >= lock.stat().st_mtime


def _install(venv: Path, lock: Path) -> str | None:
    """Make a virtual environment from a lock file; the end of what was said if that failed."""
    # The engine's own Python, so that all systems run on the same.
    python = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    return _end_of([str(ROOT / "scripts" / "setup"), str(venv), str(lock)], PYTHON=str(python))


def _end_of(command: list[str], **environment: str) -> str | None:
    """The last line that a command said, if it failed."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return None if done.returncode == 0 else last_line(done.stderr)


def draw(folder: Path, report: Callable[[str], None]) -> None:
    """Draw the pictures of the results in a folder, with what the peers' environment has for it."""
    if not PEERS_PYTHON.exists():
        return
    done = subprocess.run(
        [str(PEERS_PYTHON), "-P", "-m", "bench.plots", str(folder)],
        env={**os.environ, "PYTHONPATH": str(_BENCHMARKS)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        report(f"no plots: {last_line(done.stderr)}")


def _install_one_by_one(report: Callable[[str], None]) -> None:
    """Install what can be had, so that one missing package takes out one system and not all."""
    report("installing one package after the other")
    for block in blocks(_LOCK.read_text(encoding="utf-8")):
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirement:
            requirement.write(block)
            requirement.flush()
            options = ["-q", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
            done = subprocess.run(
                [str(PEERS_PYTHON), "-m", "pip", "install", *options, "-r", requirement.name],
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode != 0:
            name = block.partition("==")[0]
            report(f"not installed: {name}: {last_line(done.stderr)}")


def blocks(lock: str) -> list[str]:
    """The requirements of a lock file, each with its hashes."""
    lines = [line for line in lock.splitlines() if line and not line.lstrip().startswith("#")]
    found: list[str] = []
    for line in lines:
        if line.startswith(" "):
            found[-1] += line + "\n"
        else:
            found.append(line + "\n")
    return found


def last_line(text: str) -> str:
    """The last line that says something."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "(no message)"


class Setup:
    """Makes stages on one broker.

    Args:
        run: owns all processes and files.
        rabbitmq: the private broker.
        ledgers: where the ledgers go.
        python: that runs Laneway, in place of the one that this runs on.
    """

    def __init__(
        self,
        run: RunDirectory,
        rabbitmq: PrivateRabbitMQ,
        ledgers: Path,
        *,
        python: str = sys.executable,
    ) -> None:
        self._run = run
        self._rabbitmq = rabbitmq
        self._ledgers = ledgers
        self._python = python
        self._environment = {**clean_environment(), "PYTHONPATH": str(_BENCHMARKS)}

    def stage(self, system: System) -> Stage:
        """The stage of a system, its queues declared and its messages learned.

        Raises:
            Absent: it cannot be measured here.
            SystemFailed: it could be, and failed.
        """
        place = self._laneway(system) if system.pool is not None else self._peer(system)
        stage = Stage(system, place, self._run, self._ledgers)
        stage.learn()
        return stage

    def _laneway(self, system: System) -> Place:
        prefix = f"{system.key}-"
        policy_root = self._run.folder(f"policy-{system.key}")
        write_policy(policy_root, pool=system.pool or "")
        try:
            policy = load_policy(policy_root)
        except PolicyError as error:
            raise Absent(f"this checkout's policy refuses it: {last_line(str(error))}") from error
        address = broker_address(
            self._rabbitmq.url, self._rabbitmq.management_url, vhost_prefix=prefix, env={}
        )
        with Management(address) as management:
            apply_plan(management, make_plan(management, policy, address), address)
        ours = {
            "LANEWAY_BROKER_URL": self._rabbitmq.url,
            "LANEWAY_MANAGEMENT_URL": self._rabbitmq.management_url,
            "LANEWAY_VHOST_PREFIX": prefix,
            "LANEWAY_POLICY": str(policy_root),
        }
        return Place(
            broker=self._rabbitmq.url,
            vhost=address.vhost("jobs"),
            python=self._python,
            environment=self._environment | ours,
        )

    def _peer(self, system: System) -> Place:
        why = why_absent(system)
        if why is not None:
            raise Absent(why)
        vhost = f"bench-{system.key}"
        self._rabbitmq_vhost(vhost)
        url = f"{self._rabbitmq.url}/{vhost}"
        return Place(
            broker=self._rabbitmq.url,
            vhost=vhost,
            python=str(PEERS_PYTHON),
            environment=self._environment | {"BENCH_BROKER_URL": url},
        )

    def _rabbitmq_vhost(self, vhost: str) -> None:
        """Make a virtual host in which every queue is a quorum queue unless it says otherwise."""
        self._rabbitmq.ctl("add_vhost", vhost, "--default-queue-type", "quorum")
        address = broker_address(
            self._rabbitmq.url, self._rabbitmq.management_url, vhost_prefix="", env={}
        )
        with Management(address) as management:
            management.grant(vhost, management.user)


def why_absent(system: System) -> str | None:
    """Why a peer cannot run here; None if it can."""
    if not PEERS_PYTHON.exists():
        return "the virtual environment of the peers could not be made"
    done = subprocess.run(
        [str(PEERS_PYTHON), "-P", "-c", f"import {system.package}"],
        capture_output=True,
        text=True,
        check=False,
    )
    return None if done.returncode == 0 else last_line(done.stderr)


def write_policy(folder: Path, *, pool: str) -> None:
    """Write a policy of three queues, each in the shape of the shipped ``queues/default.toml``.

    Only the pool and the concurrency differ from it.
    """
    shipped = (ROOT / "queues" / "default.toml").read_text(encoding="utf-8")
    text = re.sub(r"^pool = .*$", f'pool = "{pool}"', shipped, flags=re.MULTILINE)
    text = re.sub(r"^concurrency = .*$", f"concurrency = {PROCESSES}", text, flags=re.MULTILINE)
    (folder / "queues").mkdir()
    for name in ("default", "high", "low"):
        (folder / "queues" / f"{name}.toml").write_text(text, encoding="utf-8")
    (folder / "routing.py").write_text("ROUTES = []\n", encoding="utf-8")
