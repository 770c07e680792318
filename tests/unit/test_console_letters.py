"""Letters as people see them."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from laneway.console.letters import letter_table
from laneway.deadletter.listed import Listed


def listed(**changes: Any) -> Listed:
    given: dict[str, Any] = dict.fromkeys(Listed.__slots__)
    given |= {"id": "7a.0", "state": "open", "queue": "low", "outcome": "failed", "at": 1.0}
    return Listed(**{**given, "cause": "0123456789ab", **changes})


def shown(*letters: Listed) -> str:
    screen = Console(width=200, record=True, file=None, force_terminal=False)
    with screen.capture() as capture:
        screen.print(letter_table(letters))
    return capture.get()


def test_a_list_shows_the_beginning_of_each_event() -> None:
    text = shown(listed(event_id="c0ffee00" * 4), listed(id="8b.0"))
    assert "event" in text
    assert "c0ffee00" in text
    assert "c0ffee00c0" not in text


def test_a_list_without_events_has_no_column_for_them() -> None:
    assert "event" not in shown(listed())
