"""What the environment says of Sentry: where events go, and what they say of the release."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from laneway.errors import SettingsError
from laneway.policy.problems import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

#: Where events of ordinary queues go; unset: nowhere.
DSN: Final = "LANEWAY_SENTRY_DSN"
#: Where events of secure queues go, and nothing else of them; unset: nowhere.
SECURE_DSN: Final = "LANEWAY_SENTRY_SECURE_DSN"
#: What Sentry calls the environment: ``production`` if unset.
ENVIRONMENT: Final = "LANEWAY_SENTRY_ENVIRONMENT"
#: What the application's release is called; stands in each letter too.
RELEASE: Final = "LANEWAY_RELEASE"
#: The image that runs, such as ``registry/shop@sha256:…``.
IMAGE: Final = "LANEWAY_IMAGE"
#: The share of jobs that are traced: ``0.01``, ``0.01,low=0``, ``off``; 0 if unset.
TRACES: Final = "LANEWAY_SENTRY_TRACES"
#: Whether the jobs of a schedule check in: ``1``, or ``0``; 1 if unset.
CRONS: Final = "LANEWAY_SENTRY_CRONS"

#: Seconds that a process that ends waits for events that are still to be sent.
FLUSH: Final = 2.0

_FORM: Final = "https://KEY@HOST/PROJECT (in Sentry: Settings, Projects, Client Keys)"
# What Sentry accepts as the name of an environment.
_ENVIRONMENT_NAME: Final = re.compile(r"(?!None$)[^\s/]{1,64}")
# And of a release.
_RELEASE_NAME: Final = re.compile(r"(?!\.{1,2}$)[^\r\n\t/\\]{1,200}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings, valid."""

    #: The addresses hold keys: they are in no ``repr``.
    dsn: str | None = field(default=None, repr=False)
    secure_dsn: str | None = field(default=None, repr=False)
    environment: str = "production"
    release: str | None = None
    image: str | None = None
    #: The share of jobs that are traced, 0 to 1, of queues that are not in :attr:`traces`; None:
    #: no job is, not even of a trace that was sampled elsewhere.
    traces_default: float | None = 0.0
    traces: Mapping[str, float | None] = field(default_factory=lambda: MappingProxyType({}))
    #: Whether the jobs of a schedule check in.
    crons: bool = True

    def dsn_for(self, *, secure: bool) -> str | None:
        """Where the events of a queue go; None if nowhere."""
        return self.secure_dsn if secure else self.dsn

    def traces_rate(self, queue: str) -> float | None:
        """The share of a queue's jobs that are traced, 0 to 1; None is off."""
        return self.traces.get(queue, self.traces_default)


def read_config(queues: Collection[str], environ: Mapping[str, str] | None = None) -> Config:
    """Read the settings.

    Args:
        queues: the names of the policy's queues.
        environ: instead of the process's environment.

    Raises:
        SettingsError: says all that is wrong with them, each with its cure; never a DSN.
    """
    said = os.environ if environ is None else environ
    problems = [
        f"{name}: expected {_FORM}, got one {problem}"
        for name in (DSN, SECURE_DSN)
        if (value := said.get(name)) and (problem := _dsn_problem(value))
    ]
    environment, release = said.get(ENVIRONMENT) or "production", said.get(RELEASE) or None
    has_dsn = bool(said.get(DSN) or said.get(SECURE_DSN))
    if not _ENVIRONMENT_NAME.fullmatch(environment):
        problems.append(
            f"{ENVIRONMENT}: expected 1 to 64 characters without blanks and slashes, got: "
            f"{environment!r}"
        )
    if has_dsn and release and not _RELEASE_NAME.fullmatch(release):
        problems.append(
            f"{RELEASE}: expected 1 to 200 characters without slashes, tabs and line breaks, which "
            f"Sentry refuses, got: {release!r}"
        )
    default, traces = _read_traces(said.get(TRACES) or "", queues, problems)
    crons = said.get(CRONS) or "1"
    if crons not in {"0", "1"}:
        problems.append(f"{CRONS}: expected 1 or 0, got: {crons!r}")
    if problems:
        raise SettingsError("\n  ".join(["the settings of Sentry are wrong:", *problems]))
    return Config(
        dsn=said.get(DSN) or None,
        secure_dsn=said.get(SECURE_DSN) or None,
        environment=environment,
        release=release,
        image=said.get(IMAGE) or None,
        traces_default=default,
        traces=MappingProxyType(traces),
        crons=crons == "1",
    )


def place_of_dsn(dsn: str) -> str:
    """The host and project of a DSN, without its key, for people."""
    parts = urlsplit(dsn)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"


def _dsn_problem(dsn: str) -> str | None:
    """What is wrong with a DSN, in words that do not repeat it; None if nothing."""
    try:
        parts = urlsplit(dsn)
        _ = parts.port
    except ValueError:
        return "that is no address"
    if parts.scheme not in {"http", "https"}:
        return "that does not begin with https:// or http://"
    if not parts.username:
        return "without a key before '@'"
    if not parts.hostname:
        return "without a host"
    project = parts.path.rpartition("/")[2]
    if not (project.isascii() and project.isdigit()):
        return "that does not end with a project's number"
    return None


def _read_traces(
    text: str, queues: Collection[str], problems: list[str]
) -> tuple[float | None, dict[str, float | None]]:
    default: float | None = 0.0
    traces: dict[str, float | None] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        queue, has_name, number = part.rpartition("=")
        queue = queue.strip()
        rate = _rate(number)
        if rate is None and number.strip() != "off":
            problems.append(
                f"{TRACES}: expected a share from 0 to 1, or off, such as '0.01,low=0', got: "
                f"{part!r}"
            )
        elif not has_name:
            default = rate
        elif queue not in queues:
            problems.append(
                f"{TRACES}: expected one of the queues {', '.join(sorted(queues))}, got: "
                f"{queue!r}{did_you_mean(queue, queues)}"
            )
        else:
            traces[queue] = rate
    return default, traces


def _rate(text: str) -> float | None:
    try:
        rate = float(text)
    except ValueError:
        return None
    return rate if 0.0 <= rate <= 1.0 else None
