"""Setting a reporter up, or making sure that there is none."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from laneway.once.marks import redis_url
from laneway.sentry.reporter import Reporter
from laneway.sentry.shared_bucket import RedisTokens, SharedBucket
from laneway.sentry.storm import Storm

if TYPE_CHECKING:
    from laneway.app import Laneway
    from laneway.sentry.config import Config


def reporter_for(
    app: Laneway, config: Config, *, secure: bool, worker: str, **options: Any
) -> Reporter | None:
    """The reporter of ordinary queues, or of secure ones; None if their events go nowhere.

    Raises:
        SettingsError: the SDK is missing or too old, or LANEWAY_REDIS_URL is wrong.
    """
    if config.dsn_for(secure=secure) is None:
        return None
    url = redis_url(app.conf.result_backend)
    prefix = app.address.vhost_prefix
    shared = SharedBucket(RedisTokens(url, prefix)) if url else None
    return Reporter(app, config, secure=secure, worker=worker, storm=Storm(shared), **options)


def keep_quiet() -> None:
    """Let nothing of this process go to Sentry: it works on a secure queue without a DSN."""
    # Who did not import it sends nothing; this must not be the one who does.
    if "sentry_sdk" in sys.modules:
        from laneway.sentry import scopes  # noqa: PLC0415 (see above)

        scopes.silence()
