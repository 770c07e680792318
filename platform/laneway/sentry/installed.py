"""Whether the SDK is there, asked without importing it."""

from __future__ import annotations

import importlib.util
import re
from importlib.metadata import version
from typing import Final

from laneway.errors import SettingsError
from laneway.sentry.config import DSN, SECURE_DSN

#: The oldest SDK whose background threads survive a fork.
OLDEST: Final = (2, 59)


def check_installed() -> None:
    """Refuse to report without the SDK, or with one that is too old.

    Raises:
        SettingsError: says what to install.
    """
    if importlib.util.find_spec("sentry_sdk") is None:
        raise SettingsError(
            f"{DSN} or {SECURE_DSN} is set, and the package sentry-sdk is not installed. Install "
            "it: pip install 'laneway[sentry]'"
        )
    installed = version("sentry-sdk")
    if tuple(map(int, re.findall(r"\d+", installed)[:2])) < OLDEST:
        raise SettingsError(
            f"expected sentry-sdk {'.'.join(map(str, OLDEST))} or newer, because older ones can "
            f"hang in forked processes, got: {installed}. Install it: pip install "
            "'laneway[sentry]'"
        )
