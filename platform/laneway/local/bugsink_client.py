"""What a Bugsink holds, read back through its API."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

_API: Final = "/api/canonical/0"
_SECONDS: Final = 30.0


@dataclass(frozen=True, kw_only=True)
class BugsinkProject:
    """Something that events are sent to."""

    id: int
    """Its number, as in the address of its pages."""
    name: str
    """What it is called."""
    dsn: str = field(repr=False)
    """Where a client sends its events; whoever has it may send."""


@dataclass(frozen=True, kw_only=True)
class BugsinkIssue:
    """Events that the server takes for one finding."""

    id: str
    """Its UUID."""
    type: str
    """The first part of its title: mostly the class of the error."""
    value: str
    """The rest of its title, of the newest event."""
    events: int
    """How many events came for it; those that came twice under one id count twice."""
    page: str
    """The path of its page."""

    @property
    def title(self) -> str:
        """As the list of issues shows it."""
        return f"{self.type}: {self.value}" if self.value else self.type


@dataclass(frozen=True, kw_only=True)
class BugsinkEvent:
    """One event as it is stored; events that came twice under one id are one."""

    id: str
    """The id that its sender gave it: 32 hexadecimal digits."""
    issue: str
    """The UUID of its issue."""
    data: Mapping[str, Any] = field(repr=False)
    """All of it, as it was sent."""

    @property
    def tags(self) -> dict[str, str]:
        """Its tags."""
        tags = self.data.get("tags") or {}
        return dict(tags)

    @property
    def contexts(self) -> dict[str, dict[str, Any]]:
        """Its contexts by name."""
        return dict(self.data.get("contexts") or {})


class BugsinkClient:
    """Reads from a server, and makes projects; use it as a context manager.

    Every call raises httpx.HTTPError if the server does not answer or refuses.
    """

    def __init__(self, url: str, token: str) -> None:
        """`url` is the server's root, `token` one that it has given out."""
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(base_url=url + _API, headers=headers, timeout=_SECONDS)
        self._team: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def create_project(self, name: str) -> BugsinkProject:
        """Make a project; the first one also makes the team that owns them."""
        if self._team is None:
            teams = [*self._pages("/teams/"), None]
            team = teams[0] or self._post("/teams/", name="sre")
            self._team = str(team["id"])
        before = {project["id"] for project in self._pages("/projects/")}
        self._post("/projects/", team=self._team, name=name)
        # (What was made is answered without its number and its DSN.)
        [made] = [one for one in self._pages("/projects/") if one["id"] not in before]
        return BugsinkProject(id=int(made["id"]), name=str(made["name"]), dsn=str(made["dsn"]))

    def issues(self, project: BugsinkProject) -> list[BugsinkIssue]:
        """The issues of a project, in the order in which they were made."""
        return [
            BugsinkIssue(
                id=str(one["id"]),
                type=str(one["calculated_type"]),
                value=str(one["calculated_value"]),
                events=int(one["digested_event_count"]),
                page=f"/issues/issue/{one['id']}/event/last/",
            )
            for one in self._pages("/issues/", project=project.id)
        ]

    def events(self, issue: BugsinkIssue) -> list[BugsinkEvent]:
        """The events of an issue, oldest first."""
        listed = self._pages("/events/", issue=issue.id, order="asc")
        return [self._event(str(one["id"])) for one in listed]

    def all_events(self, project: BugsinkProject) -> list[BugsinkEvent]:
        """The events of all issues of a project."""
        return [event for issue in self.issues(project) for event in self.events(issue)]

    def _event(self, number: str) -> BugsinkEvent:
        answer = self._get(f"/events/{number}/")
        return BugsinkEvent(
            id=str(answer["event_id"]).replace("-", ""),
            issue=str(answer["issue"]),
            data=answer["data"],
        )

    def _pages(self, path: str, **query: object) -> Iterator[dict[str, Any]]:
        """Everything that a listing holds, page by page."""
        following: str | None = str(httpx.URL(path, params={k: str(v) for k, v in query.items()}))
        while following:
            answer = self._get(following)
            yield from answer["results"]
            following = answer.get("next")

    def _get(self, path: str) -> dict[str, Any]:
        return self._read(self._http.get(path))

    def _post(self, path: str, **body: object) -> dict[str, Any]:
        return self._read(self._http.post(path, json=body))

    @staticmethod
    def _read(answer: httpx.Response) -> dict[str, Any]:
        answer.raise_for_status()
        read: dict[str, Any] = answer.json()
        return read
