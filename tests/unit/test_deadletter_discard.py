"""Half a million letters are discarded with few words, and never one too many."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from laneway.deadletter.discard import ranges_of


def test_letters_next_to_each_other_are_a_range() -> None:
    letters = [(n, f"job-{n}.0") for n in (1, 2, 3, 5, 7, 8, 10, 11, 12, 13)]
    assert ranges_of(letters) == (("job-5.0", "job-7.0", "job-8.0"), ((1, 3), (10, 13)))
    assert ranges_of([]) == ((), ())


@given(st.sets(st.integers(0, 60)))
def test_exactly_the_letters_that_were_given(offsets: set[int]) -> None:
    letters = [(offset, str(offset)) for offset in sorted(offsets)]
    ids, ranges = ranges_of(letters)
    named = [int(id_) for id_ in ids]
    for first, last in ranges:
        named += range(first, last + 1)
    assert sorted(named) == sorted(offsets)
