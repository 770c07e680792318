"""The guard before a task's code on a real Redis, run by Celery's tracer; no broker is needed."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from celery.app.trace import build_tracer
from celery.exceptions import Reject, Retry

from laneway import Laneway, Once
from laneway.broker import broker_address
from laneway.once.guard import COUNTED_HEADER, LARGEST_VALUE
from laneway.once.job_key import SECRET
from laneway.once.lease import Lease, Renewal
from laneway.once.marks import Marks, MarksUnreachable, Standing
from support.workers import make_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis import Redis

    from laneway.local import PrivateRedis

pytestmark = pytest.mark.integration


# Nothing is ever published over it.
NOWHERE = broker_address("amqp://nobody:here@127.0.0.1:1", vhost_prefix="guard-", env={})


@pytest.fixture
def marks(redis: PrivateRedis, redis_client: Redis) -> Iterator[Marks]:
    marks = Marks(redis.url, "guard-")
    yield marks
    marks.close()


@pytest.fixture
def app(redis: PrivateRedis, redis_client: Redis) -> Laneway:
    app = make_app(NOWHERE, redis.url, task_track_started=False)
    app.serve("low")
    app.put_off = []
    app.send_task = lambda *given, **options: app.put_off.append((given, options))  # type: ignore[method-assign]
    return app


def run(task: Any, *args: Any, task_id: Any = "1", **request: Any) -> Any:
    """Run a job as a worker does; what Celery's tracer says of it."""
    known = {
        "id": task_id,
        "task": task.name,
        "retries": 0,
        "ignore_result": False,
        "delivery_info": {
            "exchange": "jobs", "routing_key": "low", "priority": 3, "redelivered": False
        },
        "hostname": "low@here",
        **request,
    }  # fmt: skip
    tracer = build_tracer(task.name, task, app=task.app)
    return tracer(task_id, list(args), {}, known)


def counting(app: Laneway, once: Any, result: Any = None, **options: Any) -> tuple[Any, list[Any]]:
    ran: list[Any] = []

    def code(*args: Any) -> Any:
        ran.append(args)
        return result() if callable(result) else result

    return app.task(name="guard.code", shared=False, once=once, **options)(code), ran


# -- marks ---------------------------------------------------------------------------------------


def test_a_mark_is_one_processs_until_it_ends(marks: Marks) -> None:
    assert marks.take("k", "a", 30) is None
    assert marks.take("k", "a", 30) is None, "the answer to the first try may have been lost"
    other = marks.take("k", "b", 30)
    assert isinstance(other, Standing)
    assert other.text == "a"
    assert 29 < other.seconds <= 30
    marks.drop("k", "b")
    assert marks.take("k", "b", 30) is not None
    marks.drop("k", "a")
    assert marks.take("k", "b", 0.05) is None
    time.sleep(0.1)
    assert marks.take("k", "c", 30) is None


def test_a_claim_is_ended_only_by_its_own_job(marks: Marks, redis_client: Redis) -> None:
    assert marks.claim("k", "1", 30) is None
    assert marks.claim("k", "2", 30) == "1"
    assert marks.claim("k", "1", 30) is None
    marks.resign("2")
    assert marks.claim("k", "2", 30) == "1"
    marks.resign("1")
    marks.resign("1")
    assert redis_client.keys("guard-*") == []
    # A job that comes to its end after its claim, which another has by now.
    marks.claim("k", "1", 30)
    redis_client.delete("guard-laneway:k")
    assert marks.claim("k", "2", 30) is None
    marks.resign("1")
    assert marks.claim("k", "3", 30) == "2"


def test_a_redis_that_is_away_is_told_at_once() -> None:
    marks = Marks("redis://127.0.0.1:1/0")
    began = time.monotonic()
    with pytest.raises(MarksUnreachable, match="ConnectionError"):
        marks.take("k", "a", 30)
    assert time.monotonic() - began < 1.5


# -- leases --------------------------------------------------------------------------------------


def test_a_lease_is_renewed_until_its_end(marks: Marks, redis_client: Redis) -> None:
    renewal = Renewal(marks, tick=0.02)
    lease = Lease("k", "mine", 0.3)
    marks.take("k", "mine", 0.3)
    renewal.begin(lease)
    time.sleep(0.8)
    assert marks.take("k", "other", 1) is not None
    # A Redis that was restarted has forgotten it.
    redis_client.flushdb()
    time.sleep(0.3)
    assert marks.take("k", "other", 1) is not None
    renewal.end(lease)
    time.sleep(0.4)
    assert marks.take("k", "other", 1) is None
    assert not lease.is_lost


def test_a_lease_that_another_has_is_lost(
    marks: Marks, redis_client: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    renewal = Renewal(marks, tick=0.02)
    lease = Lease("k", "mine", 0.15)
    marks.put("k", "other", 30)
    renewal.begin(lease)
    time.sleep(0.4)
    assert lease.is_lost
    assert "the job may run twice" in caplog.text
    assert redis_client.get("guard-laneway:k") == b"other"


def test_a_fork_renews_its_own_leases_only(marks: Marks) -> None:
    renewal = Renewal(marks, tick=0.02)
    own = Lease("parents", "p", 0.3)
    renewal.begin(own)
    child = os.fork()
    if not child:
        lease = Lease("childs", "c", 0.3)
        renewal.begin(lease)
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.45)
    assert marks.take("childs", "other", 1) is not None
    os.waitpid(child, 0)
    time.sleep(0.4)
    assert marks.take("childs", "other", 1) is None, "its lease ended with it"
    assert marks.take("parents", "other", 1) is not None
    # Else it would write into the Redis of every later test.
    renewal.end(own)


# -- the guard -----------------------------------------------------------------------------------


def test_a_done_job_is_not_run_again_and_its_result_stays(app: Laneway) -> None:
    task, ran = counting(app, "1h", 42)
    run(task, 1)
    run(task, 1)
    run(task, 1, task_id="2")
    assert ran == [(1,), (1,)]
    assert app.AsyncResult("1").result == 42
    assert app.AsyncResult("1").state == "SUCCESS"


@pytest.mark.parametrize("ignored", [True, False])
def test_what_follows_is_published_once_also_if_the_process_dies_before(
    app: Laneway, marks: Marks, ignored: bool
) -> None:
    task, ran = counting(app, "1h", 42)
    follow = dict(task.signature((), task_id="next"))
    chain = {"chain": [follow], "ignore_result": ignored}
    # As it stands when the code had returned and the process died.
    marks.put("once:1", "E1 42", 60)
    run(task, **chain)
    assert ran == []
    [(given, options)] = app.put_off
    assert list(given[1]) == [42]
    assert options["task_id"] == "next"
    if not ignored:
        assert app.AsyncResult("1").result == 42
    run(task, **chain)
    assert len(app.put_off) == 1


@pytest.mark.parametrize("error", [ValueError("no"), Retry("again"), Reject("no")])
def test_what_did_not_succeed_may_run_again_at_once(
    app: Laneway, redis_client: Redis, error: Exception
) -> None:
    def fail() -> None:
        raise error

    task, ran = counting(app, "1h", fail)
    run(task)
    assert redis_client.keys("guard-*once*") == []
    run(task)
    assert len(ran) == 2


def test_a_job_that_runs_elsewhere_is_published_for_later(app: Laneway, marks: Marks) -> None:
    task, ran = counting(app, "1h")
    marks.take("lease:once:1", "Lsomebody 1", 5)
    _, info, *_ = run(task, 7, retries=2, **{"x-delivery-count": 1, COUNTED_HEADER: 1})
    assert ran == []
    assert info.state == "IGNORED"
    assert str(info.retval) == "another process holds its lease"
    [((name, args, *_), options)] = app.put_off
    assert (name, list(args)) == ("guard.code", [7])
    assert options["task_id"] == "1"
    assert options["retries"] == 2
    assert options["priority"] == 3
    assert 5 <= options["countdown"] <= 6
    assert options["headers"][COUNTED_HEADER] == 2


def test_what_follows_is_left_to_the_process_that_is_about_to_do_it(
    app: Laneway, marks: Marks
) -> None:
    """Its code returned, and it lives: a second delivery must not publish the next step too."""
    task, ran = counting(app, "1h")
    marks.put("once:1", "E1 42", 60)
    marks.take("lease:once:1", "Lsomebody 1", 5)
    _, info, *_ = run(task)
    assert (ran, info.state) == ([], "IGNORED")
    # Once its lease is over, this one does it.
    marks.drop("lease:once:1", "Lsomebody 1")
    run(task)
    assert ran == []
    assert app.AsyncResult("1").result == 42


def test_a_job_that_was_put_off_is_still_counted(app: Laneway) -> None:
    task, ran = counting(app, "1h")
    limit = app.policy.queue("low").broker.delivery_limit
    run(task, **{COUNTED_HEADER: limit - 1, "x-delivery-count": 1})
    assert len(ran) == 1
    _, info, *_ = run(task, task_id="2", **{COUNTED_HEADER: limit - 1, "x-delivery-count": 2})
    assert info.state == "REJECTED"
    assert not info.retval.requeue
    assert len(ran) == 1


def test_jobs_of_one_key_get_what_the_first_returned(app: Laneway) -> None:
    def key(order: int, *_: Any) -> int:
        return order

    task, ran = counting(app, Once("1h", key=key), 42)
    run(task, 7)
    run(task, 7, "again", task_id="2")
    run(task, 8, task_id="3")
    assert ran == [(7,), (8,)]
    assert [app.AsyncResult(one).result for one in "123"] == [42] * 3


def test_what_is_too_large_to_keep_is_not_run_again_either(
    app: Laneway, redis_client: Redis
) -> None:
    task, ran = counting(app, "1h", "x" * LARGEST_VALUE)
    run(task)
    assert redis_client.keys("guard-*lease*") == []
    run(task)
    assert len(ran) == 1
    assert redis_client.get("guard-laneway:once:1") == b"D1 "
    assert len(app.AsyncResult("1").result) == LARGEST_VALUE


def test_nothing_of_a_secure_job_is_kept(
    app: Laneway, redis_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.serve("secure")
    task, ran = counting(app, Once("1h", key=lambda amount: amount), 42)
    _, info, *_ = run(task, 100)
    assert info.state == "FAILURE"
    assert SECRET in str(info.retval.exc if hasattr(info.retval, "exc") else info.retval)
    monkeypatch.setenv(SECRET, "long and random")
    run(task, 100, task_id="2")
    run(task, 100, task_id="2")
    assert ran == [(100,)]
    [key] = redis_client.keys("guard-*once*")
    assert redis_client.get(key) == b"D2 "


def test_without_redis_it_runs_and_says_so(app: Laneway, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    app.facts.listen(told.append)
    app.__dict__["marks"] = Marks("redis://127.0.0.1:1/0")
    task, ran = counting(app, "1h", 42)
    run(task)
    run(task)
    assert len(ran) == 2
    assert [fact.kind for fact in told] == ["unguarded"] * 2


def test_a_strict_job_waits_for_redis(app: Laneway) -> None:
    app.__dict__["marks"] = Marks("redis://127.0.0.1:1/0")
    task, ran = counting(app, Once("1h", strict=True))
    _, info, *_ = run(task)
    assert ran == []
    assert info.state == "IGNORED"
    assert len(app.put_off) == 1


def test_a_tasks_own_hook_is_called_before_the_end_is_noted(
    app: Laneway, redis_client: Redis
) -> None:
    seen: list[Any] = []

    class Own(app.Task):  # type: ignore[name-defined]
        abstract = True

        def on_success(self, retval: Any, task_id: Any, args: Any, kwargs: Any) -> None:
            seen.append(redis_client.get("guard-laneway:once:1"))
            raise ValueError("its own")

    task, _ = counting(app, "1h", 42, base=Own)
    run(task)
    assert seen == [b"E1 42"]
    assert redis_client.get("guard-laneway:once:1") == b"D1 42"


@pytest.mark.parametrize("call", ["direct", "eager", "run"])
def test_no_redis_is_needed_where_no_worker_runs_it(call: str) -> None:
    app = make_app(NOWHERE, task_always_eager=call == "eager")

    @app.task(name="guard.add", shared=False, bind=True, once="1h", unique="until-done")
    def add(self: Any, one: int, two: int) -> int:
        return one + two

    calls: dict[str, Callable[[], Any]] = {
        "direct": lambda: add(1, 2),
        "eager": lambda: add.delay(1, 2).get(),
        "run": lambda: add.run(1, 2),
    }
    assert calls[call]() == 3
