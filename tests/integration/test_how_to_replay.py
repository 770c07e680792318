"""Every block of docs/how-to/replay.md runs, and does what the words around it say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from laneway.deadletter import DeadLetters, Selection
from laneway.deadletter.state import STATES
from support.how_to import blocks, promised, run_python, run_sh, text_of
from support.letters import PlayedWorker, letter, post_many
from support.topology import apply_policy
from support.workers import environment, make_app

if TYPE_CHECKING:
    from pathlib import Path

    from laneway.broker import BrokerAddress

pytestmark = pytest.mark.integration

TEXT = text_of("replay")


def test_the_runbook_runs_from_top_to_bottom(address: BrokerAddress, tmp_path: Path) -> None:
    apply_policy(address)
    app = make_app(address)
    failed = [letter(f"job-{n:02}", at=1000.0 + n) for n in range(25)]
    # One is left for the discard: the message is not there.
    bare = letter("bare", original=None, at=999.0)
    post_many(app, [*failed, bare, letter("other", task="plain.fail")])
    variables = environment(
        address,
        "disabled://",
        LANEWAY_HOME=str(tmp_path),
        CAUSE=failed[0].cause,
    )
    with PlayedWorker(app) as worker:
        stats, one, dry, replay, states, discard, edited = run_sh(blocks(TEXT, "sh"), variables)
    assert failed[0].cause in stats
    assert "no funds" in one
    assert f"laneway dead replay --cause {failed[0].cause} --first 10" in one
    assert "25 of 26 letters would be replayed" in dry
    assert "25 of 26 letters replayed" in replay
    assert "of the first ones 10 succeeded" in replay
    assert "resolved" in states
    assert "1 letter discarded" in discard
    assert "1 of 1 letter replayed" in edited
    assert len(worker.taken) == 26
    with DeadLetters(app, folder=tmp_path / "dead") as letters:
        assert letters.get("bare").history[0].reason == "INC-7: paid by hand"
        assert letters.count(Selection(states=STATES)) == 27


def test_the_python_block_runs(address: BrokerAddress, tmp_path: Path) -> None:
    apply_policy(address)
    app = make_app(address)
    post_many(app, (letter(f"job-{n}", queue="low") for n in range(3)))
    [block] = blocks(TEXT, "python")
    assert len(promised(block)) == 2
    script = f"from laneway import Laneway\napp = Laneway('shop')\n{block}"
    env = environment(address, "disabled://", LANEWAY_HOME=str(tmp_path))
    assert run_python(script, env) == promised(block)
