"""Texts without the values of the job."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.sentry.scrub import HIDDEN, LONGEST, Words, cut, shown

VALUES = st.text(
    st.characters(codec="utf-8", exclude_characters="[]jobargument …"), min_size=8, max_size=60
)


@pytest.mark.parametrize(
    ("value", "text", "left"),
    [
        ("4242 4242", "card 4242 4242 refused", f"card {HIDDEN} refused"),
        (42424242, "no order 42424242", f"no order {HIDDEN}"),
        (1234.5, "at 1234.5", f"at {HIDDEN}"),
        ("O'Brien\n", repr("O'Brien\n"), f'"{HIDDEN}"'),
        ("Zoë Ω", json.dumps("Zoë Ω"), f'"{HIDDEN}"'),
        (b"bytes!", "got b'bytes!'", f"got b'{HIDDEN}'"),
        ({"name": ["deep-value"]}, "x deep-value y", f"x {HIDDEN} y"),
        ({"a": {"key-of-data": 1}}, "key-of-data", HIDDEN),
        ({"a": {"name_of_a_field": 1}}, "name_of_a_field", "name_of_a_field"),
        # Too short to be told from any other word.
        ("abc", "abc", "abc"),
        (123, "123", "123"),
        (True, "True", "True"),
        (None, "None", "None"),
    ],
)
def test_a_value_in_a_text(value: Any, text: str, left: str) -> None:
    assert Words([value], {}).clean(text) == left
    assert Words([], {"name": value}).clean(text) == left


def test_names_of_parameters_stay() -> None:
    assert Words([], {"order_id": "4711-0815"}).clean("order_id=4711-0815") == f"order_id={HIDDEN}"


def test_what_is_allowed_stays() -> None:
    words = Words(["4711-0815", "secret-word"], {}, allowed=["4711-0815"])
    assert words.clean("4711-0815 secret-word") == f"4711-0815 {HIDDEN}"


def test_a_value_within_another_goes_with_it() -> None:
    assert Words(["abcd", "abcdefgh"], {}).clean("abcdefgh") == HIDDEN


def test_a_text_is_cut_and_the_cut_shows_nothing() -> None:
    value = "s3cret" * 1_000
    left = Words([value], {}).clean("x" * (LONGEST - 100) + value)
    assert len(left) <= LONGEST
    assert "s3cret" not in left


@pytest.mark.parametrize("kept", [20, 100, 1_000])
def test_the_beginning_of_a_value_is_found(kept: int) -> None:
    value = "".join(f"{number:05}" for number in range(1_000))
    words = Words([value], {})
    for text in (f"bad: {value[:kept]}", f"bad: '{value[:kept]}…'", f"{value[:kept]} and more"):
        assert value[:16] not in words.clean(text)


def test_a_value_whose_text_fails() -> None:
    class Odd:
        def __str__(self) -> str:
            raise RuntimeError

        __repr__ = __str__

    assert Words([Odd()], {}).clean("text") == "text"
    assert "RuntimeError" in shown(Odd()) or "Odd" in shown(Odd())


def test_a_walk_has_an_end() -> None:
    deep: list[Any] = ["the-deepest"]
    for _ in range(10_000):
        deep = [deep]
    assert Words([deep, ["x" * 10] * 1_000_000], {}).clean("text") == "text"


@given(VALUES, VALUES, VALUES)
def test_a_value_is_in_no_text(value: str, before: str, after: str) -> None:
    words = Words([{"deep": [value]}], {})
    for text in (value, repr(value), json.dumps(value)):
        assert value not in words.clean(f"{before}{text}{after}") or value in before + after


def test_short_texts() -> None:
    assert cut("x" * LONGEST) == "x" * LONGEST
    assert len(cut("x" * 50_000_000)) == LONGEST
    assert shown("x" * 500).startswith("x" * 100)
    assert len(shown("x" * 500)) <= 200
    assert shown([1, "two"]) == "[1, 'two']"
