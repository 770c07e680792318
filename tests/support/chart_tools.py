"""What judges the chart: kubernetes-validate, checkov and promtool, in a folder of their own.

``python -m support.chart_tools`` installs them into the user's cache: a virtual environment from
``tests/chart/tools.lock`` (with hashes) and promtool out of Debian's package ``prometheus``, of
which nothing else is kept and nothing is started. Helm and kubectl are not among them.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from laneway.errors import LanewayError
from laneway.local.cache import building, cache_folder
from laneway.local.environment import make_environment
from laneway.local.errors import InstallFailed, ServerNotInstalled
from laneway.local.packages import Report, run_command, silent
from laneway.local.signals import termination_raises

CHECKOV: Final = "3.3.30"
KUBERNETES_VALIDATE: Final = "1.37.0"
#: The versions that the lock file pins (a test compares).
VERSION: Final = f"checkov-{CHECKOV}-kubernetes-{KUBERNETES_VALIDATE}"

_ROOT_VARIABLE: Final = "LANEWAY_CHART_TOOLS"
_LOCK: Final = Path(__file__).parents[1] / "chart" / "tools.lock"
_COMPLETE: Final = "complete"


@dataclass(frozen=True, kw_only=True)
class ChartTools:
    """The installed programs."""

    #: The interpreter that can import ``kubernetes_validate`` and ``jsonschema``.
    python: Path
    promtool: Path

    def checkov(self, *arguments: object) -> list[str]:
        """A command of checkov. (Its script names the folder it was built in.)"""
        return [str(self.python), "-m", "checkov.main", *map(str, arguments)]


def tools_root() -> Path:
    """The folder: $LANEWAY_CHART_TOOLS, else laneway/chart-tools-VERSIONS in the user's cache."""
    return cache_folder(f"chart-tools-{VERSION}", variable=_ROOT_VARIABLE)


def find_chart_tools() -> ChartTools | None:
    """The installed ones; None if they are not all there."""
    root = tools_root()
    return _tools(root) if (root / _COMPLETE).exists() else None


def install_chart_tools(report: Report = silent) -> ChartTools:
    """Find them, or install them. About two minutes and 600 MB.

    An interrupted install leaves nothing that could be taken for a good one.

    Raises:
        ServerNotInstalled: Python's ``venv`` or, without a ``promtool`` in PATH, apt is missing.
        InstallFailed: a step failed.
    """
    if found := find_chart_tools():
        return found
    root = tools_root()
    with termination_raises(), building(root, lambda: find_chart_tools() is not None) as build:
        if build is not None:
            report(f"installing checkov {CHECKOV} and promtool into {root} (about two minutes)")
            _install_promtool(build)
            make_environment(build, _LOCK, tool="checkov")
            (build / _COMPLETE).write_text(f"{VERSION}\n")
    report(f"the chart's tools are ready in {root}")
    return _tools(root)


def _tools(root: Path) -> ChartTools:
    return ChartTools(python=root / "bin" / "python", promtool=root / "promtool")


def _install_promtool(build: Path) -> None:
    """The one of PATH if there is one, else out of the package: apt checks its signature."""
    if there := shutil.which("promtool"):
        (build / "promtool").symlink_to(there)
        return
    if not shutil.which("apt-get"):
        raise ServerNotInstalled(
            "promtool, which tests the alerts, comes out of Debian's package prometheus, and there "
            "is no apt-get here; put a promtool of Prometheus 2.42 or newer into PATH"
        )
    package = build / "package"
    package.mkdir()
    package.chmod(0o777)  # apt drops to a user of its own for the download
    try:
        run_command(["apt-get", "download", "-q", "prometheus"], folder=package)
    except InstallFailed:
        if os.geteuid() != 0:
            raise
        run_command(["apt-get", "update", "-q"])
        run_command(["apt-get", "download", "-q", "prometheus"], folder=package)
    [file] = package.glob("prometheus_*.deb")
    run_command(["dpkg-deb", "-x", str(file), str(package)])
    (package / "usr/bin/promtool").rename(build / "promtool")
    shutil.rmtree(package)


def main() -> int:
    """Install; returns the exit status: 0, or 1 with the error on stderr."""
    try:
        install_chart_tools(lambda line: print(line, flush=True))
    except LanewayError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
