"""The file system of a container: the host's, as a layer below one that is thrown away."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty")


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A file or folder of the host at a place of the container."""

    source: Path
    #: Absolute, as the container sees it.
    target: str
    read_only: bool = False


def enter(
    base: Path,
    *,
    mounts: Iterable[Mount],
    open_folders: Iterable[str],
    hostname: str,
    work_folder: str,
    read_only: bool,
    command: Sequence[str],
) -> str:
    """A script for ``sh`` that builds the root and becomes the command.

    It runs in mount, pid, UTS and IPC namespaces of its own, as PID 1: what it mounts ends with it.

    Args:
        base: an empty folder of the host.
        mounts: in the order in which they are to be made; the targets are created.
        open_folders: folders that every user may enter here, whatever the host says.
        hostname: the pod's.
        work_folder: of the command; it is created.
        read_only: nothing can be written but in the mounts.
        command: absolute, or found in the container's PATH.
    """
    root = f"{base}/root"
    lines = [
        "set -eu",
        # A copy of these mounts would keep the networks of pods that are gone.
        "umount --lazy /run/netns",
        f"mount -t tmpfs -o mode=755 layer {_quoted(base)}",
        f"cd {_quoted(base)}",
        "mkdir upper work root",
        "mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work overlay root",
        *(f"chmod a+x {_quoted(root + folder)}" for folder in open_folders),
        f"hostname {_quoted(hostname)}",
        "mount -t proc -o nosuid,nodev,noexec proc root/proc",
        "mount -t sysfs -o ro,nosuid,nodev,noexec sysfs root/sys",
        "mount -t tmpfs -o nosuid,mode=755 dev root/dev",
        "mkdir root/dev/shm",
        "mount -t tmpfs -o nosuid,nodev,mode=1777,size=64m shm root/dev/shm",
        *(f"touch root/dev/{name}; mount --bind /dev/{name} root/dev/{name}" for name in _DEVICES),
        "ln -s /proc/self/fd root/dev/fd",
        "ln -s /proc/self/fd/1 root/dev/stdout",
        "ln -s /proc/self/fd/2 root/dev/stderr",
    ]
    for mount in mounts:
        lines += _mount(mount, root)
    # Where an image has a folder for its own user, this has none: the work folder is made.
    lines.append(f"mkdir -p {_quoted(root + work_folder)}")
    if read_only:
        lines.append("mount -o remount,ro overlay root")
    line = " ".join(map(_quoted, command))
    lines.append(f"exec unshare --root={_quoted(root)} --wd={_quoted(work_folder)} {line}")
    return "\n".join(lines)


def _mount(mount: Mount, root: str) -> list[str]:
    target = _quoted(root + mount.target)
    if mount.source.is_dir():
        made = f"mkdir -p {target}"
    else:
        folder = _quoted(root + mount.target.rpartition("/")[0])
        # A link (as of a distribution's resolv.conf) would lead out of this root.
        made = f"mkdir -p {folder}; rm -f {target}; touch {target}"
    lines = [made, f"mount --bind {_quoted(mount.source)} {target}"]
    if mount.read_only:
        lines.append(f"mount -o remount,bind,ro {target}")
    return lines


def _quoted(text: object) -> str:
    return shlex.quote(str(text))
