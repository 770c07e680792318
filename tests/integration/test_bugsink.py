"""The private server for errors, for real: what is sent can be read back, and nothing is left."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from laneway.local import RunDirectory, start_bugsink
from support.findings import Findings

if TYPE_CHECKING:
    from laneway.local import BugsinkClient, PrivateBugsink

pytestmark = pytest.mark.integration


def send(findings: Findings, kind: str = "event", **payload: Any) -> str:
    """Send one item as any client of Sentry's does; its id."""
    dsn = httpx.URL(findings.dsn)
    event_id = payload.setdefault("event_id", uuid.uuid4().hex)
    lines = [{"event_id": event_id, "dsn": findings.dsn}, {"type": kind}, payload]
    answer = httpx.post(
        f"http://{dsn.host}:{dsn.port}/api{dsn.path}/envelope/",
        content="\n".join(json.dumps(line) for line in lines),
        headers={"X-Sentry-Auth": f"Sentry sentry_version=7, sentry_key={dsn.username}"},
    )
    answer.raise_for_status()
    return str(event_id)


def error(text: str, **more: Any) -> dict[str, Any]:
    return {
        "timestamp": time.time(),
        "platform": "python",
        "exception": {"values": [{"type": "ValueError", "value": text}]},
        **more,
    }


def test_what_is_sent_can_be_read_back(findings: Findings) -> None:
    tags, job = {"queue": "low", "task": "a.b"}, {"letter": "x.0"}
    first = send(findings, **error("no price", tags=tags, contexts={"job": job}, release="1.0"))
    [event] = findings.wait_for(1)
    assert (event.id, event.tags) == (first, tags)
    assert event.contexts["job"]["letter"] == "x.0"
    assert event.data["release"] == "1.0"
    [issue] = findings.issues
    assert (issue.title, issue.events) == ("ValueError: no price", 1)


def test_a_fingerprint_makes_an_issue(bugsink_client: BugsinkClient) -> None:
    project = bugsink_client.create_project("fingerprints")
    findings = Findings(client=bugsink_client, project=project)
    for text, mark in (("a", "one"), ("b", "one"), ("c", "two")):
        send(findings, **error(text, fingerprint=[mark]))
    findings.wait_for(3)
    assert sorted(issue.events for issue in findings.issues) == [1, 2]


def test_an_event_that_comes_twice_is_stored_once(bugsink_client: BugsinkClient) -> None:
    """Two reporters of one failure give it the same id: so Sentry does, and this server."""
    project = bugsink_client.create_project("twice")
    findings = Findings(client=bugsink_client, project=project)
    mark = uuid.uuid4().hex
    for _ in range(2):
        send(findings, **error("again", event_id=mark))
    findings.wait_for(1)
    time.sleep(0.5)
    assert [event.id for event in findings.events] == [mark]


def test_it_drops_what_is_no_event(bugsink_client: BugsinkClient) -> None:
    """Why the tests have an envelope sink of their own."""
    project = bugsink_client.create_project("dropped")
    findings = Findings(client=bugsink_client, project=project)
    send(findings, "transaction", type="transaction", transaction="t", timestamp=time.time())
    send(findings, "check_in", monitor_slug="m", status="ok")
    time.sleep(0.5)
    assert findings.events == []


def test_a_person_can_log_in_and_nobody_without(bugsink: PrivateBugsink) -> None:
    with httpx.Client(base_url=bugsink.url, follow_redirects=True) as browser:
        page = browser.get("/accounts/login/")
        form = {"username": bugsink.user, "password": bugsink.password, "next": "/"}
        form["csrfmiddlewaretoken"] = browser.cookies["csrftoken"]
        assert "password" in page.text.lower()
        wrong = browser.post("/accounts/login/", data={**form, "password": "guessed"})
        assert wrong.url.path == "/accounts/login/"
        right = browser.post("/accounts/login/", data=form)
        assert right.url.path != "/accounts/login/", right.text[:500]
    stranger = httpx.get(f"{bugsink.url}/api/canonical/0/projects/")
    assert stranger.status_code in {401, 403}


def test_it_goes_without_a_trace_and_comes_back_with_what_it_had(bugsink: PrivateBugsink) -> None:
    with RunDirectory.create() as run:
        began = time.monotonic()
        with start_bugsink(run) as server, server.client() as client:
            took = time.monotonic() - began
            findings = Findings(client=client, project=client.create_project("jobs"))
            send(findings, **error("before"))
            findings.wait_for(1)
            server.end()
            with pytest.raises(httpx.TransportError):
                findings.issues  # noqa: B018 (asked in vain)
            server.begin()
            assert [issue.value for issue in findings.issues] == ["before"]
            assert server.port != bugsink.port
            pid = server.pid
        assert not run.path.joinpath("processes", f"{pid}.json").exists()
        path = run.path
    assert not path.exists()
    assert took < 30, "the database was not made anew"
