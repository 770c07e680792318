"""What the control process answers about scaling, without a broker."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import click.testing
import pytest

from laneway.broker import broker_address
from laneway.broker.reported import ReportedCounters
from laneway.cli.root import laneway
from laneway.control.numbers import exposition
from laneway.control.scaler import Scaler
from laneway.control.scaler_pages import scaler_pages
from laneway.control.scaler_watch import seen
from laneway.errors import LanewayError, UnknownQueue
from laneway.probes import Probes
from laneway.scaling import Pace, Seen
from support.clock import Clock
from support.expositions import control_that

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import MakePolicy

PACE = Pace(window=20, every=1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def scaler(make_policy: MakePolicy, clock: Clock) -> Scaler:
    """It has looked at the queue ``known`` for longer than its window, and at no other."""
    scaler = Scaler(
        broker_address("amqp://a:b@127.0.0.1:1", env={}),
        make_policy(known=""),
        pace=PACE,
        stop=threading.Event(),
        clock=clock,
    )
    for second in range(30):
        clock.now = float(second)
        scaler._loads["known"].see(
            Seen(ready=3, consumers=0, paused=False, published=10 * second, settled=0, held=0),
            second,
        )
    return scaler


@pytest.fixture
def url(scaler: Scaler) -> Iterator[str]:
    probes = Probes(
        ("127.0.0.1", 0),
        alive=list,
        ready=list,
        metrics=lambda: b"",
        pages=scaler_pages(scaler),
    )
    yield f"http://127.0.0.1:{probes.port}"
    probes.close()


def page(scaler: Scaler, path: str, rest: str = "") -> tuple[int, Any]:
    answer = scaler_pages(scaler)[path](rest)
    return answer.status, json.loads(answer.body) if "json" in answer.kind else answer.body.decode()


def test_a_number_and_why(scaler: Scaler) -> None:
    status, said = page(scaler, "/scale/", "known")
    assert status == 200
    assert said["slots"] == pytest.approx(10 * 1 / 0.7 + 3 / 5, rel=0.01)
    assert said["reason"].startswith("10 jobs/s x 1 s / 0.7")


def test_unknown_is_an_error_without_any_number_of_slots(scaler: Scaler) -> None:
    status, said = page(scaler, "/scale/", "default")
    assert status == 503
    assert said == {
        "queue": "default",
        "known": False,
        "reason": "the broker was not looked at yet",
    }


def test_a_typo_is_not_a_queue_that_needs_nothing(scaler: Scaler) -> None:
    status, said = page(scaler, "/scale/", "knwon")
    assert status == 404
    assert "did you mean 'known'" in said["reason"]
    status, text = page(scaler, "/explain/", "knwon")
    assert (status, "did you mean 'known'" in text) == (404, True)


def test_all_of_them(scaler: Scaler) -> None:
    status, said = page(scaler, "/scale")
    assert status == 503  # of one of them nobody knows
    assert {one["queue"]: one["known"] for one in said["queues"]} == {
        "default": False,
        "known": True,
    }
    status, text = page(scaler, "/explain")
    assert status == 503
    assert "default: unknown" in text
    assert "known: " in text


def test_it_is_ready_when_it_knows_or_when_time_alone_would_not_help(
    scaler: Scaler, clock: Clock
) -> None:
    clock.now = 5.0
    [line] = scaler.not_ready()
    assert line == "the scaler does not know 'default' yet: the broker was not looked at yet"
    scaler._loads["default"].fail("the management interface cannot be reached")
    assert scaler.not_ready() == []
    scaler._loads["default"]._problem = None
    assert scaler.not_ready()
    clock.now = 21.0
    assert scaler.not_ready() == []


def test_the_numbers_of_an_unknown_queue_are_absent_and_not_zero(
    scaler: Scaler, make_policy: MakePolicy
) -> None:
    control = control_that(make_policy(known=""))
    control.scaler = scaler
    shown = exposition(control).decode()
    assert 'laneway_scaler_known{queue="known"} 1.0' in shown
    assert 'laneway_scaler_known{queue="default"} 0.0' in shown
    for name in ("slots_needed", "workers_needed", "arrivals_per_second", "mean_runtime_seconds"):
        assert f'laneway_{name}{{queue="known"}} ' in shown
        assert f'laneway_{name}{{queue="default"}}' not in shown


def counters(**said: int | None) -> ReportedCounters:
    some = {"messages": 3, "ready": 1, "consumers": 2, "published": 7, "acknowledged": 4}
    return ReportedCounters(name="high", **{**some, **said})


def test_a_look() -> None:
    assert seen(counters(), None, counted=True) == Seen(
        ready=1, consumers=2, paused=False, published=7, settled=4, held=3
    )
    for marks, paused in ((1, True), (0, False)):
        look = seen(counters(), counters(messages=marks), counted=True)
        assert look is not None
        assert look.paused is paused


def test_a_queue_that_was_never_used_has_published_nothing() -> None:
    look = seen(counters(published=None, acknowledged=None), None, counted=True)
    assert look is not None
    assert (look.published, look.settled) == (0, 0)


@pytest.mark.parametrize("missing", ["messages", "ready", "consumers"])
def test_a_queue_of_which_the_broker_keeps_no_statistics_is_unknown(missing: str) -> None:
    assert seen(counters(**{missing: None}), None, counted=True) is None
    assert seen(counters(published=None), None, counted=False) is None
    assert seen(counters(), None, counted=False) is None


# -- laneway scaling explain -------------------------------------------------------------------


def explain(*arguments: str) -> click.testing.Result:
    return click.testing.CliRunner().invoke(
        laneway, ["scaling", "explain", *arguments], standalone_mode=False
    )


def test_explaining_what_a_control_process_knows(url: str) -> None:
    result = explain("known", "--url", url)
    assert result.return_value == 0
    assert result.output.startswith("known: 14.9 slots are needed = 4 workers of 4")
    assert json.loads(explain("known", "--json", "--url", f"{url}/").output)["known"] is True


def test_what_is_unknown_has_a_status_of_its_own(url: str) -> None:
    result = explain("default", "--url", url)
    assert result.return_value == 6
    assert result.output.startswith("default: unknown")
    assert explain("--url", url).return_value == 6
    assert explain("--json", "--url", url).return_value == 6


def test_what_cannot_be_asked(url: str) -> None:
    for more in ((), ("--json",)):
        wrong = explain("knwon", *more, "--url", url)
        assert isinstance(wrong.exception, UnknownQueue)
        assert "did you mean 'known'" in str(wrong.exception)
    away = explain("--url", "http://127.0.0.1:1")
    assert isinstance(away.exception, LanewayError)
    assert "laneway control --health" in str(away.exception)
    other = explain("--url", f"{url}/other")
    assert isinstance(other.exception, LanewayError)
    assert "/explain answers 404" in str(other.exception)
