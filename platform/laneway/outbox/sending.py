"""Publishing rows: pipelined, and in order where a key asks for it.

Rows go in waves: of each key one row is on its way at a time, because a row that is refused must
hold back the next one. Between keys, and without one, nothing waits for anything.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from laneway import errors
from laneway.publish import frames
from laneway.publish.pipeline import Job, Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from laneway.broker import VhostKind
    from laneway.outbox.row import Row
    from laneway.publish.publisher import Publisher

# Trouble of the whole virtual host, whichever row is asked about.
_NO_ROWS_FAULT = (
    errors.BrokerUnreachable,
    errors.BrokerRefusedLogin,
    errors.VirtualHostMissing,
    errors.BrokerBlocked,
    errors.PublishTimeout,
)


@dataclass(slots=True)
class Sent:
    """What became of rows; those that are nowhere here were neither confirmed nor refused."""

    #: Confirmed.
    accepted: list[Row] = field(default_factory=list)
    #: Refused by the broker, each with the reason.
    refused: list[tuple[Row, errors.PublishError]] = field(default_factory=list)
    #: Why a virtual host took nothing more.
    trouble: dict[VhostKind, errors.PublishError] = field(default_factory=dict)


def send(
    rows: Iterable[Row],
    publisher: Callable[[VhostKind], Publisher],
    *,
    stopped: Callable[[], bool] = lambda: False,
) -> Sent:
    """Publish rows and wait for the answers.

    Args:
        rows: in the order of their ids.
        publisher: of a virtual host.
        stopped: asked before each wave; if it says so, the rest is not sent.
    """
    sent = Sent()
    behind: dict[str, deque[Row]] = defaultdict(deque)
    wave: list[Row] = []
    for row in rows:
        if row.order_key is None:
            wave.append(row)
            continue
        if row.order_key not in behind:
            wave.append(row)
        behind[row.order_key].append(row)
    while wave and not stopped():
        accepted = _send_wave(wave, publisher, sent)
        sent.accepted += accepted
        wave = []
        for row in accepted:
            if row.order_key is not None and len(line := behind[row.order_key]) > 1:
                line.popleft()
                wave.append(line[0])
    return sent


def _send_wave(
    wave: list[Row], publisher: Callable[[VhostKind], Publisher], sent: Sent
) -> list[Row]:
    """Send rows of different keys; what was confirmed of them."""
    by_vhost: dict[VhostKind, list[Row]] = defaultdict(list)
    for row in wave:
        by_vhost[row.vhost].append(row)
    accepted: list[Row] = []
    for vhost, rows in by_vhost.items():
        if vhost in sent.trouble:
            continue
        answers = _Answers(rows)
        try:
            _pipeline(rows, publisher(vhost), answers)
        except _NO_ROWS_FAULT as error:
            sent.trouble[vhost] = error
        except errors.PublishError:
            # The broker closed the channel over one of them and did not say which.
            _one_by_one(vhost, publisher(vhost), answers, sent.trouble)
        accepted += answers.confirmed
        sent.refused += [(rows[position], error) for position, error in answers.denied.items()]
    return accepted


class _Answers:
    """Hears what became of the rows of one wave and virtual host."""

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows
        self._confirmed: set[int] = set()
        self.denied: dict[int, errors.PublishError] = {}

    def accepted(self, job: Job) -> None:
        """The broker confirmed it."""
        self.confirm(job.position)

    def refused(self, job: Job, error: Exception) -> None:
        """The broker refused it."""
        self.deny(job.position, error)

    def confirm(self, position: int) -> None:
        self._confirmed.add(position)

    def deny(self, position: int, error: Exception) -> None:
        if not isinstance(error, errors.PublishError):
            error = errors.PublishError(f"{type(error).__name__}: {error}")
        self.denied[position] = error

    @property
    def confirmed(self) -> list[Row]:
        """In the order of their ids, whatever the order of the confirms."""
        return [self._rows[position] for position in sorted(self._confirmed)]

    @property
    def unanswered(self) -> list[tuple[int, Row]]:
        return [
            (position, row)
            for position, row in enumerate(self._rows)
            if position not in self._confirmed and position not in self.denied
        ]


def _pipeline(rows: list[Row], publisher: Publisher, answers: _Answers) -> None:
    with publisher.producer() as producer:
        pipeline = Pipeline(
            producer,
            where=publisher.name,
            deadline=publisher.deadline,
            window=max(4, len(rows)),
            listener=answers,
        )
        try:
            for position, row in enumerate(rows):
                if not frames.is_publish_method(row.message.method):
                    # On the wire it would end the connection, for all rows, again and again.
                    answers.deny(position, errors.PublishError("the stored message is damaged"))
                    continue
                pipeline.add(
                    Job(position, row.job_id, row.task, row.queue, row.priority, row.message)
                )
            pipeline.finish()
        finally:
            pipeline.leave()


def _one_by_one(
    vhost: VhostKind,
    publisher: Publisher,
    answers: _Answers,
    trouble: dict[VhostKind, errors.PublishError],
) -> None:
    for position, row in answers.unanswered:
        try:
            publisher.publish(row.message)
        except _NO_ROWS_FAULT as error:
            trouble[vhost] = error
            return
        except Exception as error:  # noqa: BLE001 (one row must not end the relay of all others)
            answers.deny(position, error)
        else:
            answers.confirm(position)
