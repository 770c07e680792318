"""What is left on the broker is found, wherever it is."""

from __future__ import annotations

import json
from dataclasses import replace

import amqp
import pytest

from chaos.remains import take_everything
from chaos.stage import Stage
from chaos.systems import SYSTEMS
from laneway.deadletter import envelope
from laneway.deadletter.letter import Letter, Original
from laneway.local import RunDirectory
from laneway.local.broker43 import is_installed

pytestmark = [
    pytest.mark.alone,
    pytest.mark.slow,
    pytest.mark.skipif(not is_installed(), reason="no RabbitMQ 4.3 (make broker43)"),
]


def job(number: int) -> bytes:
    return json.dumps([[number, 0, 0, 0, 0], {}, {"chain": None}]).encode()


def test_waiting_jobs_and_dead_letters_of_every_place_are_found() -> None:
    letter = Letter(
        id="a.0",
        queue="low",
        outcome="failed",
        cause="c",
        at=0.0,
        by="worker",
        original=Original(exchange="jobs", routing_key="low", properties=b"", body=job(3)),
    )
    left = {
        "low": job(1),
        "dead.inbox": job(2),
        "dead.letters": envelope.encode(letter),
        # What was done with letters is not about jobs.
        "dead.audit": job(4),
    }
    system = replace(SYSTEMS["laneway"], workers=(), order_workers=())
    with RunDirectory.create() as run, Stage(run, system) as stage:
        with stage.channel() as channel:
            channel.confirm_select()
            for queue, body in left.items():
                channel.basic_publish_confirm(amqp.Message(body), routing_key=queue)

        queued, dead = take_everything(stage)

        assert (dict(queued), dict(dead)) == ({1: 1}, {2: 1, 3: 1})
