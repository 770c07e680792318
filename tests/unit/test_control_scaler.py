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
from laneway.control.scaler import Scaler
from laneway.control.scaler_pages import scaler_pages
from laneway.control.scaler_watch import seen
from laneway.errors import LanewayError, UnknownQueue
from laneway.probes import Probes
from laneway.scaling import Pace, Seen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import MakePolicy

PACE = Pace(window=20, every=1)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


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
    assert said["slots"] == pytest.approx(10 * 1 / 0.7 + 3 / 15, rel=0.01)
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


@pytest.mark.parametrize(
    ("counted", "messages", "published", "expected"),
    [
        (True, 0, None, 0),
        (True, 0, 7, 7),
        (True, None, None, None),
        (False, 0, None, None),
        (False, 0, 7, None),
    ],
)
def test_a_queue_that_was_never_used_is_not_one_of_which_nothing_is_known(
    counted: bool, messages: int | None, published: int | None, expected: int | None
) -> None:
    counters = ReportedCounters(
        name="high", messages=messages, published=published, acknowledged=None
    )
    look = seen((1, 2), counters, counted=counted, paused=False)
    assert (look.ready, look.consumers, look.published) == (1, 2, expected)


# -- laneway scaling explain -------------------------------------------------------------------


def explain(*arguments: str) -> click.testing.Result:
    return click.testing.CliRunner().invoke(
        laneway, ["scaling", "explain", *arguments], standalone_mode=False
    )


def test_explaining_what_a_control_process_knows(url: str) -> None:
    result = explain("known", "--url", url)
    assert result.return_value == 0
    assert result.output.startswith("known: 14.5 slots are needed = 4 workers of 4")
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
