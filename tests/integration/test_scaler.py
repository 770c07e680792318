"""The scaler: how many slots a queue needs, and that nobody gets a number where nobody knows."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from math import ceil
from statistics import median
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import kombu
import pytest

from laneway.broker import BrokerAddress, broker_address
from laneway.control.scaler_watch import ScalerWatch
from laneway.local import start_rabbitmq
from laneway.policy import load_policy
from laneway.queue_control import pause_queue, resume_queue
from laneway.scaling import Known, Load, Pace, QueueLoad, Report, read_report, slots_needed
from laneway.topology import REPORTS_EXCHANGE
from support.brokers import elsewhere
from support.proxy import Proxy
from support.scalers import PATIENCE, WINDOW, Scaler, fast
from support.topology import apply_policy
from support.workers import POLICY, WorkerProcess, make_app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.conftest import TestBroker
    from laneway import Laneway
    from laneway.local import PrivateRabbitMQ, RunDirectory

pytestmark = pytest.mark.integration


@contextmanager
def steady(app: Laneway, queue: str, *, per_second: float, seconds: float) -> Iterator[None]:
    """Publish jobs of so many seconds at a steady pace."""
    stop = threading.Event()

    def publish() -> None:
        began, sent = time.monotonic(), 0
        while not stop.is_set():
            while sent < (time.monotonic() - began) * per_second:
                app.send_task("plain.sleep", [seconds], queue=queue)
                sent += 1
            stop.wait(0.5 / per_second)

    thread = threading.Thread(target=publish, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)


@pytest.mark.alone
def test_a_known_load_on_workers_of_two_pools_as_two_processes_see_it(
    topology: BrokerAddress,
) -> None:
    app = make_app(topology)
    env = fast(topology)
    with ExitStack() as stack:
        for pool in ("prefork", "threads"):
            options = ("--pool", pool, "--concurrency", "3")
            stack.enter_context(WorkerProcess("low", env, *options))
        stack.enter_context(steady(app, "low", per_second=12, seconds=0.2))
        one = stack.enter_context(Scaler(topology))
        other = stack.enter_context(Scaler(topology))
        assert "window" in one.scale("low")["reason"] or "yet" in one.scale("low")["reason"]
        assert "the scaler does not know 'low' yet" in one.ask("/readyz").text
        one.becomes("low", within=2 * WINDOW)
        other.becomes("low", within=2 * WINDOW)
        time.sleep(WINDOW)
        low = load_policy(POLICY).queue("low")
        expected = slots_needed(low, Load(arrivals=12, runtime=0.2, busy=0, backlog=0)).slots
        answers: list[list[dict[str, Any]]] = []
        for _ in range(9):
            answers.append([one.scale("low"), other.scale("low")])
            time.sleep(1)
        for said in (said for both in answers for said in both):
            assert said["workers_reporting"] == 2, said
            assert said["runtime_seconds"] == pytest.approx(0.2, rel=0.1), said
        # (Now and then more jobs run at once than the load needs: then those are what is needed.)
        ours, theirs = (median(each["slots"] for each in of) for of in zip(*answers, strict=True))
        assert ours == pytest.approx(expected, rel=0.15), json.dumps(answers)
        assert theirs == pytest.approx(ours, rel=0.1), json.dumps(answers)
        workers = ceil(expected / low.worker.concurrency)
        assert median(both[0]["workers"] for both in answers) == workers, json.dumps(answers)
        assert one.ask("/readyz").text == "ok\n"
        text = one.ask("/explain/low").text
        assert text.startswith("low: "), text
        assert "slots of 2 workers that report" in text
        assert {line.split(":")[0] for line in one.ask("/explain").text.splitlines()} >= {
            *("high", "default", "low", "secure")
        }
        metrics = one.ask("/metrics").text
        for name in ("slots_needed", "arrivals_per_second", "mean_runtime_seconds"):
            assert f'laneway_{name}{{queue="low"}}' in metrics
        assert 'laneway_scaler_known{queue="low"} 1.0' in metrics
        wrong = one.ask("/scale/lwo")
        assert (wrong.status_code, wrong.json()["known"]) == (404, False)
        assert "did you mean 'low'" in wrong.text.lower()


def test_jobs_whose_delay_ended_arrive_though_nobody_published_them(
    topology: BrokerAddress,
) -> None:
    """The broker's counter of publishes knows nothing of them."""
    app = make_app(topology)
    with Scaler(topology) as scaler:
        scaler.becomes("low")
        assert scaler.scale("low")["arrivals_per_second"] == 0
        for _ in range(40):
            app.send_task("plain.sleep", [0], queue="low", countdown=1)
        scaler.shows("low", backlog=40)
        # The broker's statistics come later than the jobs.
        until = time.monotonic() + WINDOW / 2
        while (said := scaler.scale("low"))["arrivals_per_second"] < 0.8 * 40 / WINDOW:
            assert time.monotonic() < until, said
            time.sleep(0.2)
        assert said["arrivals_per_second"] < 2 * 40 / WINDOW


def test_a_backlog_without_workers_is_the_expected_runtime(topology: BrokerAddress) -> None:
    app = make_app(topology)
    with Scaler(topology) as scaler:
        for _ in range(30):
            app.send_task("plain.sleep", [0.1], queue="high")
        scaler.becomes("high")
        said = scaler.shows("high", backlog=30)
        assert (said["runtime_seconds"], said["workers_reporting"], said["busy"]) == (1, 0, 0)
        assert said["slots"] >= 30 * 1 / app.policy.queue("high").drain
        assert "expected_runtime = 1s of its file is taken" in said["reason"]
        assert "no worker takes jobs" in said["reason"]


def test_a_paused_queue_asks_for_nobody(topology: BrokerAddress) -> None:
    app = make_app(topology)
    pause_queue(topology, app.policy, "low")
    try:
        with Scaler(topology) as scaler:
            scaler.becomes("low")
            for _ in range(30):
                app.send_task("plain.add", [1, 2], queue="low")
            until = time.monotonic() + PATIENCE
            while "the 30 jobs that wait are not counted" not in scaler.scale("low")["reason"]:
                assert time.monotonic() < until, scaler.scale("low")
                time.sleep(0.2)
            assert scaler.scale("low")["backlog"] == 0
    finally:
        resume_queue(topology, app.policy, "low")


def test_explaining_without_a_control_process(topology: BrokerAddress) -> None:
    command = [sys.executable, "-m", "laneway", "scaling", "explain"]
    run = partial(subprocess.run, check=False, capture_output=True, timeout=60, text=True)
    done = run([*command, "low", "--json"], env=fast(topology))
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["queue"], said["slots"], said["workers"]) == ("low", 0, 1)
    away = fast(topology, LANEWAY_MANAGEMENT_URL="http://127.0.0.1:1")
    done = run(command, env=away)
    assert done.returncode == 6, done.stderr
    assert done.stdout.startswith("default: unknown")
    assert "the management interface at http://127.0.0.1:1" in done.stdout


def test_workers_in_the_middle_of_long_jobs_still_report(
    topology: BrokerAddress, tmp_path: Path
) -> None:
    app, end = make_app(topology), tmp_path / "end"
    pools = {"high": ("prefork", "direct"), "low": ("threads", "solo")}
    with (
        kombu.Connection(topology.kombu_urls("jobs")) as connection,
        Scaler(topology) as scaler,
        ExitStack() as stack,
    ):
        workers = []
        for queue, names in pools.items():
            for pool in names:
                options = ("--pool", pool, "--concurrency", "1")
                workers.append(stack.enter_context(WorkerProcess(queue, fast(topology), *options)))
                app.send_task("plain.hold", [str(end)], queue=queue)
        for worker in workers:
            worker.wait_for("started")
        for queue in pools:
            scaler.becomes(queue)
        # For longer than what a worker said once is believed.
        until = time.monotonic() + 8
        while time.monotonic() < until:
            for queue in pools:
                said = scaler.shows(queue, busy=2, workers_reporting=2)
                assert said["slots"] >= 2
            time.sleep(0.5)
        for queue in pools:
            assert scaler.scale(queue)["runtime_seconds"] > 5
        channel: Any = connection.default_channel
        channel.queue_declare("heard", exclusive=True)
        channel.queue_bind("heard", REPORTS_EXCHANGE, "")
        end.touch()
        for queue in pools:
            scaler.shows(queue, busy=0)
        # One that stops says so, and is not waited for.
        for worker in workers:
            worker.stop()
        left = set()
        while message := channel.basic_get("heard", no_ack=True):
            body = message.body
            heard = read_report(body if isinstance(body, bytes) else body.encode())
            if heard is not None and heard.leaving:
                left.add(heard.worker)
        assert len(left) == 4


def test_without_the_management_interface_nothing_is_known(topology: BrokerAddress) -> None:
    assert topology.management_url
    url = urlsplit(topology.management_url)
    assert url.port
    with Proxy("127.0.0.1", url.port) as proxy:
        place = url._replace(netloc=f"{url.username}:{url.password}@127.0.0.1:{proxy.port}")
        with Scaler(topology, LANEWAY_MANAGEMENT_URL=urlunsplit(place)) as scaler:
            scaler.becomes("low")
            proxy.refuse()
            said = scaler.becomes("low", known=False)
            assert "the management interface at" in said["reason"]
            assert 'laneway_scaler_known{queue="low"} 0.0' in scaler.ask("/metrics").text
            assert 'laneway_slots_needed{queue="low"}' not in scaler.ask("/metrics").text
            assert scaler.ask("/readyz").text == "ok\n"
            proxy.accept()
            scaler.becomes("low", within=WINDOW)


@pytest.fixture(scope="module")
def own_broker(
    run_directory: RunDirectory, broker: TestBroker
) -> Iterator[tuple[PrivateRabbitMQ, BrokerAddress]]:
    """A broker for those who treat it badly, as it was after each of them."""
    if broker.profile.name != "4.3":
        pytest.skip("it is a RabbitMQ 4.3 (make test-broker43)")
    with start_rabbitmq(run_directory, series="4.3") as server:
        address = broker_address(server.url, server.management_url, vhost_prefix="", env={})
        apply_policy(address)
        yield server, address


@pytest.mark.broker43
def test_a_broker_that_dies_is_unknown_and_known_again_within_a_window(
    own_broker: tuple[PrivateRabbitMQ, BrokerAddress],
) -> None:
    server, address = own_broker
    app = make_app(address)
    with Scaler(address) as scaler, WorkerProcess("low", fast(address)):
        scaler.becomes("low")
        server.end(crash=True)
        scaler.becomes("low", known=False, within=5)
        for _ in range(20):
            assert not scaler.scale("low")["known"]
            time.sleep(0.1)
        server.begin()
        answered = time.monotonic()
        app.send_task("plain.sleep", [0], queue="low")
        said = scaler.becomes("low", within=WINDOW + 15)
        print(f"known {time.monotonic() - answered:.1f} s after the broker was back")
        assert said["slots"] < 5


def test_workers_go_on_where_nobody_can_hear_them(topology: BrokerAddress, tmp_path: Path) -> None:
    app = make_app(topology)
    with kombu.Connection(topology.kombu_urls("jobs")) as connection:
        channel: Any = connection.default_channel
        with Scaler(topology) as scaler, WorkerProcess("low", fast(topology)) as worker:
            scaler.becomes("low")
            channel.exchange_delete(REPORTS_EXCHANGE)
            said = scaler.becomes("low", known=False)
            assert "no worker reports" in said["reason"]
            app.send_task("plain.add", [1, 2], queue="low")
            worker.wait_for("succeeded")
            said_it = [line for line in worker.lines if "is not reported to the scaler" in line]
            assert len(said_it) == 1, worker.tail()
            pause_queue(topology, app.policy, "low")
            worker.wait_for("paused")
            resume_queue(topology, app.policy, "low")
            worker.wait_for("resumed")
            # One that starts without it says what to do, and the scaler too.
            with (
                Scaler(topology) as later,
                WorkerProcess("low", fast(topology)) as another,
            ):
                # (Told by a thread, which may begin after the worker is ready.)
                until = time.monotonic() + PATIENCE
                while "laneway topology apply" not in "".join(another.lines):
                    assert time.monotonic() < until, "".join(another.lines)
                    time.sleep(0.1)
                reason = later.becomes("low", known=False)["reason"]
                assert "laneway topology apply" in reason or "yet" in reason
            apply_policy(topology)


@pytest.mark.broker43
def test_a_pause_ends_while_the_brokers_alarm_is_on(
    own_broker: tuple[PrivateRabbitMQ, BrokerAddress],
) -> None:
    """Reports are publishes, and the broker stops to read what publishes during an alarm."""
    server, address = own_broker
    app = make_app(address)
    with WorkerProcess("low", fast(address)) as worker:
        job = app.send_task("plain.add", [1, 2], queue="low")
        worker.wait_for("succeeded", task_id=job.id)
        pause_queue(address, app.policy, "low")
        worker.wait_for("paused")
        server.ctl("set_vm_memory_high_watermark", "absolute", "1MB")
        try:
            time.sleep(5)
            resume_queue(address, app.policy, "low")
            worker.wait_for("resumed", timeout=10)
        finally:
            server.ctl("set_vm_memory_high_watermark", "absolute", "1GB")


def test_least_rights_are_enough(topology: BrokerAddress, broker: TestBroker) -> None:
    """A worker may write to the exchange, a control process read what comes; neither more."""
    assert broker.private
    ctl, vhost = broker.private.ctl, topology.vhost("jobs")
    for user, rights in {
        "reporter": ("^$", r"^worker\.reports$", "^$"),
        "listener": (r"^worker\.reports\..*$", r"^worker\.reports\..*$", r"^worker\.reports.*$"),
        "looker": ("^$", "^$", "^$"),
    }.items():
        ctl("add_user", user, "secret")
        ctl("set_permissions", "-p", vhost, user, *rights)
    ctl("set_user_tags", "looker", "management")
    try:
        assert topology.management_url
        looker = topology.management_url.rpartition("@")[2]
        address = BrokerAddress(
            urls=elsewhere(topology, user="listener", password="secret").urls,
            management_url=f"http://looker:secret@{looker}",
            vhost_prefix=topology.vhost_prefix,
        )
        policy = load_policy(POLICY)
        stop = threading.Event()
        pace = Pace(window=WINDOW, every=1)
        loads = {name: QueueLoad(q, pace) for name, q in policy.vhost_queues("jobs").items()}
        watch = ScalerWatch(address, "jobs", loads, lock=threading.Lock(), pace=pace, stop=stop)
        thread = threading.Thread(target=watch.run)
        thread.start()
        try:
            with kombu.Connection(
                elsewhere(topology, user="reporter", password="secret").kombu_urls("jobs")
            ) as connection:
                channel: Any = connection.default_channel
                channel.exchange_declare(REPORTS_EXCHANGE, "fanout", passive=True)
                until = time.monotonic() + PATIENCE
                while not isinstance(answer := loads["low"].answer(time.monotonic()), Known):
                    assert time.monotonic() < until, answer
                    message = channel.prepare_message(report("low").encode())
                    channel.basic_publish(message, REPORTS_EXCHANGE, "")
                    time.sleep(0.5)
                assert answer.reporting == 1
        finally:
            stop.set()
            thread.join(10)
    finally:
        for user in ("reporter", "listener", "looker"):
            ctl("delete_user", user)


def report(queue: str) -> Report:
    return Report(
        queue=queue,
        worker=f"{queue}@test",
        run="1",
        up=1.0,
        every=1.0,
        concurrency=1,
        consumers=0,
        busy=1,
        running_for=0.5,
        ended=0,
        runtime=0.0,
        started=0,
        wait=0.0,
        waits=(),
        leaving=False,
    )
