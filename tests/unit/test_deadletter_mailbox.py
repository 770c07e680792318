"""What a mailbox says of its letters: with their messages, whole, and as a discard sees them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from laneway.broker.address import BrokerAddress
from laneway.deadletter import envelope
from laneway.deadletter.catch_up import catch_up
from laneway.deadletter.mailbox import Mailbox
from laneway.deadletter.select import Selection
from laneway.deadletter.state import STATES
from laneway.topology import LETTER_STREAM
from support.letters import letter
from support.played_stream import Streams

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from laneway.deadletter.stream import Stored

ADDRESS = BrokerAddress(urls=("amqp://nobody@nowhere",), management_url=None, vhost_prefix="")


class Played:
    """A mailbox whose stream is in memory."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.streams = Streams()
        self.mailbox = Mailbox(ADDRESS, "jobs", folder=folder)
        monkeypatch.setattr("laneway.deadletter.mailbox.fetch", self.fetch)
        monkeypatch.setattr("laneway.deadletter.mailbox._SPOTS", 7)

    def fetch(self, _address: Any, _vhost: Any, offsets: Sequence[int]) -> Iterator[list[Stored]]:
        stored = self.streams.stored[LETTER_STREAM]
        for at in range(0, len(offsets), 3):
            yield [one for one in stored if one.offset in offsets[at : at + 3]]

    def refresh(self) -> None:
        catch_up(self.mailbox._index, self.streams)


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Played]:
    made = Played(tmp_path, monkeypatch)
    yield made
    made.mailbox.close()


def test_letters_come_with_their_messages_in_their_order(played: Played) -> None:
    played.streams.post(*(letter(f"job-{n:02}", priority=n % 10) for n in range(40)))
    played.streams.note("discarded", *(f"job-{n:02}.0" for n in range(0, 40, 4)))
    played.refresh()
    found = [pair for some in played.mailbox.letters(Selection()) for pair in some]
    wanted = [n for n in range(40) if n % 4]
    assert [letter.id for _, letter in found] == [f"job-{n:02}.0" for n in wanted]
    for number, (chosen, whole) in zip(wanted, found, strict=True):
        assert whole == letter(f"job-{number:02}", priority=number % 10)
        assert chosen == (
            whole.id, "open", whole.queue, whole.cause, whole.task, whole.task_id,
            number % 10, 0, True,
        )  # fmt: skip


def test_what_was_done_meanwhile_is_seen(played: Played) -> None:
    played.streams.post(*(letter(f"job-{n}") for n in range(9)))
    played.refresh()
    letters = played.mailbox.letters(Selection())
    assert {chosen.state for chosen, _ in next(letters)} == {"open"}
    played.streams.note("discarded", *(f"job-{n}.0" for n in range(9)))
    played.refresh()
    assert {chosen.state for some in letters for chosen, _ in some} == {"discarded"}


def test_of_two_reports_it_is_the_one_with_the_message(played: Played) -> None:
    bare = letter("a", original=None, error_type="OSError")
    keeper = letter("a", by="keeper", cause="0123456789ab", error_type="Rejected")
    played.streams.post(bare, letter("b"), keeper)
    played.refresh()
    [(other, _), (chosen, whole)] = [
        pair for some in played.mailbox.letters(Selection()) for pair in some
    ]
    assert (other.id, chosen.id) == ("b.0", "a.0")
    assert whole.original == keeper.original
    assert chosen.cause == bare.cause, "the worker saw what happened"
    found = played.mailbox.find("a")
    assert found is not None
    assert (found.letter.error_type, found.letter.original) == ("OSError", keeper.original)
    assert found.listed.has_original is True


def test_one_whose_message_cannot_be_read_comes_without_it(played: Played) -> None:
    document = json.loads(envelope.encode(letter("a")))
    document["original"]["body"] = "no base64"
    played.streams.post(json.dumps(document).encode())
    played.refresh()
    [[(chosen, whole)]] = list(played.mailbox.letters(Selection()))
    assert chosen.has_original
    assert whole == letter("a", original=None)


def test_a_discard_sees_offsets_and_ids(played: Played) -> None:
    played.streams.post(*(letter(f"job-{n}") for n in range(3)))
    played.refresh()
    [page] = played.mailbox.selected(Selection(states=STATES))
    assert [(offset, listed.id) for offset, listed in page] == [(n, f"job-{n}.0") for n in range(3)]
    [newest, *_] = played.mailbox.listed(Selection(), None, 2)
    assert newest == page[-1][1]
