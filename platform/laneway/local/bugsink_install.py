"""Bugsink, a server that speaks Sentry's protocol, in a virtual environment of its own.

Not free software (PolyForm Shield 1.0.0), so it is no dependency of Laneway: it is installed only
where somebody has seen its licence and accepted it, from a lock file with hashes. The folder also
holds an empty database, because making one takes a quarter of a minute; a run copies it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from laneway.local.cache import building, cache_folder
from laneway.local.environment import make_environment
from laneway.local.errors import InstallFailed, LicenceNotAccepted
from laneway.local.licence import ACCEPT_VARIABLE, Accepts, Licence, accepted_in_advance
from laneway.local.packages import Report, run_command, silent
from laneway.local.signals import termination_raises

VERSION: Final = "2.6.1"
"""The one version that `bugsink.lock` pins."""

DATABASES: Final = ("db.sqlite3", "snappea.sqlite3")
"""The files of an empty server."""

SETTINGS: Final = "bugsink_conf"
"""The module of its settings, in the folder that it runs in."""

_ROOT_VARIABLE: Final = "LANEWAY_BUGSINK_ROOT"
_HERE: Final = Path(__file__).parent
_LOCK: Final = _HERE / "bugsink.lock"
_LICENCE: Final = _HERE / "bugsink.licence"
_ACCEPTED: Final = "licence-accepted"
# What it needs in order to make its databases; a run writes settings of its own.
_BARE_SETTINGS: Final = """\
from bugsink.settings.default import *

SECRET_KEY = "only for making an empty database"
SNAPPEA = {"TASK_ALWAYS_EAGER": True}
BUGSINK = {"PHONEHOME": False}
"""


@dataclass(frozen=True, kw_only=True)
class BugsinkPrograms:
    """An installed Bugsink."""

    python: Path
    """The interpreter of its virtual environment. (Its scripts name the folder it was built in.)"""
    template: Path
    """The folder of its empty `DATABASES`."""

    def manage(self, *arguments: str) -> list[str]:
        """The command of one of its administration commands; the current folder has `SETTINGS`."""
        return [str(self.python), "-m", "bugsink.scripts.manage", *arguments]


def bugsink_root() -> Path:
    """The folder: $LANEWAY_BUGSINK_ROOT, else laneway/bugsink-2.6.1 in the user's cache."""
    return cache_folder(f"bugsink-{VERSION}", variable=_ROOT_VARIABLE)


def bugsink_licence() -> Licence:
    """What has to be accepted before it is installed."""
    return Licence(
        software=f"Bugsink {VERSION}",
        name="PolyForm-Shield-1.0.0",
        url="https://polyformproject.org/licenses/shield/1.0.0",
        text=_LICENCE.read_text(encoding="utf-8"),
    )


def find_bugsink() -> BugsinkPrograms | None:
    """The installed one, whose licence was accepted then; None if there is none."""
    root = bugsink_root()
    return _programs(root) if (root / _ACCEPTED).exists() else None


def install_bugsink(
    accepts_licence: Accepts = accepted_in_advance, report: Report = silent
) -> BugsinkPrograms:
    """Find Bugsink, or install it if its licence is accepted. About a minute and 200 MB.

    `accepts_licence` is only asked if it is not installed. An interrupted install leaves nothing
    that could be taken for a good one. Raises LicenceNotAccepted, ServerNotInstalled (Python's
    `venv` is missing) or InstallFailed.
    """
    if found := find_bugsink():
        return found
    licence = bugsink_licence()
    if not accepts_licence(licence):
        raise LicenceNotAccepted(
            f"{licence.software} is not installed, and its licence ({licence.name}, {licence.url}) "
            "was not accepted; read it, then run again with --accept-licence, or with "
            f"{ACCEPT_VARIABLE}={licence.name} in the environment"
        )
    root = bugsink_root()
    with termination_raises(), building(root, lambda: find_bugsink() is not None) as build:
        if build is not None:
            report(f"installing {licence.software} into {root} (about a minute)")
            make_environment(build, _LOCK, tool="Bugsink")
            _check_licence(build, licence)
            report("making its empty database")
            _make_template(_programs(build))
            when = time.strftime("%Y-%m-%d %H:%M:%S %z")
            (build / _ACCEPTED).write_text(f"{licence.name} was accepted on {when}\n")
    report(f"{licence.software} is ready in {root}")
    return _programs(root)


def _programs(root: Path) -> BugsinkPrograms:
    return BugsinkPrograms(python=root / "bin" / "python", template=root / "template")


def _check_licence(build: Path, licence: Licence) -> None:
    """What was accepted has to be what came. Raises InstallFailed."""
    name = f"lib/python*/site-packages/bugsink-{VERSION}.dist-info/licenses/LICENSE"
    came = [file.read_text(encoding="utf-8") for file in build.glob(name)]
    if came != [licence.text]:
        raise InstallFailed(
            "pip install", f"{licence.software} came with another licence than the one accepted"
        )


def _make_template(programs: BugsinkPrograms) -> None:
    folder = programs.template
    folder.mkdir()
    (folder / f"{SETTINGS}.py").write_text(_BARE_SETTINGS)
    environment = {"DJANGO_SETTINGS_MODULE": SETTINGS, "PYTHONDONTWRITEBYTECODE": "1"}
    for arguments in (["migrate"], ["migrate", "snappea", "--database=snappea"]):
        run_command(programs.manage(*arguments), environment=environment, folder=folder)
    if missing := [name for name in DATABASES if not (folder / name).exists()]:
        raise InstallFailed("bugsink-manage migrate", f"it did not make {' and '.join(missing)}")
