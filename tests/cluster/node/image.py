"""Images that are never pulled: a name stands for what the host has."""

from __future__ import annotations

import shutil
import stat
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from cluster.node.errors import CannotStart

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Where the checkout stands in a container of :func:`laneway_image`.
PLACE: Final = "/opt/laneway"
_SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, kw_only=True)
class Image:
    """What an image would say, and what of the host it shows beside the system's own files."""

    #: Folders or files of the host, by where the container sees them. Read-only.
    files: Mapping[str, str] = field(default_factory=dict)
    #: As ENV, ENTRYPOINT, CMD, WORKDIR and USER of an image.
    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": _SYSTEM_PATH})
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    work_folder: str = "/"
    user: int = 0
    group: int = 0

    def as_json(self) -> dict[str, Any]:
        """What :meth:`of_json` reads."""
        return asdict(self)

    @classmethod
    def of_json(cls, document: Mapping[str, Any]) -> Self:
        """What :meth:`as_json` made."""
        tuples = {name: tuple(document[name]) for name in ("entrypoint", "command")}
        return cls(**{**document, **tuples})


def find_image(reference: str, images: Mapping[str, Image]) -> Image:
    """The image of a reference; its registry, tag and digest say nothing here.

    Raises:
        CannotStart: none has this name.
    """
    name = reference.partition("@")[0].rpartition("/")[2].partition(":")[0]
    try:
        return images[name]
    except KeyError:
        known = ", ".join(sorted(images)) or "none"
        raise CannotStart(
            "ImagePullBackOff", f"expected an image of the test ({known}), got: {reference}"
        ) from None


def laneway_image(checkout: Path, scripts: Path, *, user: int = 65532) -> Image:
    """This checkout as an image: ``laneway`` is in PATH; chaos suite and examples can be imported.

    Args:
        checkout: its root; the virtual environment is the one that runs this.
        scripts: an empty folder, for the entry point with the path that containers see.
        user: USER of the image, and its group.
    """
    python = f"{PLACE}/environment/bin/python"
    entry = scripts / "laneway"
    entry.write_text(f"#!{python} -P\nimport sys\nfrom laneway.cli import main\nsys.exit(main())\n")
    entry.chmod(0o755)
    scripts.chmod(0o755)
    parts = ("platform", "tests", "benchmarks", "examples")
    return Image(
        files={
            f"{PLACE}/src": str(checkout),
            f"{PLACE}/environment": sys.prefix,
            f"{PLACE}/bin": str(scripts),
        },
        environment={
            "PATH": f"{PLACE}/bin:{PLACE}/environment/bin:{_SYSTEM_PATH}",
            "PYTHONPATH": ":".join(f"{PLACE}/src/{part}" for part in parts),
            "PYTHONSAFEPATH": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
        },
        user=user,
        group=user,
    )


def closed_folders() -> list[str]:
    """Folders above this Python that other users may not enter: containers open them for theirs."""
    python = Path(shutil.which(sys.executable) or sys.executable).resolve()
    return [
        str(folder)
        for folder in reversed(python.parents)
        if not folder.stat().st_mode & stat.S_IXOTH
    ]
