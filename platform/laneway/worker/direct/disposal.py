"""What becomes of a delivery that does not run here, or whose job failed for good."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final

from laneway.worker.direct.message import original_of
from laneway.worker.direct.properties import decode
from laneway.worker.hand_back import hand_back
from laneway.worker.letters import Failure, LetterWriter
from laneway.worker.telling import tell_handed_back, tell_quarantined

if TYPE_CHECKING:
    from collections.abc import Callable

    from laneway.app import Laneway
    from laneway.broker.deliveries import Delivery
    from laneway.worker.direct.intake import Intake
    from laneway.worker.gate import HandBack, Quarantine

log = logging.getLogger(__name__)

#: Seconds that a message stays here which could not be put off, before it goes to its queue.
_GIVE_BACK_PAUSE: Final = 1.0


class Disposal:
    """Settles deliveries by another way than running them.

    Args:
        app: the application.
        queue: the queue served.
        hostname: the worker's node name.
        wait: sleeps so many seconds, but not through an order of the parent.
    """

    def __init__(
        self, app: Laneway, queue: str, hostname: str, wait: Callable[[float], None]
    ) -> None:
        self._app = app
        self._queue = queue
        self._hostname = hostname
        self._wait = wait
        self._letters = LetterWriter(app, queue, hostname)

    def bury(
        self,
        intake: Intake,
        delivery: Delivery,
        headers: object,
        failure: Failure,
        priority: int | None,
    ) -> None:
        """Post the dead letter, then acknowledge; without a letter the broker makes one."""
        posted = self._letters.bury(
            headers,
            failure,
            original_of(delivery),
            priority=priority,
            redelivered=delivery.redelivered,
        )
        if posted:
            intake.finish(delivery.tag)
        else:
            intake.refuse(delivery.tag, requeue=False)

    def quarantine(self, intake: Intake, delivery: Delivery, why: Quarantine) -> None:
        """Make a letter of what no job could be made of."""
        properties: dict[str, Any] = {}
        with contextlib.suppress(Exception):
            properties = decode(delivery.raw_properties)
        headers = properties.get("application_headers")
        tell_quarantined(self._app, self._hostname, queue=self._queue, headers=headers, why=why)
        failure = Failure(outcome="quarantined", error_type=why.kind, message=why.reason)
        self.bury(intake, delivery, headers, failure, properties.get("priority"))

    def hand_back(self, intake: Intake, delivery: Delivery, why: HandBack) -> None:
        """Let a job of an unknown task come again later."""
        if self.put_off(intake, delivery, why.seconds, why.times):
            headers = decode(delivery.raw_properties)["application_headers"]
            tell_handed_back(self._app, self._hostname, queue=self._queue, headers=headers, why=why)

    def put_off(
        self, intake: Intake, delivery: Delivery, seconds: float, count: int | None = None
    ) -> bool:
        """Let a message wait in the broker; in its queue, if it can wait nowhere else."""
        properties = decode(delivery.raw_properties)
        headers = properties.pop("application_headers")
        try:
            hand_back(
                self._app, self._queue, original_of(delivery), headers, properties, seconds, count
            )
        except Exception as error:  # noqa: BLE001 (whatever it was, the delivery is still ours)
            log.warning("a job that came too early is given back: %s", error)
            self._wait(_GIVE_BACK_PAUSE)
            intake.refuse(delivery.tag, requeue=True)
            return False
        intake.finish(delivery.tag)
        return True
