"""Programs that outlive a run: folders in the user's cache, each complete as soon as it exists."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def cache_folder(name: str, *, variable: str) -> Path:
    """The folder that $`variable` names, else laneway/`name` in the user's cache folder."""
    if folder := os.environ.get(variable):
        return Path(folder)
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "laneway" / name


@contextmanager
def building(folder: Path, is_installed: Callable[[], bool]) -> Iterator[Path | None]:
    """An empty folder that becomes `folder` if the block ends well; None if another install won.

    Installs wait for each other: the lock is on the folder above. A killed one's rest is removed.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_installed():
            yield None
            return
        for abandoned in folder.parent.glob(f"{folder.name}.building-*"):
            shutil.rmtree(abandoned)
        build = folder.with_name(f"{folder.name}.building-{secrets.token_hex(4)}")
        build.mkdir(mode=0o755)
        try:
            yield build
            build.rename(folder)
        except BaseException:
            shutil.rmtree(build, ignore_errors=True)
            raise
    finally:
        os.close(lock)
