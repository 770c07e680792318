"""Every block of docs/how-to/triage.md runs, with what a real event says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, get_args

import pytest

from laneway.deadletter.letter import Outcome
from support.faults import APP, POLICY
from support.how_to import blocks, run_sh, text_of
from support.letter_stream import letters
from support.topology import apply_policy
from support.workers import WorkerProcess, environment, make_app

if TYPE_CHECKING:
    from pathlib import Path

    from laneway.broker import BrokerAddress
    from laneway.local import PrivateRedis
    from support.envelopes import EnvelopeSink

pytestmark = pytest.mark.integration

TEXT = text_of("triage")
JOBS = 12


@pytest.mark.broker43
def test_the_runbook_runs_from_top_to_bottom(
    address: BrokerAddress, redis: PrivateRedis, sink: EnvelopeSink, tmp_path: Path
) -> None:
    apply_policy(address, POLICY)
    app = make_app(address, redis.url, POLICY)
    env = environment(address, redis.url, POLICY, LANEWAY_SENTRY_DSN=sink.dsn())
    prices = tmp_path / "prices"
    with WorkerProcess("default", env, app=APP):
        jobs = {str(app.send_task("faults.until", (str(prices),)).id) for _ in range(JOBS)}
        letters(address, jobs.__contains__, JOBS)
        event = sink.wait_for("event")[0]
        prices.touch()
        variables = {
            **env,
            "LANEWAY_HOME": str(tmp_path),
            "LETTER": event["contexts"]["job"]["letter"],
            "CAUSE": event["tags"]["cause"],
        }
        sheet, stats, replay, states = run_sh(blocks(TEXT, "sh"), variables)
    assert "the table of prices" in sheet
    assert event["contexts"]["job"]["replay"] in sheet
    assert event["tags"]["cause"] in stats
    assert f"{JOBS} of {JOBS} letters would be replayed" in replay
    assert f"{JOBS} of {JOBS} letters replayed" in replay
    assert "resolved" in states


def test_every_outcome_has_its_line() -> None:
    said = set(re.findall(r"^\| `([a-z-]+)`", TEXT, re.MULTILINE))
    # ("refused" is the secure queue's own gate, which is not there yet.)
    assert said - {"outcome"} == set(get_args(Outcome)) - {"refused"}
