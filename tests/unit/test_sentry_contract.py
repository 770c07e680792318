"""What Laneway relies on in sentry-sdk beyond its documentation.

Each test says what breaks when it turns red: read it before raising a version in pyproject.toml.
"""

from __future__ import annotations

import inspect
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest
import sentry_sdk
from sentry_sdk import scope as sdk_scope
from sentry_sdk.client import get_options
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.scope import Scope, ScopeType
from sentry_sdk.transport import HttpTransport
from sentry_sdk.utils import event_from_exception

from laneway.sentry import scopes
from laneway.sentry.config import Config
from laneway.sentry.scopes import JobScopes
from laneway.sentry.sdk import make_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def no_scopes() -> Iterator[None]:
    sentry_sdk.get_global_scope().set_client(None)
    Scope.set_isolation_scope(None)  # type: ignore[arg-type]
    Scope.set_current_scope(None)  # type: ignore[arg-type]
    yield
    sentry_sdk.get_global_scope().set_client(None)


def test_a_scope_is_made_when_it_is_first_asked_for() -> None:
    """`JobScopes.begin` takes the last scope away: a job that says nothing makes none."""
    assert sdk_scope._isolation_scope.get() is None
    assert sdk_scope._current_scope.get() is None
    sentry_sdk.set_tag("a", "b")
    assert sdk_scope._isolation_scope.get() is not None
    Scope.set_isolation_scope(None)  # type: ignore[arg-type]
    Scope.set_current_scope(None)  # type: ignore[arg-type]
    assert Scope.get_client().is_active() is False
    assert sentry_sdk.get_isolation_scope()._tags == {}
    assert isinstance(sentry_sdk.get_current_scope(), Scope)


def test_a_scope_can_be_compared_with_a_new_one() -> None:
    """`JobScopes` copies the first scope for each job only if something was said to it."""
    told: list[Callable[[Scope], object]] = [
        lambda scope: scope.set_tag("a", "b"),
        lambda scope: scope.set_context("a", {"b": 1}),
        lambda scope: scope.set_extra("a", 1),
        lambda scope: scope.set_user({"id": 1}),
        lambda scope: scope.set_level("error"),
        lambda scope: scope.set_transaction_name("a"),
        lambda scope: scope.add_attachment(bytes=b"a", filename="a"),
        lambda scope: scope.add_event_processor(lambda event, _hint: event),
        lambda scope: scope.set_client(
            # (Without what it would change in Celery, for good.)
            sentry_sdk.Client(dsn="http://key@127.0.0.1:9/1", default_integrations=False)
        ),
    ]
    assert scopes._says_nothing(sentry_sdk.get_isolation_scope())
    for tell in told:
        scope = Scope(ty=ScopeType.ISOLATION)
        assert scopes._says_nothing(scope)
        tell(scope)
        assert not scopes._says_nothing(scope), tell


def test_a_job_gets_a_copy_only_of_a_scope_that_says_something() -> None:
    plain, said = JobScopes(), JobScopes()
    sentry_sdk.get_isolation_scope()
    plain.begin()
    assert sdk_scope._isolation_scope.get() is None
    sentry_sdk.set_tag("service", "shop")
    said.begin()
    plain.begin()
    assert sdk_scope._isolation_scope.get() is None
    said.begin()
    assert sentry_sdk.get_isolation_scope()._tags == {"service": "shop"}


def test_what_makes_an_exception_of_an_error() -> None:
    parameters = inspect.signature(event_from_exception).parameters
    assert list(parameters) == ["exc_info", "client_options", "mechanism"]
    assert callable(DedupeIntegration.reset_last_seen)


@pytest.fixture
def answers() -> Iterator[list[int]]:
    """A server that answers what the list says, and the DSN of which is in the environment."""
    statuses: list[int] = []

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(statuses.pop(0))
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        os.environ["TEST_DSN"] = f"http://key@127.0.0.1:{server.server_port}/1"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield statuses
        server.shutdown()
    del os.environ["TEST_DSN"]


@pytest.mark.parametrize(
    ("status", "lost"),
    [(200, []), (429, ["status_429"]), (500, ["network_error"]), (413, ["send_error"])],
)
def test_what_is_lost_is_told(answers: list[int], status: int, lost: list[str]) -> None:
    """The SDK's hooks of its transport: else the metric of lost events stays 0."""
    told: list[str] = []
    answers.append(status)
    client = make_client(
        os.environ["TEST_DSN"],
        Config(),
        secure=False,
        lost=lambda reason, number: told.extend([reason] * number),
    )
    client.capture_event({"message": "words"})
    client.close(timeout=5)
    assert told == lost
    assert answers == []


def test_what_a_queue_has_no_room_for_is_told() -> None:
    told: list[str] = []
    client = make_client(
        "http://key@127.0.0.1:1/1",
        Config(),
        secure=False,
        lost=lambda reason, number: told.append(reason),
    )
    for _ in range(300):
        client.capture_event({"message": "words"})
    client.close(timeout=0.1)
    assert told.count("queue_overflow") > 50


def test_the_options_are_enough_for_a_transport() -> None:
    """`make_client` makes the transport before the client, to stand behind a gate."""
    transport = HttpTransport(get_options(dsn="http://key@127.0.0.1:1/1"))
    assert transport.parsed_dsn is not None
    transport.kill()


def test_a_hook_that_fails_lets_nothing_out() -> None:
    """Of a secure queue an event that could not be reduced must not leave."""

    def fail(event: object, hint: object) -> None:
        raise RuntimeError

    client = sentry_sdk.Client(
        dsn="http://key@127.0.0.1:1/1",
        default_integrations=False,
        before_send=fail,
    )
    assert client.capture_event({"message": "words"}) is None
    client.close(timeout=0)
