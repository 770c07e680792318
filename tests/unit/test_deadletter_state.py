"""The state of a letter follows from its marks, whatever their order."""

from __future__ import annotations

import itertools
import uuid
from typing import TYPE_CHECKING

import pytest

from laneway.deadletter.state import STATES, new_job_id, split_id, state_of

if TYPE_CHECKING:
    from laneway.deadletter.state import Mark


@pytest.mark.parametrize(
    ("marks", "state"),
    [
        ([], "open"),
        ([("replayed", 0)], "replayed"),
        ([("discarded", 0)], "discarded"),
        ([("replayed", 1), ("resolved", 2)], "resolved"),
        ([("replayed", 1), ("again", 9)], "failed-again"),
        ([("replayed", 1), ("discarded", 2)], "discarded"),
        ([("discarded", 1), ("replayed", 2)], "replayed"),
        ([("replayed", 1), ("discarded", 2), ("replayed", 3)], "replayed"),
        ([("discarded", 2), ("resolved", 1)], "resolved"),
        # Delivered twice: one run succeeded, the other failed, and the failure is not hidden.
        ([("replayed", 1), ("resolved", 3), ("again", 2)], "failed-again"),
    ],
)
def test_state_of(marks: list[tuple[Mark, int]], state: str) -> None:
    assert state in STATES
    for order in itertools.permutations(marks):
        assert state_of(order) == state
        assert state_of([*order, *order]) == state


def test_a_new_id_is_always_the_same_for_a_letter() -> None:
    assert new_job_id("a.0") == new_job_id("a.0")
    assert len({new_job_id(one) for one in ("a.0", "a.1", "b.0")}) == 3
    assert uuid.UUID(new_job_id("a.0"))


@pytest.mark.parametrize(
    ("letter", "parts"),
    [
        ("a.0", ("a", 0)),
        ("a.b.12", ("a.b", 12)),
        ("a", None),
        ("a.", None),
        (".0", None),
        ("a.x", None),
        ("a.-1", None),
        ("a.²", None),
        ("a.99999999999999999999", None),
    ],
)
def test_split_id(letter: str, parts: tuple[str, int] | None) -> None:
    assert split_id(letter) == parts
