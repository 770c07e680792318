"""From the issue back to the letters: the command that an event shows does what it says."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING

import pytest

from support.cli import Cli
from support.faults import APP, POLICY
from support.letter_stream import entries, letters
from support.topology import apply_policy
from support.workers import ControlProcess, WorkerProcess, environment, make_app

if TYPE_CHECKING:
    from pathlib import Path

    from laneway.broker import BrokerAddress
    from laneway.local import PrivateRedis
    from support.findings import Findings

pytestmark = [pytest.mark.integration, pytest.mark.broker43]

JOBS = 5


@pytest.mark.parametrize("pool", ["direct"])
def test_the_command_of_an_issue_repairs_it(
    pool: str, address: BrokerAddress, redis: PrivateRedis, findings: Findings, tmp_path: Path
) -> None:
    apply_policy(address, POLICY)
    app = make_app(address, redis.url, POLICY)
    env = environment(address, redis.url, POLICY, LANEWAY_SENTRY_DSN=findings.dsn)
    shell = Cli(tmp_path / "home", **{k: v for k, v in env.items() if k.startswith("LANEWAY_")})
    prices = tmp_path / "prices"
    with (
        ControlProcess(env) as control,
        WorkerProcess("default", env, "--pool", pool, app=APP) as worker,
    ):
        jobs = [app.send_task("faults.until", (str(prices),)) for _ in range(JOBS)]
        ids = {str(job.id) for job in jobs}
        found = letters(address, ids.__contains__, JOBS)

        # What an SRE sees.
        seen = findings.wait_for(1)
        [issue] = findings.issues
        assert issue.type == "FileNotFoundError"
        job = seen[0].contexts["job"]
        assert {event.tags["cause"] for event in seen} == {letter.cause for letter in found}

        # And types: first what it is.
        program, *command = shlex.split(job["show"])
        assert program == "laneway"
        sheet = shell(*command)
        assert sheet.status == 0, sheet.err
        assert "the table of prices" in sheet.out
        assert job["letter"] in sheet.out

        # Then, once it is repaired, what brings the jobs back.
        _, *command = shlex.split(job["replay"])
        prices.touch()
        answer = shell(*command, stdin="y\n")
        assert answer.status == 0, answer.err
        for job_of_ours in jobs:
            assert job_of_ours.get(timeout=30) == "charged"
        worker.wait_for("resolved", JOBS)

        before = len(findings.events)
        time.sleep(2)
        assert worker.stop() == 0, worker.tail()
        assert control.stop() == 0, control.tail()
    # (Not each of them is an event of its own: what was held back is told when the worker leaves.)
    after = findings.events
    assert len([e for e in after if "letter" in e.contexts["job"]]) <= before
    told = sum(
        int("letter" in e.contexts["job"]) + int(e.contexts["job"].get("held_back") or 0)
        for e in after
    )
    assert told == JOBS
    assert {entry.verb for entry in entries(address)} >= {"replayed", "resolved"}
    answer = shell("dead", "list", "--cause", found[0].cause, "--json")
    assert answer.json["letters"] == []
