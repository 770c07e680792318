"""The settings of the scaler's pace."""

from __future__ import annotations

import pytest

from laneway.errors import SettingsError
from laneway.scaling import Pace, pace_of_environment


def test_what_it_is_unless_said() -> None:
    assert pace_of_environment({}) == Pace(window=60, every=5)
    assert pace_of_environment({"LANEWAY_SCALING_WINDOW": ""}) == Pace(window=60, every=5)


def test_what_is_said() -> None:
    said = {"LANEWAY_SCALING_WINDOW": "10s", "LANEWAY_SCALING_EVERY": "1s"}
    assert pace_of_environment(said) == Pace(window=10, every=1)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("LANEWAY_SCALING_WINDOW", "60"),
        ("LANEWAY_SCALING_WINDOW", "1s"),
        ("LANEWAY_SCALING_WINDOW", "2h"),
        ("LANEWAY_SCALING_EVERY", "0s"),
        ("LANEWAY_SCALING_EVERY", "soon"),
    ],
)
def test_what_it_cannot_be(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}: expected a duration .* got: '{text}'"):
        pace_of_environment({name: text})


def test_a_window_without_room_for_reports() -> None:
    with pytest.raises(SettingsError, match="at least twice LANEWAY_SCALING_EVERY"):
        pace_of_environment({"LANEWAY_SCALING_WINDOW": "9s"})
