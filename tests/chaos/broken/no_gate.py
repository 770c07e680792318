"""What is no job of this worker is acknowledged into nothing, as Celery does it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from chaos.apps.laneway import Chaos
from laneway import Laneway
from laneway.worker.consumer import JobConsumer

if TYPE_CHECKING:
    import kombu

    from laneway.worker.gate import HandBack, Quarantine


class Forgetful(JobConsumer):
    """A consumer that forgets what its gate does not let through."""

    def quarantine(self, message: kombu.Message, why: Quarantine) -> None:
        """Nobody will ever know."""
        self._forget(message)

    def hand_back(self, message: kombu.Message, why: HandBack) -> None:
        """No other worker gets a chance to know the task."""
        self._forget(message)

    def _forget(self, message: kombu.Message) -> None:
        message.ack_log_error(logging.getLogger(__name__), self.connection_errors)


class Gateless(Laneway):
    """An application whose workers have such consumers."""

    def serve(self, queue: str) -> None:
        """Become the worker of a queue."""
        super().serve(queue)
        self.conf.worker_consumer = "chaos.broken.no_gate:Forgetful"


app = Gateless("chaos")
publish = Chaos(app).publish
