"""One event for each dead letter, with what an SRE needs on it, and nothing of the job's own."""

from __future__ import annotations

import json
import os
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
import sentry_sdk
from sentry_sdk.scope import Scope

from laneway import Laneway
from laneway.deadletter.cause import cause_of
from laneway.deadletter.letter import Letter, Original
from laneway.policy import load_policy
from laneway.sentry.event import event_id_of
from laneway.sentry.scopes import JobScopes
from laneway.sentry.sdk import words_of_current_job
from laneway.sentry.start import keep_quiet
from laneway.sentry.storm import BURST, Storm
from laneway.sentry.trace import hex_of
from support.sentry import Outbox, make_reporter
from support.workers import POLICY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from laneway.facts import Fact
    from laneway.sentry.reporter import Reporter

CANARY = "canary-4242-4242"


@pytest.fixture(autouse=True)
def clean_sdk() -> Iterator[None]:
    def clean() -> None:
        sentry_sdk.get_global_scope().set_client(None)
        sentry_sdk.get_global_scope().clear()
        Scope.set_isolation_scope(None)  # type: ignore[arg-type]
        Scope.set_current_scope(None)  # type: ignore[arg-type]

    clean()
    yield
    clean()


@pytest.fixture
def app() -> Iterator[Laneway]:
    app = Laneway("sentry", policy=load_policy(POLICY), set_as_current=False)

    @app.task(name="plain.charge", shared=False, sentry_args=["order_id"])
    def charge(order_id: str, card: str) -> None:
        """Never runs."""

    app.finalize()
    yield app
    if app.reporter is not None:
        # The thread that waits for the end of a storm must not be seen by other tests.
        app.reporter.close(1.0)


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


def letter(**changes: Any) -> Letter:
    given: dict[str, Any] = {
        "id": "7a.0",
        "queue": "default",
        "outcome": "failed",
        "cause": "0123456789ab",
        "at": 1_000_010.0,
        "by": "worker",
        "first_at": 1_000_001.0,
        "ready_at": 1_000_000.0,
        "task": "plain.charge",
        "task_id": "7a",
        "root_id": "1b",
        "priority": 6,
        "error_type": "shop.errors.Declined",
        "message": f"card {CANARY}",
        "place": "shop.tasks:charge",
        "attempts": 3,
        "deliveries": 1,
        "worker": "default@here",
        "host": "pod-1",
        "version": "4.1",
    }
    return Letter(**{**given, **changes})


class Declined(Exception):
    """What a task raises."""


def declined(text: str = f"card {CANARY} of order 4711-0815") -> Exception:
    """An error with a traceback and a cause, whose frames hold what must not leave."""
    card = CANARY
    try:
        try:
            raise KeyError(card)
        except KeyError as error:
            raise Declined(text) from error
    except Declined as error:
        return error


def raise_it(reporter: Reporter, app: Laneway, error: Exception, **changes: Any) -> None:
    call = (["4711-0815"], {"card": CANARY})
    reporter.raised(letter(**changes), error, app.tasks["plain.charge"], call, 1_000_009.5)


def test_what_stands_on_the_event_of_an_error(app: Laneway, outbox: Outbox) -> None:
    reporter = make_reporter(app, outbox)
    raise_it(reporter, app, declined())
    [event] = outbox.events
    assert event["event_id"] == event_id_of("7a.0") == reporter.event_id("7a.0")
    assert re.fullmatch("[0-9a-f]{32}", event["event_id"])
    assert event["tags"] == {
        "queue": "default",
        "priority": "6",
        "task": "plain.charge",
        "task_id": "7a",
        "root_id": "1b",
        "attempt": "3",
        "deliveries": "1",
        "outcome": "failed",
        "cause": "0123456789ab",
        "worker": "default@here",
        "host": "pod-1",
        "image": "registry/shop@sha256:77",
        "release": "4.1",
    }
    assert all(len(name) <= 32 and len(value) <= 200 for name, value in event["tags"].items())
    assert event["contexts"]["job"] == {
        "letter": "7a.0",
        "show": "laneway dead show 7a.0",
        "replay": "laneway dead replay --cause 0123456789ab --first 10",
        "published": "1970-01-12T13:46:40.000+00:00",
        "started": "1970-01-12T13:46:49.500+00:00",
        "failed": "1970-01-12T13:46:50.000+00:00",
        "failed_first": "1970-01-12T13:46:41.000+00:00",
        "wait_seconds": 9.5,
        "runtime_seconds": 0.5,
        "attempts": 3,
        "deliveries": 1,
        "error_type": "shop.errors.Declined",
        "place": "shop.tasks:charge",
        "rule": "no route names it: the default queue 'default'",
        "arguments": {"order_id": "4711-0815"},
    }
    assert event["transaction"] == "plain.charge"
    assert event["fingerprint"] == ["{{ default }}", "plain.charge", "shop.errors.Declined"]
    assert (event["release"], event["environment"]) == ("4.2", "production")
    assert [crumb["message"] for crumb in event["breadcrumbs"]["values"]] == [
        "ready to run: published, or its delay ended",
        "failed for the first time; 2 retries since",
        "attempt 3 started",
        "ended: failed",
    ]
    first, last = event["exception"]["values"]
    assert (first["type"], last["type"]) == ("KeyError", "Declined")
    assert last["value"] == "card [job argument] of order 4711-0815"
    assert last["stacktrace"]["frames"][-1]["function"] == "declined"
    assert last["mechanism"]["handled"] is False
    assert "laneway" in event["sdk"]["integrations"]
    assert CANARY.encode() not in outbox.bytes.replace(b"CANARY", b"")


@pytest.mark.parametrize(
    ("outcome", "error_type", "fingerprint", "level"),
    [
        ("time-limit", "billiard.exceptions.TimeLimitExceeded", 2, "error"),
        ("lost", "DeliveryLimitExceeded", 2, "error"),
        ("expired", "Expired", 2, "warning"),
        ("rejected", "LookupError", 3, "warning"),
        ("refused", None, 3, "error"),
        ("quarantined", "HeaderRefused", 3, "error"),
    ],
)
def test_the_event_of_another_end(
    app: Laneway,
    outbox: Outbox,
    outcome: Any,
    error_type: str | None,
    fingerprint: int,
    level: str,
) -> None:
    reporter = make_reporter(app, outbox)
    reporter.report(letter(outcome=outcome, error_type=error_type, message=f"its {CANARY}"))
    [event] = outbox.events
    assert event["event_id"] == event_id_of("7a.0")
    assert event["level"] == level
    assert event["fingerprint"][:2] == [outcome, "plain.charge"]
    assert len(event["fingerprint"]) == fingerprint
    assert event["tags"]["outcome"] == outcome
    [error] = event["exception"]["values"]
    assert error["type"] == (error_type or outcome).rpartition(".")[2]
    # Without the message nobody knows which words are the job's.
    assert CANARY.encode() not in outbox.bytes


def test_a_rejects_own_words_leave_without_the_arguments(app: Laneway, outbox: Outbox) -> None:
    body = json.dumps([[CANARY], {"n": 1}, {}]).encode()
    original = Original(exchange="jobs", routing_key="low", properties=b"", body=body)
    reporter = make_reporter(app, outbox)
    reporter.report(letter(outcome="rejected", message=f"no card {CANARY} here", original=original))
    [event] = outbox.events
    assert event["exception"]["values"][0]["value"] == "no card [job argument] here"


def test_a_message_that_nobody_can_read(app: Laneway, outbox: Outbox) -> None:
    original = Original(exchange="", routing_key="", properties=b"", body=b"\xff" + CANARY.encode())
    reporter = make_reporter(app, outbox)
    odd = letter(
        id="x'; rm -rf ~ #.0",
        outcome="quarantined",
        task=None,
        task_id=None,
        queue="nowhere",
        ready_at=1e300,
        original=original,
    )
    reporter.report(odd)
    [event] = outbox.events
    assert event["transaction"] == "(no task)"
    assert event["contexts"]["job"]["show"] == """laneway dead show 'x'"'"'; rm -rf ~ #.0'"""
    assert CANARY.encode() not in outbox.bytes


def test_facts_say_how_many_were_reported(app: Laneway, outbox: Outbox) -> None:
    told: list[Fact] = []
    app.facts.listen(told.append)
    reporter = make_reporter(app, outbox)
    for number in range(5):
        raise_it(reporter, app, declined(), id=f"{number}.0", task_id=str(number))
    assert [fact.kind for fact in told] == ["reported"] * 3 + ["report_held"] * 2
    assert {(fact.queue, fact.task, fact.cause, fact.worker) for fact in told} == {
        ("default", "plain.charge", "0123456789ab", "low@here")
    }
    assert len(outbox.events) == 3


def test_what_was_held_back_is_on_a_closing_event_of_the_same_issue(
    app: Laneway, outbox: Outbox
) -> None:
    reporter = make_reporter(app, outbox)
    for number in range(10):
        raise_it(reporter, app, declined(), id=f"{number}.0", task_id=str(number))
    reporter.close(1.0)
    *events, closing = outbox.events
    assert len(events) == 3
    assert closing["contexts"]["job"]["held_back"] == 7
    assert closing["message"] == "7 more failures of the cause 0123456789ab were held back"
    assert closing["fingerprint"] == events[0]["fingerprint"]
    assert closing["transaction"] == "plain.charge"
    assert closing["exception"]["values"][-1]["stacktrace"]["frames"]
    assert closing["event_id"] not in {event["event_id"] for event in events}
    assert "task_id" not in closing["tags"]
    assert closing["tags"]["cause"] == "0123456789ab"
    assert CANARY.encode() not in outbox.bytes


def test_a_cause_that_never_had_an_event_here_has_a_closing_one_in_its_issue(
    app: Laneway, outbox: Outbox
) -> None:
    class Nothing:
        def take(self, cause: str) -> bool:
            return False

    reporter = make_reporter(app, outbox, storm=Storm(Nothing()))
    for number in range(3):
        raise_it(reporter, app, declined(), id=f"{number}.0", task_id=str(number))
    assert outbox.events == []
    reporter.close(1.0)
    [closing] = outbox.events
    assert closing["contexts"]["job"]["held_back"] == 3
    assert closing["exception"]["values"][-1]["stacktrace"]["frames"]


def test_the_next_event_says_how_many_were_held_back(app: Laneway, outbox: Outbox) -> None:
    now = [0.0]
    reporter = make_reporter(app, outbox, storm=Storm(clock=lambda: now[0]))
    for number in range(10):
        raise_it(reporter, app, declined(), id=f"{number}.0", task_id=str(number))
    now[0] = 61.0
    raise_it(reporter, app, declined(), id="late.0", task_id="late")
    assert [event["contexts"]["job"].get("held_back") for event in outbox.events] == [
        *[None] * 3,
        7,
    ]


def test_what_the_tasks_code_said_is_on_the_event_and_does_not_win(
    app: Laneway, outbox: Outbox
) -> None:
    reporter = make_reporter(app, outbox)
    reporter.install()
    sentry_sdk.set_tag("tenant", "acme")
    sentry_sdk.set_tag("queue", "nonsense")
    sentry_sdk.set_context("job", {"place": "nonsense"})
    raise_it(reporter, app, declined())
    [event] = outbox.events
    assert event["tags"]["tenant"] == "acme"
    assert event["tags"]["queue"] == "default"
    assert event["contexts"]["job"]["place"] == "shop.tasks:charge"


def test_events_of_one_root_are_one_trace(app: Laneway, outbox: Outbox) -> None:
    reporter = make_reporter(app, outbox)
    raise_it(reporter, app, declined(), id="1.0")
    raise_it(reporter, app, declined(), id="2.0")
    reporter.report(letter(id="3.0", outcome="expired", cause="c1"))
    reporter.report(letter(id="4.0", outcome="expired", cause="c2", root_id="other"))
    traces = [event["contexts"]["trace"]["trace_id"] for event in outbox.events]
    assert traces[0] == traces[1] == traces[2] != traces[3] == hex_of("other")
    assert all(re.fullmatch("[0-9a-f]{32}", trace) for trace in traces)


def test_an_event_is_in_the_trace_that_its_message_carried(app: Laneway, outbox: Outbox) -> None:
    reporter = make_reporter(app, outbox)
    carried = "0af7651916cd43dd8448eb211c80319c"
    raise_it(reporter, app, declined(), id="1.0", trace_id=carried)
    reporter.report(letter(id="2.0", outcome="expired", cause="c1", trace_id=carried))
    assert [event["contexts"]["trace"]["trace_id"] for event in outbox.events] == [carried] * 2


def test_an_error_that_the_task_sent_itself_has_its_event_too(app: Laneway, outbox: Outbox) -> None:
    reporter = make_reporter(app, outbox)
    reporter.install()
    error = declined()
    sentry_sdk.capture_exception(error)
    raise_it(reporter, app, error)
    assert [event["event_id"] == event_id_of("7a.0") for event in outbox.events] == [False, True]


def test_one_job_leaves_nothing_to_the_next(app: Laneway, outbox: Outbox) -> None:
    reporter = make_reporter(app, outbox)
    reporter.install()
    sentry_sdk.set_tag("service", "shop")
    scopes = JobScopes()
    for number in range(2):
        scopes.begin()
        sentry_sdk.set_tag(f"job-{number}", "x")
        sentry_sdk.set_user({"id": number})
        with sentry_sdk.new_scope() as scope:
            scope.set_tag("inner", number)
        raise_it(reporter, app, declined(), id=f"{number}.0")
    first, second = outbox.events
    assert (first["tags"].get("job-0"), second["tags"].get("job-0")) == ("x", None)
    assert second["tags"]["job-1"] == "x"
    assert [event["tags"]["service"] for event in outbox.events] == ["shop", "shop"]
    assert [event["user"]["id"] for event in outbox.events] == [0, 1]


def unknown(number: int, **changes: Any) -> Letter:
    name = f"nobody.task_{number}"
    return letter(
        id=f"u{number}.0",
        task_id=f"u{number}",
        **{
            "outcome": "quarantined",
            "error_type": "UnknownTask",
            "place": None,
            "task": name,
            "cause": cause_of(name, "UnknownTask", None),
            **changes,
        },
    )


def test_a_flood_of_names_is_one_storm(app: Laneway, outbox: Outbox) -> None:
    facts: list[Fact] = []
    app.facts.listen(facts.append)
    reporter = make_reporter(app, outbox)
    for number in range(500):
        reporter.report(unknown(number))
    assert len(outbox.events) == BURST
    # What is told of each, and of each event, is its own cause: that of its letter.
    assert len({fact.cause for fact in facts if fact.kind in {"reported", "report_held"}}) == 500
    assert {event["tags"]["cause"] for event in outbox.events} == {
        unknown(number).cause for number in range(BURST)
    }
    # Another kind is another storm, and so is a task that is known here.
    reporter.report(unknown(500, error_type="BodyUnreadable"))
    known = unknown(501, task="plain.charge", cause="c0ffee", error_type="UnknownTask")
    reporter.report(known)
    assert len(outbox.events) == BURST + 2
    # The closing event is like the last of the storm, and names no cause that no letter has.
    reporter.close()
    assert outbox.events[-1]["tags"]["outcome"] == "quarantined"
    assert outbox.events[-1]["message"] == "497 more failures of many causes were held back"


def test_a_text_of_any_kind(app: Laneway, outbox: Outbox) -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError(CANARY)

        __repr__ = __str__

    class Large(Exception):
        def __str__(self) -> str:
            return "x" * 50_000_000

    reporter = make_reporter(app, outbox)
    raise_it(reporter, app, Odd(), id="1.0")
    raise_it(reporter, app, Large(), id="2.0")
    assert len(outbox.events) == 2
    assert len(outbox.bytes) < 50_000
    assert CANARY.encode() not in outbox.bytes


def test_exhausted_retries_do_not_repeat_the_call(app: Laneway, outbox: Outbox) -> None:
    task = app.tasks["plain.charge"]
    error = task.MaxRetriesExceededError("Can't retry plain.charge[7a] args:['x1'] kwargs:{}")
    raise_it(make_reporter(app, outbox), app, error)
    [event] = outbox.events
    assert event["exception"]["values"][-1]["value"] == "no retry is left"


def test_nothing_is_raised_into_a_job(
    app: Laneway,
    outbox: Outbox,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError(CANARY)

    monkeypatch.setattr(outbox, "capture_envelope", fail)
    monkeypatch.setattr(outbox, "flush", fail)
    reporter = make_reporter(app, outbox)
    raise_it(reporter, app, declined())
    reporter.report(letter(outcome="expired"))
    reporter.close(0.1)
    assert "was not reported: RuntimeError" in caplog.text
    assert CANARY not in caplog.text


def test_a_process_that_sent_nothing_waits_for_nothing(app: Laneway, outbox: Outbox) -> None:
    reporter = make_reporter(app, outbox)
    reporter.install()
    reporter.close()
    assert outbox.flushed == 0
    raise_it(reporter, app, declined())
    reporter.close()
    assert outbox.flushed == 1


def test_closing_takes_no_longer_than_it_may(
    app: Laneway, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []
    monkeypatch.setattr(outbox, "flush", lambda timeout, _: given.append(timeout))
    reporter = make_reporter(app, outbox)
    raise_it(reporter, app, declined())
    monkeypatch.setattr(reporter._closer, "close", lambda seconds: time.sleep(seconds / 2))
    reporter.close(0.4)
    assert 0.0 <= given[0] <= 0.21


def test_a_forked_process_has_a_client_of_its_own(app: Laneway, outbox: Outbox) -> None:
    reporter = make_reporter(app, outbox)
    reporter.install()
    parents = reporter.client
    pid = os.fork()
    if not pid:
        code = 1
        try:
            reporter.renew()
            fresh = reporter.client is not parents
            code = 0 if fresh and sentry_sdk.get_client() is reporter.client else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert sentry_sdk.get_client() is parents


# -- the project's own client ----------------------------------------------------------------------


def test_the_projects_own_client_stays(app: Laneway, outbox: Outbox) -> None:
    theirs = Outbox()
    sentry_sdk.init(transport=theirs, default_integrations=False)
    reporter = make_reporter(app, outbox)
    reporter.install()
    reporter.renew()
    sentry_sdk.capture_message("theirs")
    raise_it(reporter, app, declined())
    assert [event.get("message") for event in theirs.events] == ["theirs"]
    [event] = outbox.events
    assert event["tags"]["task"] == "plain.charge"


def test_celerys_integration_is_told_of(
    app: Laneway, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    sentry_sdk.init(transport=Outbox(), default_integrations=False)
    sentry_sdk.get_client().integrations["celery"] = object()  # type: ignore[assignment]
    make_reporter(app, outbox).install()
    assert "reported twice" in caplog.text
    assert "disabled_integrations=" in caplog.text


# -- secure queues ---------------------------------------------------------------------------------


def test_of_a_secure_queue_nothing_else_leaves(app: Laneway, outbox: Outbox) -> None:
    theirs = Outbox()
    sentry_sdk.init(transport=theirs, default_integrations=False)
    reporter = make_reporter(app, outbox, secure=True)
    reporter.install()
    sentry_sdk.set_tag("card", CANARY)
    sentry_sdk.set_user({"id": CANARY})
    sentry_sdk.get_isolation_scope().add_attachment(bytes=CANARY.encode(), filename="card.txt")
    sentry_sdk.add_breadcrumb(message=CANARY)
    raise_it(reporter, app, declined(), queue="secure")
    reporter.report(letter(queue="secure", outcome="quarantined", message=CANARY))
    sentry_sdk.capture_message(CANARY)
    sentry_sdk.capture_exception(declined())
    with sentry_sdk.start_transaction(name=CANARY, op="queue.process", sampled=True):
        pass
    sentry_sdk.get_client().transport.capture_envelope(  # type: ignore[union-attr]
        sentry_sdk.envelope.Envelope(
            headers={"trace": {"transaction": CANARY}},
            items=[sentry_sdk.envelope.Item(CANARY, type="log")],
        )
    )
    assert len(outbox.events) == 4
    assert CANARY.encode() not in outbox.bytes
    assert theirs.envelopes == []
    first = outbox.events[0]
    assert first["tags"]["task_id"] == "7a"
    assert first["contexts"]["job"]["letter"] == "7a.0"
    assert first["exception"]["values"][-1]["type"] == "Declined"


def test_without_a_secure_dsn_nothing_leaves() -> None:
    theirs = Outbox()
    sentry_sdk.init(transport=theirs, default_integrations=False)
    keep_quiet()
    sentry_sdk.capture_message(CANARY)
    assert theirs.envelopes == []


# -- what a task says ------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["order_id", ["not a name"], [1], 7, None])
def test_sentry_args_are_names(app: Laneway, option: Any) -> None:
    with pytest.raises(ValueError, match="expected sentry_args to be a list of the names"):
        app.task(name="plain.odd", shared=False, sentry_args=option)


def test_sentry_args_are_names_of_arguments(app: Laneway) -> None:
    def pay(order_id: str) -> None:
        """Never runs."""

    with pytest.raises(ValueError, match="did you mean 'order_id'"):
        app.task(name="plain.pay", shared=False, sentry_args=["order_ids"])(pay)


def test_no_job_has_no_words() -> None:
    assert words_of_current_job().clean("text") == "text"
