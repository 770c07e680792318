"""Where the errors of a local platform are seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from laneway.local import PrivateBugsink


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuePages:
    """A private server for errors, as people and as workers see it."""

    #: The list of issues in a browser.
    url: str
    #: Who logs in there.
    user: str
    #: With which password; it ends with the server.
    password: str = field(repr=False)
    #: What workers and control need to report there.
    environment: dict[str, str] = field(repr=False)


def issue_pages(bugsink: PrivateBugsink) -> IssuePages:
    """Make a project for the errors of ordinary queues, and one for those of secure ones."""
    with bugsink.client() as client:
        jobs, secure = client.create_project("jobs"), client.create_project("secure")
    return IssuePages(
        url=f"{bugsink.url}/issues/{jobs.id}/",
        user=bugsink.user,
        password=bugsink.password,
        environment={
            "LANEWAY_SENTRY_ENVIRONMENT": "local",
            "LANEWAY_SENTRY_DSN": jobs.dsn,
            "LANEWAY_SENTRY_SECURE_DSN": secure.dsn,
        },
    )
