"""What the processes of a direct group are not to begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from laneway.worker.direct.revoked import Revoked
from laneway.worker.direct.runner import Job, Runner
from support.ends import delivery, make_app, serve
from support.forked import true_in_child

if TYPE_CHECKING:
    from collections.abc import Iterator

    from laneway import Laneway


def test_a_process_knows_what_was_revoked_before_it_was_forked() -> None:
    revoked = Revoked()
    revoked.add(["unwanted"])
    assert true_in_child(lambda: "unwanted" in revoked and "wanted" not in revoked)


def test_a_process_is_told_nothing_and_knows_what_its_parent_revokes_later() -> None:
    revoked = Revoked()
    assert "unwanted" not in revoked

    def parent_adds() -> bool:
        revoked.add(["unwanted"])
        return True

    # (Who adds and who reads are different processes, whichever was forked.)
    assert true_in_child(parent_adds)
    assert "unwanted" in revoked


def test_the_latest_are_remembered() -> None:
    early, late = Revoked(most=3), Revoked(most=3)
    for number in range(10):
        for revoked in (early, late):
            revoked.add([str(number)])
        assert str(number) in early
    for revoked in (early, late):
        assert [number for number in range(10) if str(number) in revoked] == [7, 8, 9]


def test_who_is_revoked_again_is_remembered_from_then_on() -> None:
    revoked = Revoked(most=3)
    for task_id in ("a", "b", "a", "c"):
        revoked.add([task_id])
        assert task_id in revoked
    revoked.add(["d"])
    assert [task_id for task_id in "abcd" if task_id in revoked] == ["a", "c", "d"]


@pytest.mark.parametrize("task_id", ["", "ä" * 300, "with\0zeros", "half a \ud800 pair"])
def test_any_text_is_an_id(task_id: str) -> None:
    revoked = Revoked()
    revoked.add([task_id])
    assert task_id in revoked
    assert f"{task_id}." not in revoked


@pytest.fixture
def app() -> Iterator[Laneway]:
    app = make_app("revoked")

    @app.task(name="plain.work", shared=False)
    def work() -> None:
        """Never runs here."""

    yield serve(app)
    app.close()


def test_a_job_is_looked_up_at_the_last_moment(app: Laneway) -> None:
    """Between the message and its run: it may have been held ahead for long."""
    revoked = Revoked()
    runner = Runner(app, "low", "low@here", revoked)
    job = runner.read(delivery("plain.work"))
    assert isinstance(job, Job)
    assert runner.refused_before_run(job) is None
    revoked.add([job.id])
    assert runner.refused_before_run(job) == "revoked"
