"""The count of open letters: by queue, incremental, and unknown rather than wrong."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from laneway.broker.address import BrokerAddress
from laneway.control.open_letters import EVERY, FIRST, IndexFolder, OpenLetters, counting
from laneway.deadletter.catch_up import catch_up
from laneway.deadletter.mailbox import Mailbox
from laneway.errors import BrokerUnreachable, DeadLetterError
from support.letters import letter
from support.played_stream import Streams

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import MakePolicy

ADDRESS = BrokerAddress(urls=("amqp://nobody@nowhere",), management_url=None, vhost_prefix="")


class App:
    """As much of an application as is asked for."""

    def __init__(self, policy: Any) -> None:
        self.policy = policy
        self.address = ADDRESS


class Played:
    """Two virtual hosts whose streams are in memory."""

    def __init__(self, app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.streams = {"jobs": Streams(), "secure": Streams()}
        self.fails: dict[str, Exception] = {}
        self.statements: list[str] = []
        self.folder = IndexFolder()
        self.letters = OpenLetters(app, ["jobs", "secure"], self.folder)
        played = self

        def refresh(mailbox: Mailbox) -> None:
            if mailbox.vhost in played.fails:
                raise played.fails[mailbox.vhost]
            mailbox._index.db.set_trace_callback(played.statements.append)
            catch_up(mailbox._index, played.streams[mailbox.vhost], mailbox._progress)

        monkeypatch.setattr(Mailbox, "refresh", refresh)

    def look(self) -> dict[str, int]:
        self.statements.clear()
        self.letters.look(threading.Event())
        return self.letters.by_queue()

    def counted(self) -> int:
        return len(self.counts())

    def counts(self) -> list[str]:
        """The questions of the last look that counted."""
        return [s for s in self.statements if s.startswith("SELECT queue, count(*)")]


@pytest.fixture
def played(make_policy: MakePolicy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Played]:
    monkeypatch.delenv("LANEWAY_HOME", raising=False)
    policy = make_policy(high="", low="", vault='[broker]\nvhost = "secure"\n')
    made = Played(App(policy), monkeypatch)
    yield made
    made.letters.close()
    made.folder.close()


def test_open_letters_are_counted_by_queue_zeros_too(played: Played) -> None:
    assert played.letters.by_queue() == {}, "nobody has looked"
    jobs, secure = played.streams["jobs"], played.streams["secure"]
    jobs.post(*(letter(f"job-{n}", queue="high" if n % 2 else "low") for n in range(10)))
    secure.post(letter("pay", queue="vault"))
    assert played.look() == {"default": 0, "high": 5, "low": 5, "vault": 1}


def test_what_was_decided_is_open_no_more_and_may_be_again(played: Played) -> None:
    jobs = played.streams["jobs"]
    jobs.post(*(letter(f"job-{n}", queue="high") for n in range(6)))
    assert played.look()["high"] == 6
    jobs.note("discarded", "job-0.0", "job-1.0")
    jobs.note("replayed", "job-2.0")
    assert played.look()["high"] == 3
    jobs.note("resolved", "job-2.0")
    assert played.look()["high"] == 3
    jobs.post(letter("job-3", queue="high"))
    assert played.look()["high"] == 3, "the same letter, reported twice"


def test_letters_of_no_queue_are_together(played: Played) -> None:
    """Who writes names of queues into messages makes no series of numbers of them."""
    played.streams["jobs"].post(
        letter("a", queue="gone"),
        letter("b", queue="x" * 80),
        letter("c", queue=""),
    )
    assert played.look() == {"default": 0, "high": 0, "low": 0, "vault": 0, "": 3}


def test_a_look_counts_only_if_something_was_new(played: Played) -> None:
    jobs = played.streams["jobs"]
    jobs.post(*(letter(f"job-{n}", queue="high") for n in range(50)))
    played.look()
    assert played.counted() == 2, "once in each virtual host"
    assert played.look()["high"] == 50
    assert played.counted() == 0
    jobs.note("discarded", "job-0.0")
    assert played.look()["high"] == 49
    assert played.counted() == 1


def test_open_letters_are_counted_out_of_a_lookup_of_their_own(played: Played) -> None:
    """Not out of the table, where a million rows are read from disk."""
    played.streams["jobs"].post(letter("a", queue="high"))
    played.look()
    [asked, _] = played.counts()
    rows = played.letters._mailboxes["jobs"]._index.rows(f"EXPLAIN QUERY PLAN {asked}")
    assert [row["detail"] for row in rows] == ["SCAN letters USING INDEX open_by_queue"]


def test_what_nobody_can_read_is_unknown(played: Played) -> None:
    for streams, queue in ((played.streams["jobs"], "low"), (played.streams["secure"], "vault")):
        streams.post(letter("a", queue=queue))
    assert played.look() == {"default": 0, "high": 0, "low": 1, "vault": 1}
    played.fails["jobs"] = BrokerUnreachable("nobody answers")
    assert played.look() == {"vault": 1}
    played.fails["jobs"] = DeadLetterError("no room")
    with pytest.raises(DeadLetterError):
        played.look()
    assert "low" not in played.letters.by_queue()
    del played.fails["jobs"]
    assert played.look()["low"] == 1


def test_it_ends_in_the_middle_when_told_to_stop(played: Played) -> None:
    played.streams["jobs"].post(letter("a", queue="low"))
    stop = threading.Event()
    stop.set()
    played.letters.look(stop)
    assert played.letters.by_queue() == {}
    assert played.look()["low"] == 1


def test_it_is_done_often_and_not_at_every_start(played: Played) -> None:
    now = time.monotonic()
    one = counting(played.letters)
    assert now + FIRST <= one.due < now + FIRST + 5
    calls: list[float] = []
    one.do = lambda _stop: calls.append(0.0)
    began = one.due - FIRST
    assert not one.look(lambda: began + FIRST - 1, threading.Event())
    assert one.look(lambda: began + FIRST, threading.Event())
    assert one.due == began + FIRST + EVERY


def test_a_folder_of_its_own_goes_with_the_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("LANEWAY_HOME", raising=False)
    folder = IndexFolder()
    own = folder.path
    assert own.is_dir()
    assert folder.path == own
    folder.close()
    assert not own.exists()
    monkeypatch.setenv("LANEWAY_HOME", str(tmp_path))
    assert IndexFolder().path == tmp_path / "dead"
    folder = IndexFolder()
    folder.path.mkdir()
    folder.close()
    assert folder.path.is_dir(), "somebody said where: it stays"
