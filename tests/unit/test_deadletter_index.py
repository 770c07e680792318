"""The index is the fold of the two streams, however it came about."""

from __future__ import annotations

import itertools
import sqlite3
import stat
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laneway.broker.address import BrokerAddress
from laneway.deadletter.catch_up import catch_up
from laneway.deadletter.index import Index
from laneway.deadletter.letter import letter_id, merged
from laneway.deadletter.select import Selection
from laneway.deadletter.state import STATES, new_job_id, state_of
from laneway.errors import DeadLetterError
from laneway.topology import AUDIT_STREAM, LETTER_STREAM
from support.letters import letter
from support.played_stream import Streams

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from laneway.deadletter.state import Mark


@pytest.fixture
def streams() -> Streams:
    return Streams()


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    made = Index(tmp_path / "cache" / "one.sqlite3")
    yield made
    made.close()


def states(index: Index) -> dict[str, str]:
    return {row["id"]: row["state"] for row in index.rows("SELECT id, state FROM letters")}


def test_a_letter_goes_through_its_states(index: Index, streams: Streams) -> None:
    streams.post(letter("a"), letter("b"), letter("c"))
    catch_up(index, streams)
    assert states(index) == {"a.0": "open", "b.0": "open", "c.0": "open"}
    streams.note("replayed", "a.0", "b.0")
    streams.note("discarded", "c.0")
    catch_up(index, streams)
    assert states(index) == {"a.0": "replayed", "b.0": "replayed", "c.0": "discarded"}
    streams.note("resolved", "a.0")
    streams.post(letter("b", 1))
    catch_up(index, streams)
    assert states(index) == {
        "a.0": "resolved",
        "b.0": "failed-again",
        "b.1": "open",
        "c.0": "discarded",
    }


def test_only_what_is_new_is_read(index: Index, streams: Streams) -> None:
    streams.post(*(letter(f"job-{n}") for n in range(100)))
    streams.note("replayed", "job-1.0")
    catch_up(index, streams)
    streams.read = 0
    streams.post(letter("new"))
    told: list[tuple[int, int]] = []
    catch_up(index, streams, lambda done, total: told.append((done, total)))
    # The last one once more, to know it again; nothing of a stream that ends where it did.
    assert streams.read == 2
    assert len(states(index)) == 101
    assert told[-1][0] <= told[-1][1]


def test_an_entry_may_name_letters_that_come_later_or_never(index: Index, streams: Streams) -> None:
    streams.note("discarded", "later.0", "never.0")
    catch_up(index, streams)
    streams.post(letter("later"))
    catch_up(index, streams)
    assert states(index) == {"later.0": "discarded"}


def test_two_reports_of_one_failure_are_merged(index: Index, streams: Streams) -> None:
    worker = letter("a", original=None, error_type="OSError", deliveries=None)
    keeper = letter("a", by="keeper", outcome="rejected", error_type="Rejected", deliveries=4)
    for order in ((worker, keeper), (keeper, worker), (keeper, worker, keeper)):
        fresh = Streams()
        fresh.post(*order)
        index.empty()
        catch_up(index, fresh)
        [row] = index.rows("SELECT * FROM letters")
        both = merged(*order[:2])
        for name in ("outcome", "error_type", "deliveries", "cause", "message", "by", "attempts"):
            assert row[name] == getattr(both, name), name
        assert row["original_at"] == max(i for i, one in enumerate(order) if one.original)
        assert [tuple(copy) for copy in index.rows("SELECT * FROM copies")] == [
            (n, "a.0") for n in range(1, len(order))
        ]


def test_a_range_means_the_letters_at_these_offsets(index: Index, streams: Streams) -> None:
    streams.post(*(letter(f"job-{n}") for n in range(6)))
    streams.note("discarded", ranges=((1, 2), (5, 5)))
    catch_up(index, streams)
    assert [n for n in range(6) if states(index)[f"job-{n}.0"] == "discarded"] == [1, 2, 5]
    # One that was appended again is meant by each of its offsets.
    streams.post(letter("job-0"))
    streams.note("discarded", ranges=((6, 6),))
    catch_up(index, streams)
    assert states(index)["job-0.0"] == "discarded"


def test_under_a_new_id_it_is_still_this_letter(index: Index, streams: Streams) -> None:
    streams.post(letter("a"), letter("b"), letter("c"))
    streams.note("replayed", "a.0", "b.0", "c.0", renamed=True)
    streams.note("resolved", letter_id(new_job_id("a.0"), 0))
    streams.post(letter(new_job_id("b.0"), 1))
    catch_up(index, streams)
    found = states(index)
    assert [found[f"{job}.0"] for job in "abc"] == ["resolved", "failed-again", "replayed"]
    # Also when the outcome is read in a later round.
    streams.note("resolved", letter_id(new_job_id("c.0"), 0))
    catch_up(index, streams)
    assert states(index)["c.0"] == "resolved"


def test_what_cannot_be_read_is_passed_over(index: Index, streams: Streams) -> None:
    streams.post(b"\xff", letter("a"), b"[" * 100_000, b'{"v": 99}', letter("b"))
    streams._append(AUDIT_STREAM, b"nonsense")
    streams.note("discarded", "b.0")
    catch_up(index, streams)
    assert states(index) == {"a.0": "open", "b.0": "discarded"}
    catch_up(index, streams)


def test_odd_values_do_not_end_the_reading(index: Index, streams: Streams) -> None:
    streams.post(
        letter("a", priority=2**70, attempts={"a": 1}, task="\ud800"), letter("b", at=2**70)
    )
    catch_up(index, streams)
    assert len(states(index)) == 2


def test_streams_that_were_made_anew_are_read_anew(index: Index, streams: Streams) -> None:
    streams.post(*(letter(f"old-{n}") for n in range(5)))
    catch_up(index, streams)
    shorter = Streams()
    shorter.post(letter("new"))
    catch_up(index, shorter)
    assert states(index) == {"new.0": "open"}
    longer = Streams()
    longer.post(*(letter(f"other-{n}") for n in range(9)))
    catch_up(index, longer)
    assert len(states(index)) == 9
    catch_up(index, Streams())
    assert states(index) == {}


def test_letters_that_the_stream_forgot_are_left_out(index: Index, streams: Streams) -> None:
    streams.post(letter("a"), letter("b"), letter("c"))
    streams.note("discarded", "a.0", "b.0")
    catch_up(index, streams)
    # b was appended again before the stream forgot it.
    streams.post(letter("b"), letter("d"))
    streams.forget(LETTER_STREAM, 2)
    catch_up(index, streams)
    assert states(index) == {"b.0": "discarded", "c.0": "open", "d.0": "open"}
    [row] = index.rows("SELECT offset, original_at FROM letters WHERE id = 'b.0'")
    assert tuple(row) == (3, 3)
    # More was forgotten than was read: nothing of what is known is certain.
    streams.forget(LETTER_STREAM, 4)
    streams.post(letter("e"))
    streams.forget(LETTER_STREAM, 5)
    catch_up(index, streams)
    assert states(index) == {"e.0": "open"}


def test_a_reading_that_breaks_off_goes_on_where_it_was(
    index: Index, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("laneway.deadletter.catch_up._BATCH", 10)
    streams.post(*(letter(f"job-{n}") for n in range(95)))

    def broken(done: int, _total: int) -> None:
        if done > 40:
            raise ConnectionError

    with pytest.raises(ConnectionError):
        catch_up(index, streams, broken)
    known = len(states(index))
    assert 40 < known < 95
    streams.read = 0
    catch_up(index, streams)
    assert len(states(index)) == 95
    assert streams.read <= 95 - known + 2


def test_large_entries_are_folded_before_many_are_held(
    index: Index, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("laneway.deadletter.catch_up._BATCH_BYTES", 4_000)
    streams.post(*(letter(f"job-{n}", message="x" * 900) for n in range(40)))
    seen: list[int] = []
    catch_up(index, streams, lambda done, _total: seen.append(done))
    assert len(states(index)) == 40
    held = [later - sooner for sooner, later in itertools.pairwise([0, *seen])]
    assert max(held) < 10


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_no_index_is_made_anew(
    tmp_path: Path, streams: Streams, content: bytes
) -> None:
    file = tmp_path / "one.sqlite3"
    file.write_bytes(content)
    index = Index(file)
    streams.post(letter("a"))
    catch_up(index, streams)
    assert states(index) == {"a.0": "open"}
    index.close()


def test_a_file_of_another_version_is_made_anew(tmp_path: Path, streams: Streams) -> None:
    file = tmp_path / "one.sqlite3"
    index = Index(file)
    streams.post(letter("a"))
    catch_up(index, streams)
    index.close()
    db = sqlite3.connect(file)
    db.execute("PRAGMA user_version = 99")
    db.close()
    index = Index(file)
    assert states(index) == {}
    index.close()


def test_a_damaged_file_is_noticed_and_can_be_made_anew(tmp_path: Path, streams: Streams) -> None:
    file = tmp_path / "one.sqlite3"
    index = Index(file)
    streams.post(*(letter(f"job-{n}") for n in range(200)))
    catch_up(index, streams)
    index.close()
    data = bytearray(file.read_bytes())
    half = len(data) // 2
    data[half:] = b"\xaa" * (len(data) - half)
    file.write_bytes(data)
    index = Index(file)
    streams.post(letter("more"))
    with pytest.raises(sqlite3.DatabaseError) as caught:
        catch_up(index, streams)
    assert type(caught.value) is sqlite3.DatabaseError
    index.remake()
    catch_up(index, streams)
    assert len(states(index)) == 201
    index.close()


def test_where_nothing_can_be_written_the_cure_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DeadLetterError, match="LANEWAY_HOME"):
        Index(tmp_path / "file" / "one.sqlite3")


def test_nobody_else_can_read_it(index: Index, streams: Streams) -> None:
    streams.post(letter("a"))
    catch_up(index, streams)
    folder = index.file.parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for file in folder.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_no_message_and_no_argument_is_in_it(index: Index, streams: Streams) -> None:
    streams.post(letter("a", traceback="the traceback"))
    catch_up(index, streams)
    stored = b"".join(file.read_bytes() for file in index.file.parent.iterdir())
    assert b"no funds" in stored
    for secret in (b"the traceback", b"chain", b"argsrepr", b"W1sx"):
        assert secret not in stored


def test_two_may_use_it_at_once(tmp_path: Path, streams: Streams) -> None:
    streams.post(*(letter(f"job-{n}") for n in range(50)))
    one, other = Index(tmp_path / "one.sqlite3"), Index(tmp_path / "one.sqlite3")
    catch_up(one, streams)
    rows = other.rows("SELECT * FROM letters")
    next(rows)
    streams.post(letter("more"))
    catch_up(one, streams)
    assert len(list(rows)) == 49, "a reader sees what was there when it began"
    catch_up(other, streams)
    assert len(states(other)) == 51
    one.close()
    other.close()


def test_each_virtual_host_of_each_broker_has_its_own_file(tmp_path: Path) -> None:
    def file(url: str, prefix: str = "", vhost: Any = "jobs") -> str:
        address = BrokerAddress(urls=(url,), management_url=None, vhost_prefix=prefix)
        index = Index.of(address, vhost, tmp_path)
        index.close()
        return index.file.name

    mine = file("amqp://ada:one@host:5672")
    assert mine == file("amqp://bob:two@host:5672")
    assert "host" not in mine
    others = [
        file("amqp://ada:one@host:5673"),
        file("amqp://ada:one@other:5672"),
        file("amqp://ada:one@host:5672", "staging-"),
        file("amqp://ada:one@host:5672", vhost="secure"),
    ]
    assert len({mine, *others}) == 5


@pytest.mark.parametrize(
    ("selection", "lookup"),
    [
        (Selection(), "by_state (state=?)"),
        (Selection(cause="0123456789ab", states=STATES), "by_cause (cause=?)"),
        (Selection(cause="012345", states=STATES), "by_cause (cause>? AND cause<?)"),
        (Selection(ids=("a.0",), states=STATES), "(id=?)"),
    ],
)
def test_a_page_is_looked_up_and_not_searched_for(
    index: Index, streams: Streams, selection: Selection, lookup: str
) -> None:
    streams.post(letter("a"))
    catch_up(index, streams)
    where, values = selection.where()
    plan = index.rows(
        f"EXPLAIN QUERY PLAN SELECT * FROM letters WHERE {where}"
        " ORDER BY at DESC, id DESC LIMIT 50",
        values,
    )
    said = [row["detail"] for row in plan]
    assert lookup in said[0]
    if lookup.endswith(("state=?)", "cause=?)")):
        # Nothing but letters of the same moment is sorted.
        assert "TEMP B-TREE FOR ORDER BY" not in " ".join(said)


# The fold against the plainest one that there is

verbs = st.sampled_from(["replayed", "resolved", "discarded", "renewed"])
ids = st.tuples(st.sampled_from("ab"), st.integers(0, 2))
steps = st.one_of(
    st.tuples(st.just("post"), ids),
    st.tuples(verbs, st.lists(ids, max_size=3)),
    st.tuples(st.just("range"), st.tuples(st.integers(0, 5), st.integers(0, 3))),
    st.tuples(st.just("refresh"), st.none()),
)


@settings(max_examples=60, deadline=None)
@given(story=st.lists(steps, max_size=25))
def test_the_fold_is_what_its_words_say(
    story: list[tuple[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    index, streams = Index(tmp_path_factory.mktemp("fold") / "one.sqlite3"), Streams()
    marks: dict[str, set[tuple[Mark, int]]] = defaultdict(set)
    posted: list[str] = []
    for what, given_ in story:
        if what == "post":
            job, replays = given_
            streams.post(letter(job, replays))
            posted.append(letter_id(job, replays))
        elif what == "refresh":
            catch_up(index, streams)
        elif what == "range":
            first, length = given_
            entry = len(streams.stored[AUDIT_STREAM])
            # Nobody discards what is not there yet.
            last = min(first + length, len(posted) - 1)
            if first <= last:
                streams.note("discarded", ranges=((first, last),))
                for one in posted[first : last + 1]:
                    marks[one].add(("discarded", entry))
        else:
            entry = len(streams.stored[AUDIT_STREAM])
            named = [letter_id(*one) for one in given_]
            streams.note(what, *named)  # type: ignore[arg-type]
            for one in named:
                if what != "renewed":
                    marks[one].add((what, entry))  # type: ignore[arg-type]
    catch_up(index, streams)
    for one in set(posted):
        job, _, replays = one.partition(".")
        later = any(p[0] == job and int(p[2:]) > int(replays) for p in posted)
        if later:
            marks[one].add(("again", 0))
    assert states(index) == {one: state_of(marks[one]) for one in set(posted)}
    index.close()
