"""The live view: fits its terminal, says what matters, and has a plain form."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from rich.console import Console

from laneway.console.live import (
    FULL_WIDTH,
    Heading,
    LiveDisplay,
    PlainDisplay,
    display,
    picture,
    plain_line,
    render,
)
from laneway.workloads.board import BoardView, Failure, QueueView

HEADING = Heading(
    broker="RabbitMQ 4.3.6",
    profile="priorities: ten, strict",
    service_levels={"high": 1.0, "low": 60.0},
)


def queue(name: str, **fields: object) -> QueueView:
    return QueueView(queue=name, **fields)  # type: ignore[arg-type]


def view(*queues: QueueView, failures: tuple[Failure, ...] = ()) -> BoardView:
    total = queue("all", done=sum(q.done for q in queues))
    return BoardView(at=0.0, uptime=65.0, queues=queues, total=total, failures=failures)


BUSY = view(
    queue(
        "high",
        ready=1_234_567,
        running=4,
        done=98_765,
        rate=123.4,
        history=(1, 5, 9) * 10,
        wait_p50=0.012,
        wait_p95=0.5,
        failures=12,
        retries=3,
        workers=1,
    ),
    queue("low", wait_p95=600.0, paused=True),
    failures=(
        Failure(at=0.0, queue="high", task="shop.pay", task_id="1", error="CardDeclined: " * 20),
    ),
)


def drawn(shown: BoardView, width: int, *, colour: bool = False) -> str:
    console = Console(
        width=width,
        file=io.StringIO(),
        force_terminal=colour,
        color_system="truecolor" if colour else None,
    )
    console.print(render(shown, HEADING, width=width, notes=["12:00:00 a worker died " * 9]))
    text = console.file
    assert isinstance(text, io.StringIO)
    return text.getvalue()


@pytest.mark.parametrize("width", [40, 48, 54, 60, 68, 76, 80, 90, 100, 110, 200])
def test_it_fits_its_terminal(width: int) -> None:
    lines = drawn(BUSY, width).splitlines()
    assert max(map(len, lines)) <= width
    # Frame (3), heads (2), one line a queue (2), the failures (3), one note: nothing wraps.
    assert len(lines) == 11


@pytest.mark.parametrize("width", [48, 80, FULL_WIDTH])
def test_the_numbers_that_matter_are_never_cut(width: int) -> None:
    text = drawn(BUSY, width)
    for number in ("1,234,567", "500ms", "10m00s", "123", "high", "low"):
        assert number in text
    assert "paused" in text


def test_at_full_width_everything_is_there() -> None:
    text = drawn(BUSY, FULL_WIDTH)
    for part in ("RabbitMQ 4.3.6", "ten, strict", "98,765", "12ms", "12", "0:01:05", "█", "1m"):
        assert part in text


def test_waits_are_coloured_against_the_service_level() -> None:
    def colours(wait: float) -> str:
        return drawn(view(queue("high", wait_p95=wait, workers=1)), 100, colour=True)

    assert re.search(r"\x1b\[32m *900ms", colours(0.9)), "green"
    assert re.search(r"\x1b\[33m *1.50s", colours(1.5)), "yellow"
    assert re.search(r"\x1b\[1;31m *2.50s", colours(2.5)), "red"


def test_markup_in_a_task_or_error_is_text() -> None:
    failure = Failure(at=0.0, queue="high", task="[red]x[/]", task_id="1", error="[/nope] boom")
    text = drawn(view(queue("high"), failures=(failure,)), 100)
    assert "[red]x[/]" in text
    assert "[/nope] boom" in text


def test_the_plain_line_is_one_line_with_all_queues() -> None:
    line = plain_line(BUSY)
    assert "\n" not in line
    assert "high ready=1,234,567 running=4 done=98765 123/s p95=500ms failed=12" in line
    assert line.endswith("paused")


def test_plain_lines_come_at_their_interval() -> None:
    now = 100.0
    out = io.StringIO()
    plain = PlainDisplay(HEADING, console=Console(file=out), interval=5, clock=lambda: now)
    plain.update(BUSY)
    assert len(out.getvalue().splitlines()) == 1, "only the heading"
    now = 105.0
    plain.update(BUSY)
    plain.update(BUSY)
    plain.note("a worker died")
    assert len(out.getvalue().splitlines()) == 3
    assert out.getvalue().endswith("a worker died\n")


def test_the_console_decides_the_form() -> None:
    with display(HEADING, console=Console(file=io.StringIO())) as shown:
        assert isinstance(shown, PlainDisplay)
    with display(HEADING, console=Console(file=io.StringIO(), force_terminal=True)) as shown:
        assert isinstance(shown, LiveDisplay)
        shown.note("a worker died")
        shown.update(BUSY)


def test_the_live_view_shows_the_newest_notes() -> None:
    out = io.StringIO()
    with display(HEADING, console=Console(file=out, force_terminal=True, width=100)) as shown:
        for number in range(5):
            shown.note(f"note-{number}")
        shown.update(BUSY)
    assert "note-4" in out.getvalue()
    assert "note-1" not in out.getvalue()


def test_the_picture_is_an_svg_that_calls_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")  # a dumb terminal is 80 columns wide
    svg = picture(BUSY, HEADING, title="laneway up")
    ElementTree.fromstring(svg)
    assert "laneway&#160;up" in svg or "laneway up" in svg
    assert "url(http" not in svg
    assert "1,234,567" in svg


WATCHED = replace(HEADING, errors="http://127.0.0.1:23456/issues/1/", login="log in as ada with pw")


@pytest.mark.parametrize("width", [40, 80, FULL_WIDTH])
def test_where_errors_are_seen_is_never_cut(width: int) -> None:
    console = Console(width=width, file=io.StringIO())
    with console.capture() as taken:
        console.print(render(BUSY, WATCHED, width=width))
    text = " ".join(taken.get().split())
    assert "http://127.0.0.1:23456/issues/1/" in text
    assert "log in as ada with pw" in text
    out = io.StringIO()
    PlainDisplay(WATCHED, console=Console(file=out))
    assert "errors: http://127.0.0.1:23456/issues/1/  log in as ada with pw" in out.getvalue()


def test_a_picture_tells_no_password() -> None:
    drawn = picture(BUSY, WATCHED, title="laneway up")
    assert "23456" in drawn
    assert "ada" not in drawn
    assert "pw" not in drawn
