"""``laneway outbox``: the relay as an operator runs it, and a look into the table."""

from __future__ import annotations

import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from laneway.outbox import Spool
from laneway.outbox.row import TABLE
from support.brokers import depth
from support.cli import LANEWAY, Cli
from support.workers import environment, make_app

if TYPE_CHECKING:
    from pathlib import Path

    from laneway.broker import BrokerAddress

pytestmark = pytest.mark.integration


@pytest.fixture
def spool(topology: BrokerAddress, tmp_path: Path) -> Spool:
    return Spool(make_app(topology), tmp_path / "spool.db")


def fill(spool: Spool, *numbers: int) -> None:
    with spool.collect():
        for number in numbers:
            spool._app.send_task("plain.add", (number, "the-argument"))


def cli_of(topology: BrokerAddress, tmp_path: Path) -> Cli:
    url = f"sqlite:///{tmp_path}/spool.db"
    env = environment(topology, "disabled://", LANEWAY_OUTBOX_URL=url)
    return Cli(tmp_path, **{k: v for k, v in env.items() if k.startswith("LANEWAY_")})


def start_relay(cli: Cli, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(LANEWAY), "outbox", "relay", "--log", "json", *options],
        env=dict(cli.environment), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def end(relay: subprocess.Popen[str], number: int) -> tuple[int, str]:
    relay.send_signal(number)
    _, said = relay.communicate(timeout=30)
    return relay.returncode, said


def wait_for(topology: BrokerAddress, least: int, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while depth(topology, "default") < least:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_the_relay_ends_cleanly(topology: BrokerAddress, spool: Spool, tmp_path: Path) -> None:
    cli = cli_of(topology, tmp_path)
    fill(spool, *range(10))
    relay = start_relay(cli)
    try:
        wait_for(topology, 10)
        fill(spool, *range(5))
        wait_for(topology, 15)
    finally:
        status, said = end(relay, signal.SIGTERM)
    assert status == 0
    assert said.count('"kind": "published"') == 15
    assert "the-argument" not in said
    assert spool.store.rows() == []


def test_relays_that_are_killed_lose_nothing(
    topology: BrokerAddress, spool: Spool, tmp_path: Path
) -> None:
    """kill -9 in the middle of work, three times; each may cost one batch twice."""
    cli = cli_of(topology, tmp_path)
    fill(spool, *range(3000))
    for least in (200, 900, 1600):
        relay = start_relay(cli, "--batch", "40")
        wait_for(topology, least)
        status, _ = end(relay, signal.SIGKILL)
        assert status == -signal.SIGKILL
    left = len(spool.store.rows(most=5000))
    assert left > 0
    with spool.store._database.transaction() as execute:
        held = execute(f"SELECT COUNT(*) FROM {TABLE} WHERE due_at > 0", {})[0][0]
        assert held <= 3 * 40
        execute(f"UPDATE {TABLE} SET due_at = 0", {})  # the leases are over
    done = cli("outbox", "relay", "--once")
    assert (done.status, done.out) == (0, f"{left} jobs published, 0 left\n")
    assert 3000 <= depth(topology, "default") <= 3000 + 3 * 40


def test_a_look_into_the_table(topology: BrokerAddress, spool: Spool, tmp_path: Path) -> None:
    cli = cli_of(topology, tmp_path)
    fill(spool, 1, 2, 3)
    first, second, _ = spool.store.rows()
    spool.store.lease("me", 60, 2)
    spool.store.refused("me", [first.id], "Unroutable: no binding", wait=0, aside=True)
    spool.store.refused("me", [second.id], "QueueFull: full", wait=60, aside=False)
    status = cli("outbox", "status", "--json")
    assert status.status == 1
    [count] = status.json["queues"]
    assert (count["queue"], count["waiting"], count["aside"]) == ("default", 2, 1)
    assert "default" in cli("outbox", "status").out
    listed = cli("outbox", "list", "--json")
    assert [row["attempts"] for row in listed.json["rows"]] == [1, 1, 0]
    assert listed.json["rows"][0]["last_error"] == "Unroutable: no binding"
    wide = cli.having(COLUMNS="300")
    table = wide("outbox", "list").out
    assert "aside" in table
    assert "again in" in table
    assert "plain.add" in table
    assert "the-argument" not in table + listed.out
    [only] = cli("outbox", "list", "--aside", "--json").json["rows"]
    assert only["id"] == first.id
    page = cli("outbox", "list", "--limit", "2")
    assert f"more: --after {second.id}" in page.err
    assert cli("outbox", "retry").status == 2
    assert cli("outbox", "retry", "--all").out == "1 jobs will be tried again\n"
    gone = cli("outbox", "discard", str(second.id), "99", "--yes")
    assert (gone.status, gone.out) == (1, "1 jobs deleted\n")
    assert "1 of these rows are not there" in gone.err
    assert len(spool.store.rows()) == 2


def test_what_is_missing_is_said(topology: BrokerAddress, tmp_path: Path) -> None:
    cli = cli_of(topology, tmp_path)
    no_table = cli("outbox", "relay", "--once")
    assert no_table.status == 5
    assert "laneway outbox create" in no_table.err
    assert cli("outbox", "create").status == 0
    assert cli("outbox", "relay", "--once").out == "0 jobs published, 0 left\n"
    short = cli("outbox", "relay", "--lease", "5")
    assert short.status == 2
    assert "more than two publish deadlines" in short.err
    nowhere = cli.having(LANEWAY_OUTBOX_URL="")("outbox", "status")
    assert nowhere.status == 4
    assert "expected LANEWAY_OUTBOX_URL" in nowhere.err
    secret = cli.having(LANEWAY_OUTBOX_URL="postgresql+psycopg://u:geheim@127.0.0.1:1/x")
    away = secret("outbox", "status")
    assert away.status == 5
    assert "geheim" not in away.err + away.out
