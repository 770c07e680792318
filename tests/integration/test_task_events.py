"""Task events: Flower and ``celery events`` see the same jobs, whatever the pool."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import pytest

from support.workers import WorkerProcess, environment, make_app

if TYPE_CHECKING:
    from collections.abc import Callable

    from laneway import Laneway
    from laneway.broker import BrokerAddress
    from laneway.local import PrivateRedis

pytestmark = pytest.mark.integration

PATIENCE = 30
POOLS = ("prefork", "direct")
#: What differs from run to run.
_OF_THE_MOMENT = {"timestamp", "local_received", "clock", "runtime", "utcoffset"}


class Listener:
    """Collects the events of one virtual host, as Flower does."""

    def __init__(self, app: Laneway, address: BrokerAddress, vhost: Any = "jobs") -> None:
        self.events: list[dict[str, Any]] = []
        self._app = app
        self._url = address.kombu_urls(vhost)
        self._stop = threading.Event()
        self._listens = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listens.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        with self._app.connection_for_read(self._url) as connection:
            receiver = self._app.events.Receiver(connection, handlers={"*": self.events.append})
            with receiver.consumer_context(wakeup=False) as (own, _channel, _consumers):
                self._listens.set()
                while not self._stop.is_set():
                    with contextlib.suppress(TimeoutError):
                        own.drain_events(timeout=0.2)

    def of(self, task_id: str) -> list[dict[str, Any]]:
        found = [one for one in tuple(self.events) if one.get("uuid") == task_id]
        return sorted(found, key=lambda one: (one["timestamp"], one["clock"]))

    def types(self, task_id: str) -> list[str]:
        return [str(one["type"]) for one in self.of(task_id)]

    def wait_for_types(self, task_id: str, types: list[str]) -> None:
        """Wait until the job's events are these."""
        until(lambda: self.types(task_id) == types, f"{types}, got {self.types(task_id)}")

    def wait_for(self, task_id: str, last: str) -> list[dict[str, Any]]:
        """All events of the job, once one of type ``last`` has come."""
        until(lambda: last in self.types(task_id), f"{last} of {self.types(task_id)}")
        time.sleep(0.3)
        return self.of(task_id)


def until(true: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + PATIENCE
    while not (said := true()):
        assert time.monotonic() < end, f"not within {PATIENCE} s: {what}"
        time.sleep(0.05)
    return said


@pytest.fixture
def env(topology: BrokerAddress, redis: PrivateRedis) -> dict[str, str]:
    return environment(topology, redis.url)


@pytest.fixture
def app(topology: BrokerAddress, redis: PrivateRedis) -> Laneway:
    return make_app(topology, redis.url)


def worker_of(env: dict[str, str], pool: str, *options: str, queue: str = "low") -> WorkerProcess:
    return WorkerProcess(
        queue,
        env,
        *("--pool", pool, "--hostname", f"{queue}@here", "--concurrency", "1", *options),
        app="support.rough_tasks:app",
    )


def comparable(events: list[dict[str, Any]], pid: int) -> list[dict[str, Any]]:
    """The events without what no two runs share."""
    found = []
    for event in events:
        kept = {key: value for key, value in event.items() if key not in _OF_THE_MOMENT}
        kept["fields"] = sorted(event)
        kept["pid"] = "the worker" if event["pid"] == pid else event["pid"]
        del kept["uuid"]
        if "root_id" in kept:
            kept["root_id"] = kept["root_id"] == event["uuid"]
            kept["parent_id"] = kept["parent_id"] == event["uuid"]
        if kept.get("eta"):
            kept["eta"] = kept["eta"][:4], kept["eta"][-6:]
        if kept.get("expires"):
            kept["expires"] = kept["expires"][:4], kept["expires"][-6:]
        if kept.get("traceback"):
            # (A limit of 1 is 1.0 once it has been in shared memory.)
            kept["traceback"] = kept["traceback"].splitlines()[-1].replace("(1.0,)", "(1,)")
        found.append(kept)
    return found


def without_repeats(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first event of each type.

    Celery 5.7 reports one hard time limit twice, once from each of the pool's two hooks; the second
    comes when the killed process is missed, which on a busy machine nobody waits for here.
    """
    first: dict[str, dict[str, Any]] = {}
    for one in events:
        first.setdefault(one["type"], one)
    return list(first.values())


def events_of_everything(
    app: Laneway, env: dict[str, str], address: BrokerAddress, pool: str
) -> dict[str, list[dict[str, Any]]]:
    """One job of each fate, and its events."""
    with Listener(app, address) as listener, worker_of(env, pool, "-E") as worker:
        revoked = f"revoked-{pool}"
        app.control.revoke(revoked, reply=True)
        sent = {
            "succeeded": (app.send_task("plain.add", (1, 2), queue="low"), "task-succeeded"),
            "keywords": (
                app.send_task("plain.add", kwargs={"a": 1, "b": 2}, queue="low", expires=900),
                "task-succeeded",
            ),
            "failed": (app.send_task("plain.fail", ("oh",), queue="low"), "task-failed"),
            "retried": (
                # Long enough for the parent to hear from its process before the broker delivers.
                app.send_task("plain.flaky", (1, 3), queue="low"),
                "task-succeeded",
            ),
            "refused": (app.send_task("rough.reject", queue="low"), "task-rejected"),
            "ignored": (app.send_task("rough.ignore", queue="low"), "task-started"),
            "late": (
                app.send_task("plain.add", (1, 3), queue="low", countdown=1),
                "task-succeeded",
            ),
            "too long": (app.send_task("plain.hang", queue="low"), "task-failed"),
            "revoked": (
                app.send_task("plain.add", (1, 1), queue="low", task_id=revoked),
                "task-revoked",
            ),
        }
        return {
            fate: comparable(listener.wait_for(result.id, last), worker.process.pid)
            for fate, (result, last) in sent.items()
        }


def test_the_events_of_both_pools_are_the_same(
    app: Laneway, env: dict[str, str], topology: BrokerAddress
) -> None:
    prefork, direct = (events_of_everything(app, env, topology, pool) for pool in POOLS)
    assert [one["type"] for one in direct["succeeded"]] == [
        "task-received",
        "task-started",
        "task-succeeded",
    ]
    assert direct["succeeded"][0]["args"] == "(1, 2)"
    prefork["too long"] = without_repeats(prefork["too long"])
    for fate, expected in prefork.items():
        got = direct[fate]
        assert [one["type"] for one in got] == [one["type"] for one in expected], fate
        differ = [
            (fate, ours["type"], key, ours.get(key), theirs.get(key))
            for ours, theirs in zip(got, expected, strict=True)
            for key in ours.keys() | theirs.keys()
            if ours.get(key) != theirs.get(key)
        ]
        assert differ == []


def test_events_are_switched_while_the_worker_runs(
    app: Laneway, env: dict[str, str], topology: BrokerAddress
) -> None:
    with worker_of(env, "direct") as worker, Listener(app, topology) as listener:
        silent = app.send_task("plain.add", (1, 1), queue="low")
        worker.wait_for("succeeded", task_id=silent.id)
        assert app.control.enable_events(reply=True)
        loud = app.send_task("plain.add", (1, 2), queue="low")
        listener.wait_for(loud.id, "task-succeeded")
        assert app.control.disable_events(reply=True)
        silent_again = app.send_task("plain.add", (1, 3), queue="low")
        worker.wait_for("succeeded", task_id=silent_again.id)
        time.sleep(0.5)
        assert listener.of(silent.id) == listener.of(silent_again.id) == []


def test_heartbeats_and_statistics_count_what_the_processes_run(
    app: Laneway, env: dict[str, str], topology: BrokerAddress
) -> None:
    with worker_of(env, "direct") as worker, Listener(app, topology) as listener:
        for _ in range(3):
            app.send_task("plain.add", (1, 1), queue="low")
        worker.wait_for("succeeded", 3)
        app.send_task("plain.sleep", (6,), queue="low")
        until(
            lambda: any(
                one["type"] == "worker-heartbeat" and (one["active"], one["processed"]) == (1, 4)
                for one in tuple(listener.events)
            ),
            "a heartbeat with one active of four",
        )
        (stats,) = app.control.inspect(timeout=3).stats().values()
        assert stats["total"] == {"plain.add": 3, "plain.sleep": 1}


@pytest.mark.parametrize("pool", POOLS)
def test_events_of_secure_jobs_show_nothing_of_them(
    app: Laneway, env: dict[str, str], topology: BrokerAddress, pool: str
) -> None:
    with (
        worker_of(env, pool, "-E", queue="secure"),
        Listener(app, topology, "secure") as listener,
    ):
        paid = app.send_task("vault.pay", (4711,))
        failed = app.send_task("vault.reveal", ("hunter2",))
        told = [
            *listener.wait_for(paid.id, "task-succeeded"),
            *listener.wait_for(failed.id, "task-failed"),
        ]
    assert told
    text = repr(told)
    assert [secret for secret in ("4711", "471100", "hunter2") if secret in text] == []
    assert {one["args"] for one in told if one["type"] == "task-received"} == {"(secure)"}


@pytest.mark.parametrize("pool", POOLS)
def test_inspect_shows_nothing_of_secure_jobs(
    app: Laneway, env: dict[str, str], topology: BrokerAddress, pool: str
) -> None:
    operator = make_app(topology)
    # Control messages go to the virtual host of the queue that an application serves.
    operator.serve("secure")
    with worker_of(env, pool, queue="secure"):
        job = app.send_task("vault.ponder", ("hunter2", 8))

        def seen() -> list[dict[str, Any]]:
            answers = operator.control.inspect(timeout=2).active() or {}
            return [one for jobs in answers.values() for one in jobs if one["args"] is not None]

        (shown,) = until(seen, "inspect active shows it")
        assert (shown["id"], shown["args"]) == (job.id, "(secure)")
        assert "hunter2" not in repr(shown)


def test_the_last_events_are_sent_before_the_process_leaves(
    app: Laneway, env: dict[str, str], topology: BrokerAddress
) -> None:
    with Listener(app, topology) as listener:
        sent = [app.send_task("plain.add", (1, 1), queue="low") for _ in range(200)]
        with worker_of(env, "direct", "-E") as worker:
            worker.wait_for("succeeded", len(sent))
        for one in sent:
            listener.wait_for_types(one.id, ["task-received", "task-started", "task-succeeded"])


def test_task_received_is_sent_to_who_listens(app: Laneway, env: dict[str, str]) -> None:
    with worker_of(env | {"ROUGH_RECEIVED": "1"}, "direct") as worker:
        sent = app.send_task("plain.add", (1, 1), queue="low")
        worker.wait_for("succeeded", task_id=sent.id)
        said = f"task_received plain.add {sent.id} (1, 1) low@here"
        until(lambda: any(said in line for line in worker.lines), said)
        # It is told once, although the platform listens to the same signal.
        assert len(worker.of("received", task_id=sent.id)) == 1
