"""What the scaler makes of what the management interface answers, and of what it does not."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from laneway.broker import broker_address
from laneway.broker.management import Management
from laneway.control.scaler_watch import NO_STATISTICS, ScalerWatch
from laneway.scaling import Known, Pace, QueueLoad, Unknown

if TYPE_CHECKING:
    from conftest import MakePolicy

ADDRESS = broker_address("amqp://a:b@127.0.0.1:1", "http://a:b@127.0.0.1:2", env={})
PACE = Pace(window=20, every=1)


class Broker:
    """Answers as RabbitMQ 4.3 does; ``wrong`` is what it answers instead."""

    def __init__(self) -> None:
        self.now = 0.0
        self.overview: dict[str, Any] = {"rates_mode": "basic", "disable_stats": False}
        self.left_out: tuple[str, ...] = ()
        self.stats = True
        self.paused = 0
        self.wrong: httpx.Response | Exception | None = None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if isinstance(self.wrong, Exception):
            raise self.wrong
        if self.wrong is not None:
            return self.wrong
        if request.url.path.endswith("/overview"):
            return httpx.Response(200, json=self.overview)
        assert request.url.path == "/api/queues/jobs"
        assert "message_stats.publish" in request.url.params["columns"]
        default: dict[str, Any] = {"name": "default", "messages": 4, "messages_ready": 3}
        default["consumers"] = 0
        if self.stats:
            default["message_stats"] = {"publish": round(10 * self.now), "ack": 0}
        for name in self.left_out:
            del default[name]
        mark = {"name": "laneway.paused.default", "messages": self.paused, "messages_ready": 0}
        return httpx.Response(200, json=[default, mark, {"name": "celery_delayed_0"}])


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def load(make_policy: MakePolicy) -> QueueLoad:
    return QueueLoad(make_policy().queue("default"), PACE)


def look(broker: Broker, load: QueueLoad, *, seconds: int = 30, name: str = "default") -> None:
    watch = ScalerWatch(
        ADDRESS,
        "jobs",
        {name: load},
        lock=threading.Lock(),
        pace=PACE,
        stop=threading.Event(),
        clock=lambda: broker.now,
    )
    with Management(ADDRESS, transport=httpx.MockTransport(broker)) as management:
        for _ in range(seconds):
            watch._look(management)
            broker.now += 1


def unknown(broker: Broker, load: QueueLoad) -> str:
    answer = load.answer(broker.now)
    assert isinstance(answer, Unknown), answer
    return answer.reason


def test_what_it_counts_is_the_load(broker: Broker, load: QueueLoad) -> None:
    look(broker, load)
    answer = load.answer(broker.now)
    assert isinstance(answer, Known), answer
    assert answer.load.arrivals == pytest.approx(10)
    assert answer.load.backlog == 3


def test_a_pause_is_a_message_in_its_mark(broker: Broker, load: QueueLoad) -> None:
    broker.paused = 1
    look(broker, load)
    answer = load.answer(broker.now)
    assert isinstance(answer, Known), answer
    assert answer.load.backlog == 0


def test_a_queue_that_was_never_published_to_has_no_arrivals(
    broker: Broker, load: QueueLoad
) -> None:
    broker.stats = False
    look(broker, load)
    answer = load.answer(broker.now)
    assert isinstance(answer, Known), answer
    assert answer.load.arrivals == 0


@pytest.mark.parametrize("overview", [{"rates_mode": "none"}, {"disable_stats": True}])
def test_a_broker_without_statistics_is_unknown_and_not_idle(
    broker: Broker, load: QueueLoad, overview: dict[str, Any]
) -> None:
    broker.overview |= overview
    broker.stats = False
    look(broker, load)
    assert unknown(broker, load) == NO_STATISTICS


@pytest.mark.parametrize("name", ["messages", "messages_ready", "consumers"])
def test_a_number_that_is_left_out_is_unknown_and_not_zero(
    broker: Broker, load: QueueLoad, name: str
) -> None:
    look(broker, load)
    broker.left_out = (name,)
    look(broker, load, seconds=1)
    assert unknown(broker, load) == NO_STATISTICS


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (httpx.Response(500, json={"reason": "oops"}), "failed with status 500: oops"),
        (httpx.Response(401, json={}), "refused the user 'a'"),
        (httpx.Response(404, json={}), "'laneway topology apply' creates it"),
        (httpx.Response(200, text="<html>"), "is not JSON"),
        (httpx.ConnectError("refused"), "cannot be reached: refused"),
        (httpx.ReadTimeout("slow"), "did not answer in time"),
    ],
)
def test_an_interface_that_does_not_answer_is_unknown_with_the_cure(
    broker: Broker, load: QueueLoad, wrong: httpx.Response | Exception, words: str
) -> None:
    look(broker, load)
    broker.wrong = wrong
    look(broker, load, seconds=1)
    assert words in unknown(broker, load)
    # And known again with the next look.
    broker.wrong = None
    look(broker, load, seconds=1)
    assert isinstance(load.answer(broker.now), Known)


def test_a_queue_that_does_not_stand_is_unknown(broker: Broker, load: QueueLoad) -> None:
    look(broker, load, name="defautl")
    assert "there is no queue 'defautl' in the virtual host 'jobs'" in unknown(broker, load)
