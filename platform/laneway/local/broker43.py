"""RabbitMQ 4.3 in a folder of its own: Debian's forky suite, made by debootstrap.

The machine's own packages stay as they are (only debootstrap is added). The folder
holds no data of any run: a run brings its own directory, mounted at RUN_MOUNT in a
mount namespace that ends with the server, so any number of runs share one folder.
"""

# ruff: noqa: S603, S607 -- programs of the system, found in PATH; no argument comes from outside

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from laneway.local.cache import building, cache_folder
from laneway.local.errors import InstallFailed, ServerNotInstalled
from laneway.local.packages import Report, apt_install, run_command, silent
from laneway.local.signals import termination_raises

SUITE: Final = "forky"
"""The Debian suite that carries RabbitMQ 4.3."""

RUN_MOUNT: Final = Path("/srv/laneway")
"""Where a run directory appears inside the folder."""

PROGRAMS: Final = Path("/usr/lib/rabbitmq/bin")
"""Where RabbitMQ's programs are, inside the folder."""

_ROOT_VARIABLE: Final = "LANEWAY_BROKER43_ROOT"
_SERVER: Final = Path("usr/lib/rabbitmq/bin/rabbitmq-server")
# A build takes its processes and mounts with it when it is killed, and is killed when the
# installer is: setpriv ties unshare to the installer, unshare ties the rest to itself.
_ISOLATED: Final = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
)
_PREPARE: Final = """
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
printf '#!/bin/sh\\nexit 101\\n' > "$1/usr/sbin/policy-rc.d"
chmod 755 "$1/usr/sbin/policy-rc.d"
printf '127.0.0.1 localhost\\n' > "$1/etc/hosts"
mount -t proc proc "$1/proc"
chroot "$1" apt-get -o Acquire::Check-Valid-Until=false update -q
chroot "$1" apt-get install -y -q --no-install-recommends rabbitmq-server
chroot "$1" apt-get clean
umount "$1/proc"
rm -rf "$1"/var/lib/apt/lists/* "$1"/usr/share/doc/* "$1"/usr/share/man/*
mkdir -p "$1/$2"
"""


def broker43_root() -> Path:
    """The folder: $LANEWAY_BROKER43_ROOT, else laneway/rabbitmq-4.3 in the user's cache folder."""
    return cache_folder("rabbitmq-4.3", variable=_ROOT_VARIABLE)


def is_installed() -> bool:
    """Whether the folder is there. It appears in one step, so it is complete if it exists."""
    return (broker43_root() / _SERVER).exists()


def install_rabbitmq_43(report: Report = silent) -> Path:
    """Make the folder unless it is there, and return it. About a minute and 250 MB.

    Root only. An interrupted install leaves nothing that could be taken for a good one.
    Raises ServerNotInstalled if it cannot be made here, InstallFailed if a step fails.
    """
    root = broker43_root()
    if os.geteuid() != 0:
        raise ServerNotInstalled(
            "RabbitMQ 4.3 runs in a root folder of its own: only root can install and start it; "
            f"as root, run: {sys.executable} -m laneway.local install-43"
        )
    if is_installed():
        return root
    with termination_raises(), building(root, is_installed) as build:
        if build is None:
            return root
        if not _find_debootstrap():
            apt_install("debootstrap", report=report)
        mirror = debian_mirror()
        report(f"building {root} from Debian {SUITE} (about a minute)")
        run_command([*_ISOLATED, *_debootstrap_command(build, mirror)])
        report("installing RabbitMQ 4.3 into it")
        run_command([*_ISOLATED, "sh", "-c", _PREPARE, "sh", str(build), str(RUN_MOUNT)])
        if not (build / _SERVER).exists():
            raise InstallFailed("debootstrap", f"{_SERVER} is missing in the result")
    report(f"RabbitMQ 4.3 is ready in {root}")
    return root


def _find_debootstrap() -> str | None:
    return shutil.which("debootstrap", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _debootstrap_command(build: Path, mirror: str) -> list[str]:
    program = _find_debootstrap()
    if program is None:
        raise InstallFailed("debootstrap", "not found, although it was installed")
    scripts = Path("/usr/share/debootstrap/scripts")
    # Older releases of debootstrap do not know the suite by name; all recent suites share a script.
    script = next((s for s in (scripts / SUITE, scripts / "sid") if s.exists()), scripts / "sid")
    command = [program, "--variant=minbase"]
    if mirror.startswith("https:"):
        command.append("--include=ca-certificates")
    return [*command, SUITE, str(build), mirror, str(script)]


def debian_mirror() -> str:
    """The Debian archive that this machine's apt uses.

    Raises ServerNotInstalled if there is none.
    """
    fields = "$(CREATED_BY)|$(ORIGIN)|$(LABEL)|$(REPO_URI)"
    try:
        listed = subprocess.run(
            ["apt-get", "indextargets", "--format", fields],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
    except FileNotFoundError:
        listed = ""
    for line in listed.splitlines():
        kind, origin, label, uri = line.split("|", 3)
        if (kind, origin, label) == ("Packages", "Debian", "Debian"):
            return uri
    raise ServerNotInstalled(
        "RabbitMQ 4.3 can be installed only where apt uses a Debian archive (run `apt-get update` "
        f"if yours does); elsewhere make a Debian {SUITE} root with rabbitmq-server in it and "
        f"set {_ROOT_VARIABLE} to it"
    )
