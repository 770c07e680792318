"""Dead letters on a real broker: read without being moved, discarded, kept."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import kombu
import pytest

import laneway
from laneway.broker.connect import connection_to
from laneway.control.open_letters import IndexFolder, OpenLetters
from laneway.control.renewal import renewal
from laneway.deadletter import DeadLetters, Selection, postbox
from laneway.deadletter.audit import Entry
from laneway.deadletter.renew import RETENTION, renew
from laneway.deadletter.state import STATES
from laneway.deadletter.stream import StreamReader
from laneway.topology import AUDIT_STREAM, LETTER_STREAM
from support.cli import LANEWAY
from support.letters import letter, post_many, states
from support.topology import apply_policy
from support.workers import environment, make_app

if TYPE_CHECKING:
    from pathlib import Path

    from laneway import Laneway
    from laneway.broker import BrokerAddress

pytestmark = pytest.mark.integration

# Reading


def test_nothing_is_there_at_first(letters: DeadLetters) -> None:
    assert letters.list().letters == ()
    assert letters.stats() == ()
    assert letters.replay(Selection()).replayed == 0
    assert letters.discard(Selection()).discarded == 0
    with pytest.raises(laneway.LetterUnknown, match="nobody"):
        letters.get("nobody")


def test_without_the_streams_the_cure_is_said(bare_address: BrokerAddress, tmp_path: Path) -> None:
    with (
        DeadLetters(make_app(bare_address), folder=tmp_path) as letters,
        pytest.raises(laneway.TopologyMissing, match="topology apply"),
    ):
        letters.list()


def test_pages_stay_while_letters_come_and_go(app: Laneway, letters: DeadLetters) -> None:
    post_many(app, (letter(f"job-{n:02}", at=1000.0 + n // 2) for n in range(30)))
    post_many(app, [letter("vault", queue="secure", at=1000.5)], "secure")
    found: list[str] = []
    after = None
    while True:
        page = letters.list(limit=7, after=after)
        found += [one.id for one in page.letters]
        # Newer ones, older ones, and one that is no longer open.
        post_many(app, [letter(f"new-{len(found)}", at=2000.0)])
        letters.discard(Selection(ids=(found[0],)))
        if (after := page.after) is None:
            break
    expected = sorted(((1000.0 + n // 2, f"job-{n:02}.0") for n in range(30)), reverse=True)
    assert [one for one in found if one != "vault.0"] == [id_ for _, id_ in expected]
    assert found.count("vault.0") == 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"queue": "high"}, "c"),
        ({"task": "billing.*"}, "bc"),
        ({"task": "billing.?ay"}, "b"),
        ({"task": "[b]illing.pay"}, ""),
        ({"outcome": "lost"}, "d"),
        ({"since": 1002.0}, "cd"),
        ({"until": 1002.0}, "ab"),
        ({"text": "DISK"}, "d"),
        ({"text": "100%"}, "a"),
        ({"ids": ("a.0", "d.0", "x.0")}, "ad"),
        ({"states": ("discarded",)}, "e"),
        ({"states": STATES}, "abcde"),
    ],
)
def test_filters(app: Laneway, letters: DeadLetters, given: dict[str, Any], expected: str) -> None:
    post_many(
        app,
        [
            letter("a", at=1000.0, message="100% full"),
            letter("b", at=1001.0, task="billing.pay"),
            letter("c", at=1002.0, task="billing.refund", queue="high"),
            letter("d", at=1003.0, outcome="lost", message="the disk is full", task=None),
            letter("e", at=1004.0),
        ],
    )
    letters.discard(Selection(ids=("e.0",)))
    found = letters.list(Selection(**given)).letters
    assert "".join(sorted(one.id[0] for one in found)) == expected
    assert letters.count(Selection(**given)) == len(expected)


def test_a_cause_is_found_by_its_beginning(app: Laneway, letters: DeadLetters) -> None:
    one, other = letter("a"), letter("b", task="billing.pay")
    post_many(app, [one, other])
    assert [x.id for x in letters.list(Selection(cause=one.cause)).letters] == ["a.0"]
    assert [x.id for x in letters.list(Selection(cause=other.cause[:6])).letters] == ["b.0"]
    [first, second] = letters.stats()
    assert {first.of["cause"], second.of["cause"]} == {one.cause, other.cause}
    with pytest.raises(laneway.SelectionInvalid, match="expected some of cause"):
        letters.stats(by=("colour",))


def test_everything_of_one_letter(app: Laneway, letters: DeadLetters) -> None:
    worker = letter("a", original=None, traceback="Traceback …", attempts=4)
    keeper = letter("a", by="keeper", outcome="rejected", deliveries=6)
    post_many(app, [keeper, worker])
    found = letters.get("a")
    assert found.letter.original == keeper.original
    assert (found.letter.outcome, found.letter.traceback, found.letter.deliveries) == (
        "failed",
        "Traceback …",
        6,
    )
    assert found == letters.get("a.0")
    assert found.listed.has_original
    [exported] = letters.export()
    assert exported["state"] == "open"
    assert exported["original"]["routing_key"] == "default"


def test_the_arguments_of_a_secure_job_are_not_exported(app: Laneway, letters: DeadLetters) -> None:
    post_many(app, [letter("a", queue="secure")], "secure")
    [exported] = letters.export()
    assert exported["vhost"] == "secure"
    assert "original" not in exported


def test_reading_takes_nothing_away(app: Laneway, letters: DeadLetters) -> None:
    post_many(app, (letter(f"job-{n}") for n in range(50)))
    for _ in range(3):
        assert len(letters.list().letters) == 50
        assert len(list(letters.export())) == 50
    with connection_to(app.address, "jobs") as connection:
        reader = StreamReader(connection)
        assert reader.first_offset(LETTER_STREAM) == 0
        last = reader.last(LETTER_STREAM)
        assert last is not None
        assert last.offset == 49
        assert reader.last(AUDIT_STREAM) is None


def test_a_reader_comes_to_an_end_while_others_write(app: Laneway, letters: DeadLetters) -> None:
    ending = threading.Event()
    written = 0

    def write() -> None:
        nonlocal written
        while not ending.is_set():
            written += post_many(app, (letter(f"job-{written + n}") for n in range(200)))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(5):
            before = written
            assert letters.count() >= before
    finally:
        ending.set()
        writer.join()
    assert letters.count() == written
    with connection_to(app.address, "jobs") as connection:
        reader = StreamReader(connection)
        last = reader.last(LETTER_STREAM)
        assert last is not None
        found = [one for some in reader.entries(LETTER_STREAM, 0, last.offset) for one in some]
    assert [one.offset for one in found] == list(range(written))
    assert found[-1] == last


def test_large_letters_are_read_whole(app: Laneway, letters: DeadLetters) -> None:
    original = letter("a").original
    assert original is not None
    for n in range(30):
        body = bytes([n]) * 700_000
        postbox.post(
            app,
            letter(f"job-{n}", original=type(original)(
                exchange="jobs", routing_key="default", properties=original.properties, body=body
            )),
        )  # fmt: skip
    found = {document["id"]: len(document["original"]["body"]) for document in letters.export()}
    assert len(found) == 30
    assert set(found.values()) == {(700_000 + 2) // 3 * 4}


def test_a_stream_that_was_made_anew(app: Laneway, letters: DeadLetters) -> None:
    post_many(app, (letter(f"old-{n}") for n in range(9)))
    assert len(letters.list().letters) == 9
    with kombu.Connection(app.address.kombu_urls("jobs")) as connection:
        connection.default_channel.queue_delete(LETTER_STREAM)
    apply_policy(app.address)
    post_many(app, [letter("new")])
    assert [one.id for one in letters.list().letters] == ["new.0"]


# Discarding, and letters that are kept


def test_discarded_letters_are_no_longer_open(app: Laneway, letters: DeadLetters) -> None:
    queues = ["high", *["default"] * 9] * 200
    post_many(app, (letter(f"job-{n}", queue=queue) for n, queue in enumerate(queues)))
    account = letters.discard(Selection(queue="default"), reason="paid", by="ada@desk")
    assert account.discarded == 1800
    assert letters.count() == 200
    [event] = letters.get("job-1").history
    assert (event.verb, event.by, event.reason, event.run) == (
        "discarded", "ada@desk", "paid", account.run,
    )  # fmt: skip
    with connection_to(app.address, "jobs") as connection:
        reader = StreamReader(connection)
        last = reader.last(AUDIT_STREAM)
        assert last is not None
        entries = [one for some in reader.entries(AUDIT_STREAM, 0, last.offset) for one in some]
    assert sum(len(entry.body) for entry in entries) < 10_000, "ranges say it shorter"


def test_open_letters_are_written_again_before_they_are_forgotten(
    app: Laneway, letters: DeadLetters, tmp_path: Path
) -> None:
    now = time.time()
    post_many(app, [letter("old", at=now - RETENTION + 3600), letter("young", at=now)])
    post_many(app, [letter("gone", at=now - RETENTION + 3600)])
    letters.discard(Selection(ids=("gone.0",)))
    assert renew(app, "jobs", folder=tmp_path / "other") == 1
    assert renew(app, "jobs", folder=tmp_path / "other") == 0, "once is enough"
    assert states(letters) == {"old.0": "open", "young.0": "open", "gone.0": "discarded"}
    found = letters.get("old")
    assert [event.verb for event in found.history] == ["renewed"]
    assert found.letter == letter("old", at=found.letter.at)
    with connection_to(app.address, "jobs") as connection:
        last = StreamReader(connection).last(LETTER_STREAM)
        assert last is not None
        assert last.offset == 3


# Two who look


def cli(app: Laneway, home: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(LANEWAY), "dead", *arguments],
        env=environment(app.address, "disabled://", LANEWAY_HOME=str(home)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_control_process_renews_letters(app: Laneway, letters: DeadLetters) -> None:
    post_many(app, [letter("old-job")])
    folder = IndexFolder()
    one = renewal(app, ["jobs", "secure"], by="control@here", folder=folder)
    assert not one.look(time.monotonic, threading.Event()), "not at every start"
    one.do(threading.Event())
    folder.close()
    [event] = letters.get("old-job.0").history
    assert (event.verb, event.by) == ("renewed", "control@here")


def test_the_control_process_counts_open_letters(app: Laneway, letters: DeadLetters) -> None:
    """On the broker, as its thread does: what is new, by queue, and what was decided."""
    folder, stop = IndexFolder(), threading.Event()
    count = OpenLetters(app, ["jobs", "secure"], folder)
    try:
        count.look(stop)
        assert set(count.by_queue().values()) == {0}
        post_many(app, [letter(f"job-{n}", queue="low") for n in range(300)])
        count.look(stop)
        assert count.by_queue()["low"] == 300
        letters.discard(Selection(queue="low", until=2e9))
        post_many(app, [letter("one", queue="high")])
        count.look(stop)
        assert (count.by_queue()["low"], count.by_queue()["high"]) == (0, 1)
    finally:
        count.close()
        folder.close()


def test_two_commands_may_read_at_once(app: Laneway, tmp_path: Path) -> None:
    post_many(app, (letter(f"job-{n}") for n in range(5000)))
    running = [cli(app, tmp_path / "home", "stats", "--by", "queue", "--json") for _ in range(3)]
    for one in running:
        out, err = one.communicate(timeout=90)
        assert one.returncode == 0, err
        assert json.loads(out)[0]["count"] == 5000


def test_an_entry_of_somebody_else_is_seen(app: Laneway, letters: DeadLetters) -> None:
    post_many(app, [letter("a")])
    assert states(letters) == {"a.0": "open"}
    postbox.note(app, "jobs", Entry(verb="resolved", at=time.time(), by="w@host", letters=("a.0",)))
    assert states(letters) == {"a.0": "resolved"}
