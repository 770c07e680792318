"""Replays on a real broker: as they were, watched, by one operator at a time, with an audit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

import laneway
from laneway.broker.management import Management
from laneway.deadletter import DeadLetters, Edit, ReplayOptions, Selection
from laneway.deadletter.lock import Lock
from laneway.deadletter.state import new_job_id
from support.brokers import depth, jobs, room_for
from support.cli import LANEWAY
from support.letters import PlayedWorker, letter, post_many, states
from support.workers import environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from laneway import Laneway

pytestmark = pytest.mark.integration


def retried(act: Callable[[], Any]) -> Any:
    """What it gives once the lock of somebody who was killed is gone."""
    until = time.monotonic() + 20
    while True:
        try:
            return act()
        except laneway.LettersLocked:
            assert time.monotonic() < until
            time.sleep(0.1)


# Replaying


def test_a_replayed_job_is_the_original(app: Laneway, letters: DeadLetters) -> None:
    post_many(app, [letter("a"), letter("b", 1)])
    post_many(app, [letter("v", queue="secure")], "secure")
    facts: list[laneway.Fact] = []
    app.facts.listen(facts.append)
    account = letters.replay(Selection(), ReplayOptions(reason="INC-7", by="ada@desk"))
    assert (account.selected, account.replayed, account.stopped) == (3, 3, None)
    [first, second] = jobs(app)
    original = letter("a").original
    assert original is not None
    assert first.body.encode() == original.body
    assert first.properties["priority"] == 7
    assert first.headers["laneway_replays"] == 1
    assert second.headers["laneway_replays"] == 2
    [vault] = jobs(app, "secure", "secure")
    assert vault.headers["id"] == "v"
    assert set(states(letters).values()) == {"replayed"}
    [event] = letters.get("a").history
    assert (event.verb, event.by, event.reason) == ("replayed", "ada@desk", "INC-7")
    assert event.run == account.run
    told = [(fact.kind, fact.letter, fact.queue) for fact in facts]
    assert sorted(told) == [
        ("replayed", "a.0", "default"),
        ("replayed", "b.1", "default"),
        ("replayed", "v.0", "secure"),
    ]
    assert letters.replay(Selection()).selected == 0, "what was replayed is not open"


def test_a_dry_run_does_nothing(app: Laneway, letters: DeadLetters) -> None:
    post_many(app, [letter("a"), letter("b", 3), letter("c", original=None)])
    account = letters.replay(Selection(), ReplayOptions(dry_run=True))
    assert (account.selected, account.replayed, sum(account.left.values())) == (3, 1, 2)
    assert letters.discard(Selection(), dry_run=True).discarded == 3
    assert jobs(app) == []
    assert set(states(letters).values()) == {"open"}


def test_what_cannot_be_replayed_is_left_alone_and_counted(
    app: Laneway, letters: DeadLetters, make_policy: Any
) -> None:
    post_many(app, [letter("good"), letter("loop", 3), letter("bare", original=None)])
    post_many(app, [letter("moved", queue="high")])
    original = letter("x").original
    assert original is not None
    broken = type(original)(exchange="", routing_key="", properties=b"\1", body=b"")
    post_many(app, [letter("broken", original=broken)])
    app.policy = make_policy()
    account = letters.replay(Selection())
    assert account.replayed == 1
    reasons = "\n".join(account.left)
    for expected in ("no queue 'high'", "replayed 3 times", "not there", "cannot be read"):
        assert expected in reasons
    found = states(letters)
    assert found["good.0"] == "replayed"
    assert {found[one] for one in ("loop.3", "bare.0", "moved.0", "broken.0")} == {"open"}


def test_the_first_few_decide(app: Laneway, letters: DeadLetters) -> None:
    post_many(app, (letter(f"job-{n:02}") for n in range(40)))
    with PlayedWorker(app) as worker:
        account = letters.replay(Selection(), ReplayOptions(first=5, wait=30))
        assert (account.replayed, account.succeeded, account.stopped) == (40, 5, None)
        until = time.monotonic() + 20
        while letters.count(Selection(states=("resolved",))) < 40:
            assert time.monotonic() < until
            time.sleep(0.1)
    assert worker.taken[:5] == [f"job-{n:02}" for n in range(5)]


def test_one_of_the_first_that_fails_again_stops_it(app: Laneway, letters: DeadLetters) -> None:
    post_many(app, (letter(f"job-{n:02}") for n in range(40)))
    with PlayedWorker(app, succeeds=lambda id_: id_ != "job-03"):
        account = letters.replay(Selection(), ReplayOptions(first=5, wait=30))
    assert account.replayed == 5
    assert account.failed_again == 1
    assert account.stopped is not None
    assert "failed again" in account.stopped
    found = states(letters)
    assert found["job-03.0"] == "failed-again"
    assert found["job-03.1"] == "open"
    assert Counter(found.values())["open"] == 36


def test_first_ones_that_do_not_end_stop_it(app: Laneway, letters: DeadLetters) -> None:
    post_many(app, (letter(f"job-{n}") for n in range(4)))
    account = letters.replay(Selection(), ReplayOptions(first=2, wait=1))
    assert account.replayed == 2
    assert account.stopped == "2 of the first 2 did not end within 1 s"


def test_it_stops_by_itself_when_jobs_fail_again(
    app: Laneway, letters: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("laneway.deadletter.replay._LOOK_SECONDS", 0.2)
    post_many(app, (letter(f"job-{n:03}") for n in range(400)))
    with PlayedWorker(app, succeeds=lambda _id: False):
        account = letters.replay(Selection(), ReplayOptions(rate=100))
    assert account.stopped is not None
    assert "more than 10%" in account.stopped
    assert 20 <= account.replayed < 300


def test_the_pace_is_kept(app: Laneway, letters: DeadLetters) -> None:
    post_many(app, (letter(f"job-{n}") for n in range(20)))
    started = time.monotonic()
    assert letters.replay(Selection(), ReplayOptions(rate=20)).replayed == 20
    assert 0.9 <= time.monotonic() - started < 6


def test_under_a_new_id_the_letter_still_knows_its_end(app: Laneway, letters: DeadLetters) -> None:
    post_many(app, [letter("good"), letter("bad")])
    with PlayedWorker(app, succeeds=lambda id_: id_ == new_job_id("good.0")) as worker:
        account = letters.replay(Selection(), ReplayOptions(new_ids=True, first=2, wait=30))
    assert set(worker.taken) == {new_job_id("good.0"), new_job_id("bad.0")}
    assert (account.failed_again, account.stopped is None) == (1, False)
    assert states(letters)["bad.0"] == "failed-again"
    assert states(letters)[f"{new_job_id('bad.0')}.1"] == "open"


def test_edited_arguments_arrive(app: Laneway, letters: DeadLetters) -> None:
    post_many(app, [letter("a")])
    letters.replay(Selection(), ReplayOptions(edit=Edit(kwargs={"order": 8})))
    [job] = jobs(app)
    assert json.loads(job.body)[:2] == [[1, 2], {"order": 8}]


def test_a_full_queue_is_waited_for(app: Laneway, letters: DeadLetters) -> None:
    post_many(app, (letter(f"job-{n:03}") for n in range(300)))
    said: list[str] = []
    with room_for(app.address, "default", 10):
        workers: list[PlayedWorker] = []

        def say(line: str) -> None:
            said.append(line)
            if not workers:
                workers.append(PlayedWorker(app))
                workers[0].start()

        account = letters.replay(Selection(), say=say)
        until = time.monotonic() + 30
        while len(set(workers[0].taken)) < 300:
            assert time.monotonic() < until
            time.sleep(0.1)
        workers[0].__exit__()
    assert account.replayed == 300
    assert "full" in said[0]


def test_a_queue_that_is_gone_stops_it_and_what_was_sent_is_noted(
    app: Laneway, letters: DeadLetters
) -> None:
    post_many(app, [letter("a"), letter("b", queue="high")])
    with Management(app.address) as management:
        management.delete_queue(app.address.vhost("jobs"), "high")
    with pytest.raises(laneway.Unroutable):
        letters.replay(Selection())
    assert states(letters) == {"a.0": "replayed", "b.0": "open"}


# Two operators, and one who is killed


def cli(app: Laneway, home: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(LANEWAY), "dead", *arguments],
        env=environment(app.address, "disabled://", LANEWAY_HOME=str(home)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_second_operator_is_refused_and_told_who_it_is(
    app: Laneway, letters: DeadLetters, tmp_path: Path
) -> None:
    post_many(app, (letter(f"job-{n}") for n in range(10)))
    with Lock(app.address, "jobs", doing="replay", by="ada@desk") as lock:
        for refused in (letters.replay, letters.discard):
            with pytest.raises(laneway.LettersLocked, match=r"ada@desk \(replay\), since 20"):
                refused(Selection())
        answer = cli(app, tmp_path / "home", "replay", "--all", "--yes")
        _, err = answer.communicate(timeout=60)
        assert answer.returncode == 4
        assert "ada@desk" in err
        # Looking needs no lock.
        assert len(letters.list().letters) == 10
        lock.check()
    assert jobs(app) == []
    assert letters.replay(Selection()).replayed == 10


def test_the_lock_ends_with_its_holder_however_that_ends(
    app: Laneway, letters: DeadLetters, tmp_path: Path
) -> None:
    post_many(app, (letter(f"job-{n}") for n in range(100)))
    holder = cli(app, tmp_path / "home", "replay", "--all", "--yes", "--rate", "2/s")
    try:
        until = time.monotonic() + 60
        while depth(app.address, "default") < 2:
            assert time.monotonic() < until
            time.sleep(0.1)
        with pytest.raises(laneway.LettersLocked, match="replay"):
            letters.discard(Selection())
    finally:
        holder.kill()
        holder.communicate()
    assert retried(lambda: letters.discard(Selection())).discarded > 0


def test_killed_in_the_middle_no_letter_is_lost(
    app: Laneway, letters: DeadLetters, tmp_path: Path
) -> None:
    count = 6000
    post_many(app, (letter(f"job-{n}") for n in range(count)))
    assert letters.count() == count
    killed = cli(app, tmp_path / "home", "replay", "--all", "--yes")
    until = time.monotonic() + 60
    while depth(app.address, "default") < 700:
        assert killed.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < until
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    before = depth(app.address, "default")
    assert before < count
    account = retried(lambda: letters.replay(Selection()))
    assert account.stopped is None
    published = Counter(job.headers["id"] for job in jobs(app))
    assert set(published) == {f"job-{n}" for n in range(count)}
    twice = sum(published.values()) - count
    assert 0 <= twice <= 500
    assert twice == before + account.replayed - count
    assert set(states(letters).values()) == {"replayed"}
