"""Whether failures go to Sentry, and where; nothing is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from laneway.checkup.check import Check
from laneway.errors import SettingsError
from laneway.sentry.config import DSN, SECURE_DSN, place_of_dsn, read_config
from laneway.sentry.installed import check_installed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from laneway.policy import Policy


def sentry_checks(policy: Policy, environ: Mapping[str, str] | None = None) -> Iterator[Check]:
    """What the settings say, for ordinary and for secure queues."""
    try:
        config = read_config(tuple(policy.queues), environ)
    except SettingsError as error:
        yield _fails(error, "correct them")
        return
    kinds = {queue.secure for queue in policy.queues.values()}
    is_on = False
    for secure, variable in ((False, DSN), (True, SECURE_DSN)):
        dsn = config.dsn_for(secure=secure)
        queues = "secure" if secure else "ordinary"
        if secure not in kinds:
            continue
        is_on = is_on or dsn is not None
        yield Check(
            subject="sentry",
            verdict="ok",
            finding=f"failures of {queues} queues go "
            + (f"to {place_of_dsn(dsn)}" if dsn else f"nowhere: {variable} is not set"),
        )
    if not is_on:
        return
    try:
        check_installed()
    except SettingsError as error:
        yield _fails(error, "install it")


def _fails(error: SettingsError, cure: str) -> Check:
    return Check(
        subject="sentry",
        verdict="fail",
        finding=str(error),
        cure=f"{cure}: with these settings no worker starts",
    )
