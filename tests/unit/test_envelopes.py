"""The tests' own server of envelopes: it must not miss what it is there to find."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import httpx
import pytest

from support.envelopes import EnvelopeSink, parse_envelope

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENT = json.dumps({"event_id": "1", "message": "two\nlines é"}).encode()
ENVELOPE = b"\n".join(
    [
        b'{"event_id": "1"}',
        json.dumps({"type": "event", "length": len(EVENT)}).encode(),
        EVENT,
        b'{"type": "check_in"}',
        b'{"status": "ok"}',
        b'{"type": "attachment", "length": 3}',
        b"\n\xff\n",
        b"",
    ]
)


@pytest.fixture
def sink() -> Iterator[EnvelopeSink]:
    with EnvelopeSink() as sink:
        yield sink


def send(sink: EnvelopeSink, body: bytes = ENVELOPE, project: str = "7", **headers: str) -> int:
    url = f"http://127.0.0.1:{sink.port}/api/{project}/envelope/"
    return httpx.post(url, content=body, headers=headers).status_code


def test_items_with_and_without_a_length() -> None:
    event, check_in, attachment = parse_envelope("7", ENVELOPE)
    assert (event.type, event.payload["message"], event.project) == ("event", "two\nlines é", "7")
    assert (check_in.type, check_in.payload) == ("check_in", {"status": "ok"})
    assert (attachment.type, attachment.payload) == ("attachment", b"\n\xff\n")


def test_what_is_cut_short_is_no_envelope() -> None:
    with pytest.raises(ValueError, match="expected 9 bytes"):
        parse_envelope("7", b'{}\n{"type": "event", "length": 9}\nshort')


def test_it_keeps_what_is_sent(sink: EnvelopeSink) -> None:
    assert send(sink) == 200
    assert send(sink, gzip.compress(ENVELOPE), "8", **{"Content-Encoding": "gzip"}) == 200
    assert [event["event_id"] for event in sink.wait_for("event", 2)] == ["1", "1"]
    assert len(sink.of("check_in", "8")) == 1
    assert sink.bodies == [ENVELOPE, ENVELOPE]
    assert sink.dsn("8").endswith(f"127.0.0.1:{sink.port}/8")


def test_a_text_is_found_however_json_writes_it(sink: EnvelopeSink) -> None:
    send(sink)
    assert sink.holds("two\nlines é")
    assert not sink.holds("three")


def test_what_is_no_envelope_is_told(sink: EnvelopeSink) -> None:
    send(sink, b"{}\nnot json")
    send(sink, b"no gzip", **{"Content-Encoding": "gzip"})
    send(sink, b"?", **{"Content-Encoding": "br"})
    assert len(sink.broken) == 3
    assert sink.requests == 3


def test_it_answers_as_it_is_told(sink: EnvelopeSink) -> None:
    sink.status, sink.headers = 429, {"Retry-After": "60"}
    assert send(sink) == 429
    assert sink.events == []
    assert sink.holds("two\nlines é"), "it was sent all the same"
    sink.clear()
    sink.hangs_up = True
    with pytest.raises(httpx.RemoteProtocolError):
        send(sink)
    sink.clear()
    sink.delay = 5
    url = f"http://127.0.0.1:{sink.port}/api/1/envelope/"
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(url, content=ENVELOPE, timeout=0.2)
