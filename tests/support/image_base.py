"""What the image is built on, without a registry: Debian trixie and its Python 3.13.

The official image `python:3.13-slim-trixie` is the same Debian with a Python of the same series.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from laneway.local.broker43 import debian_mirror
from laneway.local.cache import building, cache_folder
from laneway.local.errors import ServerNotInstalled
from laneway.local.packages import apt_install, run_command

SUITE = "trixie"


def image_base() -> Path:
    """The folder, made on first use: two minutes, 250 MB, root only."""
    root = cache_folder(f"image-base-{SUITE}", variable="LANEWAY_IMAGE_BASE")
    if _is_made(root):
        return root
    if os.geteuid() != 0:
        raise ServerNotInstalled("only root can make a Debian in a folder")
    with building(root, lambda: _is_made(root)) as build:
        if build is not None:
            _make(build)
    return root


def _is_made(root: Path) -> bool:
    return (root / "usr/local/bin/python3").is_symlink()


def _make(build: Path) -> None:
    if not shutil.which("debootstrap", path=f"{os.environ['PATH']}:/usr/sbin"):
        apt_install("debootstrap")
    scripts = Path("/usr/share/debootstrap/scripts")
    script = scripts / SUITE if (scripts / SUITE).exists() else scripts / "sid"
    packages = "--include=python3,python3-venv,ca-certificates"
    command = ["debootstrap", "--variant=minbase", packages, SUITE, str(build), debian_mirror()]
    isolated = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    run_command([*isolated, *command, str(script)])
    for folder in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man"):
        shutil.rmtree(build / folder, ignore_errors=True)
    # Where the official image has it.
    (build / "usr/local/bin/python3").symlink_to("/usr/bin/python3")
