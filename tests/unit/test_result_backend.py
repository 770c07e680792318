"""The result backend of a worker, on a store in memory that can be away."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from celery.app.task import Context
from celery.backends.base import KeyValueStoreBackend
from celery.exceptions import BackendGetMetaError, SoftTimeLimitExceeded
from kombu.exceptions import EncodeError
from redis.exceptions import ConnectionError as Away
from redis.exceptions import OutOfMemoryError, ReadOnlyError

from laneway import Laneway
from laneway.policy import load_policy
from laneway.results.late import LateResults
from laneway.worker import result_backend
from laneway.worker.result_backend import PatientBackend
from support.workers import POLICY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Memory(KeyValueStoreBackend):
    """Keeps what is stored; all threads see the same."""

    stored: ClassVar[dict[bytes, Any]] = {}
    error: ClassVar[BaseException | None] = None
    asked: ClassVar[int] = 0
    counted: ClassVar[list[Any]] = []

    def _ask(self) -> None:
        Memory.asked += 1
        if self.error is not None:
            raise self.error

    def get(self, key: bytes) -> Any:
        self._ask()
        return self.stored.get(key)

    def mget(self, keys: list[bytes]) -> list[Any]:
        self._ask()
        return [self.stored.get(key) for key in keys]

    def set(self, key: bytes, value: Any, **_: Any) -> None:
        self._ask()
        self.stored[key] = value

    def on_chord_part_return(self, request: Any, state: str, result: Any, **_: Any) -> None:
        self._ask()
        parent = self.app.current_worker_task
        self.counted.append((request.id, state, result, parent and parent.request.id))


class Patient(PatientBackend, Memory):
    """As a worker has it."""


@pytest.fixture
def lost() -> list[tuple[Any, ...]]:
    return []


@pytest.fixture
def app(lost: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch) -> Iterator[Laneway]:
    monkeypatch.setattr(result_backend, "PATIENCE", 0.3)
    app = Laneway("patient", policy=load_policy(POLICY), backend=Patient, set_as_current=False)
    app.late_results = LateResults(lambda *what: lost.append(what), first_pause=0.01)
    Memory.stored, Memory.counted = {}, []
    Memory.error, Memory.asked = None, 0
    yield app
    Memory.error = None
    app.late_results.close(1)


def request(task_id: str = "a", **more: Any) -> Context:
    return Context({"id": task_id, "task": "plain.add", "called_directly": False, **more})


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def waits(app: Laneway) -> int:
    assert app.late_results is not None
    return app.late_results.waiting


ERRORS = [Away("gone"), OutOfMemoryError("full"), ReadOnlyError("a replica"), TimeoutError("late")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_the_end_of_a_job_is_stored_when_it_can_be(app: Laneway, error: Exception) -> None:
    Memory.error = error
    value = [1, 2]
    app.backend.mark_as_done("a", value, request())
    value.append(3)
    assert waits(app) == 1
    Memory.error = None
    until(lambda: not waits(app))
    assert app.AsyncResult("a").result == [1, 2]


def test_a_short_absence_is_waited_for(app: Laneway) -> None:
    class Twice:
        times = 0

    def once() -> None:
        Twice.times += 1
        if Twice.times == 2:
            Memory.error = None

    Memory.error = Away("for a moment")
    before = Patient._ask

    def ask(self: Any) -> None:
        once()
        before(self)

    Patient._ask = ask  # type: ignore[method-assign]
    try:
        app.backend.mark_as_done("a", 1, request())
    finally:
        del Patient._ask
    assert waits(app) == 0
    assert app.AsyncResult("a").result == 1


def test_only_the_first_job_waits_while_it_is_away(app: Laneway) -> None:
    Memory.error = Away("gone")
    app.backend.mark_as_done("a", 1, request())
    began = time.monotonic()
    for number in range(100):
        app.backend.store_result(f"job-{number}", {"pid": 1}, "STARTED", request=request())
        app.backend.mark_as_done(f"job-{number}", number, request(f"job-{number}"))
    assert time.monotonic() - began < 0.3
    assert waits(app) == 101


def test_how_far_a_job_is_is_tried_once_and_forgotten(app: Laneway) -> None:
    Memory.error = Away("gone")
    for state in ("STARTED", "RETRY", "PROGRESS"):
        app.backend.store_result("a", {}, state, request=request())
    assert (Memory.asked, waits(app)) == (1, 0)


def test_a_failure_keeps_its_error(app: Laneway) -> None:
    Memory.error = Away("gone")
    app.backend.mark_as_failure("a", ValueError("its words"), "where", request())
    Memory.error = None
    until(lambda: not waits(app))
    result = app.AsyncResult("a")
    assert isinstance(result.result, ValueError)
    assert result.result.args == ("its words",)
    assert result.traceback == "where"


def test_a_later_end_is_not_overtaken_by_an_earlier_one(app: Laneway) -> None:
    """A job that failed was replayed, and its worker is the same."""
    late = LateResults(lambda *_: None, first_pause=0.5, away=0.0)
    app.late_results = app.backend._late = late
    Memory.error = Away("gone")
    app.backend.mark_as_failure("a", ValueError("first"), None, request())
    Memory.error = None
    assert not app.late_results.is_away()
    app.backend.mark_as_failure("a", ValueError("second"), None, request())
    until(lambda: not waits(app))
    assert app.AsyncResult("a").result.args == ("second",)


def test_a_part_of_a_chord_is_counted_later_and_after_its_result(app: Laneway) -> None:
    @app.task(name="plain.add", shared=False, lazy=False)
    def add() -> None:
        """Never runs."""

    Memory.error = Away("gone")
    given = request(group="g", chord={"task": "plain.total"}, args=["big"], root_id="r")
    app.backend.mark_as_done("a", 3, given)
    assert Memory.counted == []
    Memory.error = None
    Memory.stored[app.backend.get_key_for_group("g", ".s")] = b"2"
    until(lambda: not waits(app))
    assert app.AsyncResult("a").result == 3
    # Published as from the job itself: with its priority, and waiting for room.
    assert Memory.counted == [("a", "SUCCESS", 3, "a")]
    assert app.current_worker_task is None


def test_a_part_that_broke_off_is_left_alone_while_its_claim_lasts(
    app: Laneway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Patient, "_claim", lambda _: 0.4)
    app.backend.store_result("a", 3, "SUCCESS", request=request())
    given = request(group="g", chord={"task": "plain.total"})
    Memory.error = Away("in the middle")
    app.backend.on_chord_part_return(given, "SUCCESS", 3)
    Memory.error = None
    time.sleep(0.2)
    assert Memory.counted == []
    until(lambda: Memory.counted)


def test_a_chord_that_redis_forgot_is_told(app: Laneway, lost: list[tuple[Any, ...]]) -> None:
    Memory.error = Away("gone")
    app.backend.mark_as_done("a", 3, request(group="g", chord={"task": "plain.total"}))
    Memory.error = None
    until(lambda: lost)
    [(task, task_id, why)] = lost
    assert (task, task_id) == ("plain.add", "a")
    assert "forgotten its chord g" in why


def test_the_claim_outlasts_those_of_celery(app: Laneway) -> None:
    app.conf.result_chord_join_timeout = 20.0
    assert app.backend._claim() > 2 * 20.0
    app.conf.result_chord_join_timeout = 1.0
    app.conf.broker_connection_timeout = 30.0
    assert app.backend._claim() > 2 * 30.0


def test_what_cannot_be_serialised_is_the_jobs_error_at_once(app: Laneway) -> None:
    Memory.error = Away("gone")
    with pytest.raises(EncodeError):
        app.backend.mark_as_done("a", object(), request())
    assert waits(app) == 0


def test_an_error_that_is_not_the_backends_is_raised(app: Laneway) -> None:
    Memory.error = LookupError("something else")
    with pytest.raises(LookupError):
        app.backend.mark_as_done("a", 1, request())


def test_a_soft_limit_that_comes_while_it_is_stored_comes_too_late(app: Laneway) -> None:
    Memory.error = SoftTimeLimitExceeded()
    app.backend.mark_as_done("a", 1, request())
    Memory.error = None
    until(lambda: not waits(app))
    assert app.AsyncResult("a").result == 1


def test_a_soft_limit_before_the_code_is_the_jobs(app: Laneway) -> None:
    Memory.error = SoftTimeLimitExceeded()
    with pytest.raises(SoftTimeLimitExceeded):
        app.backend.store_result("a", {}, "STARTED", request=request())


def test_a_chain_that_fails_while_it_is_away_fails_later(app: Laneway) -> None:
    step = {"task": "plain.add", "options": {"task_id": "b", "group_id": "g", "chord": {"x": 1}}}
    Memory.error = Away("gone")
    app.backend.mark_as_failure("a", ValueError("no"), None, request(chain=[step]))
    Memory.error = None
    until(lambda: not waits(app))
    assert app.AsyncResult("b").state == "FAILURE"
    assert [one[:2] for one in Memory.counted] == [("b", "FAILURE")]


def test_a_state_that_cannot_be_read_is_an_error_elsewhere(app: Laneway) -> None:
    """A revoke must not take an end that it cannot see for none."""
    Memory.error = Away("gone")
    with pytest.raises(BackendGetMetaError):
        app.backend.get_state("a")


def test_celery_does_not_try_for_ever(app: Laneway) -> None:
    app.conf.result_backend_always_retry = True
    assert Patient(app=app).always_retry is False


def test_the_arguments_of_a_job_are_kept_only_where_results_show_them(app: Laneway) -> None:
    given = request(args=["big"], kwargs={"a": 1}, group="g")
    kept = app.backend._kept(given)
    assert (kept.args, kept.kwargs, kept.group, kept.id) == (None, None, "g", "a")
    assert given.args == ["big"]
    app.conf.result_extended = True
    assert app.backend._kept(given).args == ["big"]
