"""Durations and sizes as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.types import (
    DEFAULT_PRIORITY,
    HIGHEST_PRIORITY,
    LOWEST_PRIORITY,
    format_duration,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("0s", 0),
        ("30s", 30),
        ("1.5s", 1.5),
        ("5m", 300),
        ("2h", 7200),
        ("1d", 86400),
        (" 30 s ", 30),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "30", "s", "-1s", "+1s", "1e3s", "1 s 2", "1S", "1min", "1,5s", ".5s", "infs"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="a duration with its unit"):
        parse_duration(text)


@pytest.mark.parametrize("value", [30, 30.0, True, None, b"30s", ["30s"]])
def test_a_duration_without_unit_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="a duration with its unit"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.0005, "0.5ms"),
        (0.025, "25ms"),
        (1, "1s"),
        (1.5, "1500ms"),
        (90, "90s"),
        (120, "2m"),
        (3600, "1h"),
        (86400, "1d"),
        (90000, "25h"),
    ],
)
def test_durations_are_written_in_the_largest_exact_unit(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(0, 10**12))
def test_what_is_written_is_read_back(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "size"),
    [("0B", 0), ("512B", 512), ("64KiB", 65536), ("1MiB", 1024**2), ("1.5GiB", 3 * 1024**3 // 2)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("value", ["", "1", "1MB", "1kb", "-1B", 1, None, True])
def test_what_is_no_size(value: object) -> None:
    with pytest.raises(ValueError, match="a size with its unit"):
        parse_size(value)


def test_priorities_lie_in_order() -> None:
    assert (LOWEST_PRIORITY, DEFAULT_PRIORITY, HIGHEST_PRIORITY) == (0, 4, 9)
