"""A publish returns when the job is written to the socket: Celery's default."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.apps.laneway import Chaos
from laneway import Laneway
from laneway.publish.attempt import Attempt
from laneway.publish.producer import Alarm, JobProducer
from laneway.publish.publisher import Publisher

if TYPE_CHECKING:
    from laneway.broker.address import VhostKind
    from laneway.publish.frames import Publish


class Unconfirmed(JobProducer):
    """A producer that waits for nothing."""

    def transmit(self, message: Publish, seconds: float) -> None:
        """Write, and hope."""
        connection = self.channel.connection
        with connection.transport.having_timeout(seconds):
            connection.transport.write(message.frames(connection.frame_max))


class HopefulPublisher(Publisher):
    """A publisher of such producers."""

    def _make_producer(self) -> JobProducer:
        return Unconfirmed(
            self._connect({"confirm_publish": False}),
            alarm=Alarm(),
            attempt=lambda _: Attempt(where=self.name, seconds=self.deadline),
            max_message_bytes=self.max_message_bytes,
        )


class Hopeful(Laneway):
    """An application with such a publisher."""

    def publisher(self, vhost: VhostKind) -> Publisher:
        """The publisher of one virtual host."""
        if vhost not in self._publishers:
            url = self.address.kombu_urls(vhost)
            self._publishers[vhost] = HopefulPublisher(
                lambda options: self.connection_for_write(
                    url, transport_options=options, connect_timeout=4
                ),
                name=vhost,
                deadline=self.publish_deadline,
            )
        return self._publishers[vhost]


app = Hopeful("chaos")
publish = Chaos(app).publish
