"""A private Bugsink: the errors of this run as issues in a browser; own port and password."""

# ruff: noqa: S603 -- programs of our own virtual environment; no argument comes from outside

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from typing import Final

import httpx

from laneway.local.bugsink_client import BugsinkClient
from laneway.local.bugsink_install import DATABASES, SETTINGS, BugsinkPrograms, install_bugsink
from laneway.local.errors import ServerCommandFailed
from laneway.local.licence import Accepts, accepted_in_advance
from laneway.local.packages import Report, silent
from laneway.local.ports import LOOPBACK, free_ports
from laneway.local.rundir import RunDirectory, write_private
from laneway.local.server import PrivateServer, accepts, start_with_retry
from laneway.local.signals import termination_raises

_COMMAND_SECONDS: Final = 60
# One process for both commands: most of its time goes into starting Django.
_ACCOUNTS: Final = """
import django
django.setup()
from django.core.management import call_command
call_command("createsuperuser", interactive=False, username={user!r}, email={email!r}, verbosity=0)
call_command("create_auth_token")
"""


class PrivateBugsink(PrivateServer):
    """A running Bugsink of this run. Made by `start_bugsink`.

    It keeps events only: transactions, check-ins and whatever else an envelope may hold are
    accepted and dropped.
    """

    kind = "Bugsink"

    def __init__(self, run: RunDirectory, programs: BugsinkPrograms) -> None:
        """For `start_bugsink` only."""
        super().__init__(run, run.folder("bugsink"))
        self._programs = programs
        self._token = ""
        self.user: Final = "laneway"
        """Who may log in."""
        self.password: Final = secrets.token_urlsafe(12)
        """And with which password."""
        (self.port,) = free_ports(1)
        """Where browsers and clients connect on 127.0.0.1."""

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`, where people log in. It holds no password."""
        return f"http://{LOOPBACK}:{self.port}"

    def client(self) -> BugsinkClient:
        """A client of its API, to be closed by the caller."""
        return BugsinkClient(self.url, self._token)

    def start(self) -> None:
        """Start the server; see `PrivateServer.start`."""
        for name in DATABASES:
            shutil.copyfile(self._programs.template / name, self._folder / name)
        settings = bugsink_settings(
            url=self.url, secret_key=secrets.token_urlsafe(48), ingest=str(self._folder / "ingest")
        )
        write_private(self._folder / f"{SETTINGS}.py", settings)
        self.begin()

    def begin(self) -> None:
        """Start the server on what it stored, on the same port, and wait until it answers.

        Raises ServerStartFailed.
        """
        python = str(self._programs.python)
        # Without an access log, and with no socket in the home directory.
        options = ["--no-control-socket", "--workers", "1", "--threads", "4"]
        options += ["--bind", f"{LOOPBACK}:{self.port}", "bugsink.wsgi"]
        self._spawn(
            [python, "-m", "gunicorn", *options], name="bugsink", environment=self._environment
        )
        if not self._token:
            self._token = self._make_accounts(python)
        self._wait_until(self._answers)

    def end(self) -> None:
        """End the server at once; what it stored stays. `begin` starts it again."""
        self.stop()

    @property
    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "DJANGO_SETTINGS_MODULE": SETTINGS,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONNOUSERSITE": "1",
        }

    def _make_accounts(self, python: str) -> str:
        """Make the user, and a token of the API, which is returned. Raises ServerCommandFailed."""
        code = _ACCOUNTS.format(user=self.user, email=f"{self.user}@localhost.localdomain")
        shown = "bugsink-manage createsuperuser"
        try:
            done = subprocess.run(
                [python, "-c", code],
                env={
                    **self._environment,
                    **self._run.environment,
                    "DJANGO_SUPERUSER_PASSWORD": self.password,
                },
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=_COMMAND_SECONDS,
            )
        except subprocess.TimeoutExpired as late:
            raise ServerCommandFailed(shown, f"no answer within {_COMMAND_SECONDS} s") from late
        if done.returncode != 0 or not done.stdout.strip():
            raise ServerCommandFailed(shown, done.stdout + done.stderr)
        return done.stdout.split()[-1]

    def _answers(self) -> bool:
        if not accepts(self.port):
            return False
        try:
            return httpx.get(f"{self.url}/health/ready", timeout=5).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False


def start_bugsink(
    run: RunDirectory,
    *,
    accepts_licence: Accepts = accepted_in_advance,
    report: Report = silent,
) -> PrivateBugsink:
    """Start a private Bugsink and wait until it answers.

    If it is not installed, it is installed if `accepts_licence` says that its licence is.
    Raises LicenceNotAccepted, ServerNotInstalled, InstallFailed, ServerStartFailed or
    ServerCommandFailed; then nothing is left of it.
    """
    with termination_raises():
        programs = install_bugsink(accepts_licence, report)
        server = start_with_retry(lambda: PrivateBugsink(run, programs))
    report(f"Bugsink listens on {LOOPBACK}:{server.port}")
    return server


def bugsink_settings(*, url: str, secret_key: str, ingest: str) -> str:
    """The server's settings: one user, no mail, no call home, and room for a storm of events.

    Args:
        url: where it is reached.
        secret_key: what it signs sessions with.
        ingest: the folder for what it has not stored yet.
    """
    bugsink = {
        "BASE_URL": url,
        "SITE_TITLE": "Bugsink of laneway up",
        # What its licence allows without a further agreement.
        "SINGLE_USER": True,
        "SINGLE_TEAM": True,
        "USER_REGISTRATION": "CB_NOBODY",
        "PHONEHOME": False,
        "INGEST_STORE_BASE_DIR": ingest,
        "MAX_EVENTS_PER_5_MINUTES": 1_000_000,
        "MAX_EVENTS_PER_PROJECT_PER_5_MINUTES": 1_000_000,
        "MAX_EVENTS_PER_HOUR": 1_000_000,
        "MAX_EVENTS_PER_PROJECT_PER_HOUR": 1_000_000,
    }
    lines = [
        "from bugsink.settings.default import *",
        f"SECRET_KEY = {secret_key!r}",
        f"ALLOWED_HOSTS = [{LOOPBACK!r}]",
        'TIME_ZONE = "UTC"',
        # An event is stored before its request is answered.
        'SNAPPEA = {"TASK_ALWAYS_EAGER": True}',
        'EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"',
        f"BUGSINK = {bugsink!r}",
    ]
    return "\n".join(lines) + "\n"
