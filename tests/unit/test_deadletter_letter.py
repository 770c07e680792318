"""Letters: their ids, two reports of one failure, the bytes in the stream, causes."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.deadletter import audit, cause, envelope
from laneway.deadletter.audit import Entry, EntryUnreadable
from laneway.deadletter.envelope import EnvelopeUnreadable
from laneway.deadletter.letter import (
    LONGEST_MESSAGE,
    Letter,
    Original,
    letter_id,
    merged,
    replays_of,
)

ORIGINAL = Original(exchange="jobs", routing_key="high", properties=b"\x00\xff", body=b"[[1]]\xff")
LETTER = Letter(
    id="a.0", queue="high", outcome="failed", cause="c", at=2.0, by="worker", original=ORIGINAL
)


@pytest.mark.parametrize("bad", ["3", -1, True, None, 2**40, {}])
def test_replays_are_read_from_whatever_headers_there_are(bad: Any) -> None:
    assert replays_of({"laneway_replays": 3}) == 3
    assert replays_of({"laneway_replays": bad}) == replays_of({}) == replays_of(bad) == 0
    assert letter_id("a", 3) == "a.3"


def test_two_reports_are_one_letter_whichever_comes_first() -> None:
    seen = replace(LETTER, original=None, error_type="OSError", message="disk")
    kept = replace(LETTER, by="keeper", outcome="rejected", cause="d", error_type="Rejected")
    both = merged(seen, kept)
    assert both == merged(kept, seen)
    assert (both.outcome, both.cause, both.error_type) == ("failed", "c", "OSError")
    assert both.original == ORIGINAL


def test_reports_of_different_failures_are_not_merged() -> None:
    with pytest.raises(ValueError, match=r"a\.0 and a\.1"):
        merged(LETTER, replace(LETTER, id="a.1"))


@given(st.binary(), st.binary(), st.text(), st.none() | st.text())
def test_an_envelope_keeps_everything(
    properties: bytes, body: bytes, queue: str, message: str | None
) -> None:
    original = replace(ORIGINAL, properties=properties, body=body)
    letter = replace(LETTER, queue=queue, message=message, original=original, attempts=2)
    assert envelope.decode(envelope.encode(letter)) == letter


def test_long_texts_are_cut_and_half_characters_are_no_obstacle() -> None:
    letter = replace(LETTER, message="é" * LONGEST_MESSAGE, traceback="x" * 99_999 + "end\ud800")
    found = envelope.decode(envelope.encode(letter))
    assert found.message is not None
    assert found.message.endswith("é …")
    assert len(found.message.encode()) <= LONGEST_MESSAGE + 4
    assert found.traceback is not None
    assert found.traceback.endswith("xend?")


def test_what_a_newer_version_added_is_left_out_and_a_newer_version_is_refused() -> None:
    document = json.loads(envelope.encode(LETTER))
    assert envelope.decode(json.dumps(document | {"colour": 1}).encode()) == LETTER
    with pytest.raises(EnvelopeUnreadable, match="newer Laneway"):
        envelope.decode(json.dumps(document | {"v": 2}).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"v":1}',
        b"[" * 100_000,
        envelope.encode(LETTER).replace(b'"failed"', b'"gone"'),
        envelope.encode(LETTER).replace(b'"body":"', b'"body":"!'),
    ],
)
def test_what_is_no_envelope_is_told(data: bytes) -> None:
    with pytest.raises(EnvelopeUnreadable, match="expected"):
        envelope.decode(data)


def test_an_entry_keeps_everything() -> None:
    entry = Entry(
        verb="discarded",
        at=1.5,
        by="ann@host",
        letters=("a.0",),
        ranges=((1, 9), (20, 20)),
        run="r",
        reason="a bad release",
    )
    assert audit.decode(audit.encode(entry)) == entry


@pytest.mark.parametrize("data", [b"", b"{}", b'{"v":9}', b'{"v":1,"verb":"eaten"}', b"[" * 99_999])
def test_what_is_no_entry_is_told(data: bytes) -> None:
    with pytest.raises(EntryUnreadable, match="expected"):
        audit.decode(data)


def boom(text: str) -> None:
    json.loads(text)


def test_the_cause_is_the_task_the_error_and_the_place_in_its_own_code() -> None:
    found = []
    for text in ("{", "]]]]"):
        try:
            boom(text)
        except ValueError as error:
            place = cause.place_of(error.__traceback__, __name__)
            found.append((cause.error_type_of(error), place))
    assert found[0] == found[1] == ("json.decoder.JSONDecodeError", f"{__name__}:boom")
    assert cause.error_type_of(KeyError()) == "KeyError"
    assert cause.place_of(None, __name__) is None


def test_a_cause_is_the_same_in_every_process() -> None:
    line = "from laneway.deadletter.cause import cause_of; print(cause_of('a.b', 'KeyError', None))"
    said = subprocess.run(
        [sys.executable, "-c", line], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert said == cause.cause_of("a.b", "KeyError", None) == "a3bffb8c4c76"
    assert said != cause.cause_of("a.b", None, "KeyError")
