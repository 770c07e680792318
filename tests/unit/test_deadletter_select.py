"""Filters that no letter could pass are refused; cursors come back as they went."""

from __future__ import annotations

from typing import Any

import pytest

from laneway.deadletter import Selection
from laneway.deadletter.select import Cursor
from laneway.errors import SelectionInvalid


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"cause": "abc"}, "6 to 12 hexadecimal digits"),
        ({"cause": "ABCDEF"}, "6 to 12 hexadecimal digits"),
        ({"outcome": "gone"}, "outcome: expected one of failed"),
        ({"states": ()}, "state: expected some of open"),
        ({"states": ("opne",)}, "got: opne"),
        ({"since": 2.0, "until": 1.0}, "since"),
    ],
)
def test_a_filter_that_is_none(given: dict[str, Any], said: str) -> None:
    with pytest.raises(SelectionInvalid, match=said):
        Selection(**given)


@pytest.mark.parametrize(
    "given",
    [
        {"queue": "high"},
        {"task": "a.*"},
        {"cause": "abcdef"},
        {"outcome": "lost"},
        {"since": 1.0},
        {"until": 1.0},
        {"text": "x"},
        {"ids": ("a.0",)},
    ],
)
def test_what_narrows_down(given: dict[str, Any]) -> None:
    assert not Selection(**given).is_everything
    assert Selection().is_everything
    assert Selection(states=("replayed",)).is_everything


@pytest.mark.parametrize("at", [0.0, 1_700_000_000.123456, 1e-9])
def test_a_cursor_comes_back(at: float) -> None:
    cursor = Cursor(at, "job~with.dots.0")
    assert Cursor.parse(str(cursor)) == cursor


@pytest.mark.parametrize("text", ["", "x", "1.0", "1.0~", "x~a"])
def test_what_is_no_cursor(text: str) -> None:
    with pytest.raises(SelectionInvalid, match="cursor"):
        Cursor.parse(text)
