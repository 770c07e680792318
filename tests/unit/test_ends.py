"""How jobs end, on Celery's pools and in the direct one: which ends are dead letters."""

from __future__ import annotations

import os
import types
from typing import TYPE_CHECKING, Any

import pytest
from billiard.einfo import ExceptionInfo
from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery.exceptions import Reject
from celery.worker import state

from laneway.worker.direct.lifetime import Lifetime
from laneway.worker.direct.revoked import Revoked
from laneway.worker.direct.runner import Job, Runner
from laneway.worker.direct.slots import Slots
from laneway.worker.direct.turns import Turns
from laneway.worker.gate import HandBack, Quarantine
from laneway.worker.request import JobRequest
from support.ends import delivery, make_app, message, serve

if TYPE_CHECKING:
    from laneway import Laneway
    from laneway.worker.direct.slots import Slot
    from laneway.worker.letters import Failure


@pytest.fixture(scope="module")
def app() -> Laneway:
    app = make_app("ends")

    @app.task(name="ends.well", shared=False)
    def well(*given: Any) -> int:
        return len(given)

    @app.task(name="ends.badly", shared=False)
    def badly(text: str = "words") -> None:
        raise KeyError(text)

    @app.task(name="ends.reject", shared=False)
    def reject(requeue: bool = False) -> None:
        raise Reject("not for us", requeue=requeue)

    @app.task(name="ends.memory", shared=False)
    def memory() -> None:
        raise MemoryError

    return serve(app)


# -- Celery's pools ------------------------------------------------------------------------------


class Settled:
    """A request and what became of its message."""

    def __init__(self, app: Laneway, *, can_bury: bool = True, **headers: Any) -> None:
        self.buried: list[Failure] = []
        self.told: list[Any] = []
        bury = self.buried.append if can_bury else None
        self.request = JobRequest(
            message("ends.badly", bury, **headers),
            app=app,
            task=app.tasks["ends.badly"],
            hostname="low@here",
            on_ack=lambda *_: self.told.append("ack"),
            on_reject=lambda _log, _errors, requeue: self.told.append(f"reject {requeue}"),
        )
        self.request.task.retry_on_worker_lost = False

    def fails(self, error: BaseException, **more: Any) -> None:
        try:
            raise error
        except BaseException:
            self.request.on_failure(ExceptionInfo(), return_ok=True, **more)


def test_an_error_is_a_letter(app: Laneway) -> None:
    job = Settled(app)
    job.fails(KeyError("words"))
    [failure] = job.buried
    assert (failure.outcome, failure.error_type, failure.message) == (
        "failed",
        "KeyError",
        "'words'",
    )
    assert failure.place is not None
    assert "KeyError" in (failure.traceback or "")
    assert job.told == []


def test_a_message_that_cannot_be_buried_is_rejected(app: Laneway) -> None:
    job = Settled(app, can_bury=False)
    job.fails(KeyError("words"))
    assert job.told == ["reject False"]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (TimeLimitExceeded(3), "time-limit"),
        (Reject("no", requeue=False), "rejected"),
        (MemoryError(), "failed"),
    ],
)
def test_which_end_it_was(app: Laneway, error: Exception, outcome: str) -> None:
    job = Settled(app)
    job.fails(error)
    assert [failure.outcome for failure in job.buried] == [outcome]
    assert job.told == []


def test_a_hard_limit_is_one_letter_however_often_it_is_told(app: Laneway) -> None:
    job = Settled(app)
    job.request.on_timeout(soft=False, timeout=3)
    job.fails(TimeLimitExceeded(3))
    assert [failure.outcome for failure in job.buried] == ["time-limit"]
    assert job.told == []


@pytest.mark.parametrize("error", [WorkerLostError("gone"), Reject("again", requeue=True)])
def test_what_runs_again_is_no_letter(app: Laneway, error: Exception) -> None:
    job = Settled(app)
    job.fails(error)
    assert job.buried == []
    assert job.told == ["reject True"]


def test_a_soft_limit_is_no_end(app: Laneway) -> None:
    job = Settled(app)
    job.request.on_timeout(soft=True, timeout=3)
    assert (job.buried, job.told) == ([], [])


def test_an_expired_job_is_a_letter_and_its_id_may_run_again(app: Laneway) -> None:
    job = Settled(app, id="late", expires="2020-01-01T00:00:00+00:00")
    assert job.request.revoked()
    assert [failure.outcome for failure in job.buried] == ["expired"]
    assert job.told == []
    assert not Settled(app, id="late").request.revoked()


def test_a_revoked_job_is_no_letter(app: Laneway) -> None:
    state.revoked.add("unwanted")
    job = Settled(app, id="unwanted")
    assert job.request.revoked()
    assert (job.buried, job.told) == ([], ["ack"])


# -- the direct pool -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "args", "verdict", "outcome"),
    [
        ("ends.well", (), "ack", None),
        ("ends.badly", (), "dead-letter", "failed"),
        ("ends.memory", (), "dead-letter", "failed"),
        ("ends.reject", (), "dead-letter", "rejected"),
        ("ends.reject", (True,), "requeue", None),
    ],
)
def test_how_a_run_ends(
    app: Laneway, task: str, args: tuple[Any, ...], verdict: str, outcome: str | None
) -> None:
    runner = Runner(app, "low", "low@here")
    job = runner.read(delivery(task, *args))
    assert isinstance(job, Job)
    ran = runner.run(job)
    assert ran.verdict == verdict
    assert (ran.failure and ran.failure.outcome) == outcome
    if task == "ends.badly":
        assert ran.failure is not None
        assert (ran.failure.error_type, ran.failure.message) == ("KeyError", "'words'")
        assert (ran.failure.place or "").startswith(f"{__name__}:")


@pytest.mark.parametrize("raw", [b"", b"\xff", b"\x80\x00\x01\xff"])
def test_no_properties_are_no_crash(app: Laneway, raw: bytes) -> None:
    read = Runner(app, "low", "low@here").read(delivery("ends.well", raw=raw))
    assert isinstance(read, Quarantine)
    assert read.kind == "PropertiesUnreadable"


def test_an_unknown_task_is_handed_back(app: Laneway) -> None:
    read = Runner(app, "low", "low@here").read(delivery("ends.nowhere"))
    assert isinstance(read, HandBack)


class Taken:
    """What a process told the broker of a delivery."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.held = 0

    def finish(self, tag: int) -> None:
        self.told.append(f"ack {tag}")

    def refuse(self, tag: int, *, requeue: bool) -> None:
        self.told.append(f"reject {requeue}")

    def stop_soon(self, **_: Any) -> None:
        """Nothing is held."""


def make_turns(app: Laneway) -> tuple[Turns, Slot]:
    """The jobs of a process of a direct group, without a parent, and its record."""
    slot = Slots(1)[0]
    slot.pid = os.getpid()
    totals: Any = types.SimpleNamespace(note=lambda _: None)
    turns = Turns(
        app,
        "low",
        "low@here",
        slot,
        totals=totals,
        revoked=Revoked(),
        lifetime=Lifetime(None, None),
        worker_pid=1,
        wait=lambda _: None,
        broken=(OSError,),
    )
    return turns, slot


@pytest.mark.parametrize("posted", [True, False])
@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        (("ends.badly", {}), "failed"),
        (("ends.reject", {}), "rejected"),
        (("ends.well", {"retries": -1}), "quarantined"),
        (("ends.well", {"expires": "2020-01-01T00:00:00+00:00"}), "expired"),
        (("ends.well", {}), None),
    ],
)
def test_a_process_settles_when_its_letter_stands(
    app: Laneway,
    monkeypatch: pytest.MonkeyPatch,
    given: tuple[str, dict[str, Any]],
    outcome: str | None,
    posted: bool,
) -> None:
    letters: list[Any] = []

    def post(_app: Any, letter: Any, *_: Any) -> None:
        letters.append(letter)
        if not posted:
            raise OSError

    monkeypatch.setattr("laneway.deadletter.postbox.post", post)
    turns, _ = make_turns(app)
    intake: Any = Taken()
    task, headers = given
    turns.take(intake, delivery(task, **headers))
    if outcome is None:
        assert (letters, intake.told) == ([], ["ack 1"])
        return
    [letter] = letters
    assert letter.outcome == outcome
    assert letter.original.body == b"[[], {}, {}]"
    assert intake.told == ["ack 1" if posted else "reject False"]


class Cut(Taken):
    """A connection that breaks when something is settled."""

    def finish(self, tag: int) -> None:
        raise BrokenPipeError(f"ack {tag}")

    def refuse(self, tag: int, *, requeue: bool) -> None:
        raise BrokenPipeError(f"reject {tag}")


@pytest.mark.parametrize(("task", "args"), [("ends.well", ()), ("ends.reject", (True,))])
def test_a_job_has_ended_also_where_the_broker_cannot_be_told(
    app: Laneway, task: str, args: tuple[Any, ...]
) -> None:
    turns, slot = make_turns(app)
    cut: Any = Cut()
    with pytest.raises(BrokenPipeError):
        turns.take(cut, delivery(task, *args))
    # Else its time limit would hit the idle process, and the next job would run without one.
    assert not slot.running
    intake: Any = Taken()
    turns.take(intake, delivery("ends.well"))
    assert intake.told == ["ack 1"]
    assert not slot.running
