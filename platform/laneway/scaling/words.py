"""An answer of the scaler in words, for a person who asks at 3 a.m. why there are so many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from laneway.scaling.answer import Answer, Known, Unknown
from laneway.types import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator


def explained(answer: Answer) -> str:
    """A paragraph about one queue, with a line's end."""
    lines = _unknown(answer) if isinstance(answer, Unknown) else _known(answer)
    return "".join(f"{line}\n" for line in lines)


def _unknown(answer: Unknown) -> Iterator[str]:
    yield f"{answer.queue.name}: unknown, so the answer is an error (503) and never a number"
    yield _line("why", answer.reason)
    yield _line("until then", "KEDA goes by the length of the queue, the HPA changes nothing")


def _known(answer: Known) -> Iterator[str]:
    queue, load, need = answer.queue, answer.load, answer.need
    each = queue.worker.concurrency
    yield (
        f"{queue.name}: {_number(answer.slots)} slots are needed = {_counted(answer.workers)} of "
        f"{each} (min {queue.scaling.min}, max {queue.scaling.max})"
    )
    yield _line("because", need.reason)
    over = f"over the last {answer.covers:.0f} s"
    yield _line("arrivals", f"{_number(load.arrivals)} jobs/s {over}")
    yield _line("runtime", f"{_number(load.runtime)} s a job: {answer.runtime_from}")
    yield _line(
        "busy",
        f"{_number(load.busy)} of {answer.slots_there} slots of {_counted(answer.reporting)} "
        "that report",
    )
    yield _line(
        "backlog", f"{load.backlog:g} wait, to be drained in {format_duration(queue.drain)}"
    )
    level = format_duration(queue.service_level)
    share = answer.waits.within(queue.service_level)
    if share is None:
        yield _line("waits", f"no job began; {level} is promised")
    else:
        yield _line(
            "waits",
            f"{share:.1%} of {answer.waits.started} jobs began within the {level} that is "
            f"promised, {_number(answer.waits.mean)} s in the mean",
        )
    for bound in answer.bounds:
        yield _line("bound", bound)
    for note in answer.notes:
        yield _line("note", note)


def _line(what: str, words: str) -> str:
    return f"  {what:<10} {words}"


def _number(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _counted(workers: int) -> str:
    return f"{workers} worker{'' if workers == 1 else 's'}"
