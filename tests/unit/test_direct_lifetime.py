"""How long a process lives."""

from __future__ import annotations

from laneway.worker.direct.lifetime import Lifetime


def test_it_is_over_after_so_many_jobs() -> None:
    lifetime = Lifetime(2, None)
    lifetime.note_job()
    assert not lifetime.over
    lifetime.note_job()
    assert lifetime.over


def test_it_is_over_beyond_so_much_memory() -> None:
    little, plenty = Lifetime(None, 1), Lifetime(5, 2**40)
    for lifetime in (little, plenty):
        assert not lifetime.over
        lifetime.note_job()
    assert little.over
    assert not plenty.over


def test_it_can_be_without_end() -> None:
    lifetime = Lifetime(None, None)
    for _ in range(1_000):
        lifetime.note_job()
    assert not lifetime.over
