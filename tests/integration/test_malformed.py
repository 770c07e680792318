"""Whatever comes from the wire: each is quarantined exactly once, and the jobs between them run.

``pytest --malformed 12500`` sends so many to each pool.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from laneway.publish.frames import Publish, publish_method
from support.brokers import depth
from support.letter_stream import letters
from support.malformed import Malformed, is_quarantined, messages
from support.tasks import app as known
from support.topology import apply_policy
from support.workers import WorkerProcess, environment, make_app

if TYPE_CHECKING:
    from pathlib import Path

    from laneway.broker import BrokerAddress
    from laneway.local import PrivateRedis

pytestmark = [pytest.mark.integration, pytest.mark.slow]

#: Messages of one batch; a job goes before, among and behind them.
BATCH = 125
QUEUE = """summary = "whatever comes"
service_level = "1s"

[worker]
concurrency = {concurrency}
unknown_task_grace = "0s"
"""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("pool", ["prefork", "direct", "threads", "solo"])
def test_whatever_comes_is_quarantined_once(
    address: BrokerAddress,
    redis: PrivateRedis,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    pool: str,
) -> None:
    concurrency = 1 if pool == "solo" else 2
    (tmp_path / "queues").mkdir()
    (tmp_path / "routing.py").write_text("ROUTES = []\n")
    (tmp_path / "queues/default.toml").write_text(QUEUE.format(concurrency=concurrency))
    apply_policy(address, tmp_path)
    producer = make_app(address, redis.url, tmp_path)
    method = publish_method("jobs", "default")
    sent: Counter[bytes] = Counter()
    ran = 0

    waiting: list[Malformed] = []

    def flush() -> None:
        nonlocal ran
        sent.update(message.mark for message in waiting)
        with producer.batch() as batch:
            for number, message in enumerate(waiting):
                publish = Publish(method, message.properties, message.body)
                batch.add("jobs", str(uuid.uuid4()), "malformed", "default", 0, publish)
                if number == len(waiting) // 2:
                    producer.send_task("plain.add", (1, 1), ignore_result=True)
        waiting.clear()
        assert producer.send_task("plain.add", (ran, 1)).get(timeout=120) == ran + 1
        ran += 2

    @settings(
        max_examples=request.config.getoption("--malformed"),
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(message=messages())
    def send(message: Malformed) -> None:
        if is_quarantined(message, known.tasks):
            waiting.append(message)
        if len(waiting) == BATCH:
            flush()

    env = environment(address, redis.url, tmp_path)
    with WorkerProcess("default", env, "--pool", pool) as worker:
        send()
        if waiting:
            flush()
        total = sent.total()
        worker.wait_for("dead_lettered", total, timeout=300)
        # (A result can be read before its fact is.)
        assert len(worker.wait_for("succeeded", ran)) == ran
        assert worker.process.poll() is None
        time.sleep(1)
        assert len(worker.of("quarantined")) == len(worker.of("dead_lettered")) == total
        assert worker.stop() == 0
    assert depth(address, "default") == depth(address, "dead.inbox") == 0
    found = Counter(
        Malformed(letter.original.properties, letter.original.body).mark
        for letter in letters(address, lambda _: True, total)
        if letter.original is not None and letter.outcome == "quarantined"
    )
    assert found == sent
    print(f"{pool}: {total} malformed messages of {len(sent)} kinds, {ran} jobs among them")
