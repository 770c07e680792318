"""The control process: a keeper for each virtual host, the scaler, and what is done periodically.

Each part keeps only what it can find again on the broker, so any number of control processes may
run, and each may be killed at any time.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from laneway.broker.connect import connection_to
from laneway.control.keeper import Keeper
from laneway.control.numbers import exposition
from laneway.control.open_letters import IndexFolder, OpenLetters, counting
from laneway.control.periodic import Periodic, run_all
from laneway.control.renewal import renewal
from laneway.control.results import Results
from laneway.control.scaler import Scaler
from laneway.control.scaler_pages import scaler_pages
from laneway.errors import LanewayError
from laneway.metrics import FactCounter
from laneway.probes import TURN, Probes
from laneway.queue_state import declared_counts
from laneway.scaling import pace_of_environment
from laneway.sentry.attach import check_in
from laneway.sentry.config import read_config
from laneway.sentry.start import reporter_for
from laneway.topology import DEAD_INBOX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from laneway.control.app import ControlApp

log = logging.getLogger(__name__)

#: Seconds that a batch of letters in the middle may take to end, when told to stop.
STOP_SECONDS: Final = 5.0
#: Seconds for the results that still wait then.
RESULT_SECONDS: Final = 3.0
#: Seconds between two looks at how much waits in the dead inboxes.
_INBOX_SECONDS: Final = 15.0
# Celery says what the members of a chord failed of: on a secure queue that is nobody's business.
_LOGGERS_OF_RESULTS: Final = ("celery.backends.base", "celery.backends.redis")


class Control:
    """Everything that one control process does.

    Args:
        app: whose broker, policy and result backend are used; it runs no task.
        name: of this process; ``control@<host>.<pid>`` if None.
        periodic: what is done every now and then, besides looking at the dead inboxes.

    Raises:
        SettingsError: the settings of Sentry are wrong, or its SDK is missing.
    """

    def __init__(
        self, app: ControlApp, *, name: str | None = None, periodic: Sequence[Periodic] = ()
    ) -> None:
        self.app = app
        self.name = name or f"control@{socket.gethostname()}.{os.getpid()}"
        self.counter = FactCounter()
        app.facts.listen(self.counter)
        for logger in _LOGGERS_OF_RESULTS:
            logging.getLogger(logger).setLevel(logging.CRITICAL + 1)
        self._stop = threading.Event()
        self.results = Results(app)
        vhosts = sorted({queue.vhost for queue in app.policy.queues.values()})
        config = read_config(tuple(app.policy.queues))
        self._reporters = {
            vhost: reporter_for(app, config, secure=vhost == "secure", worker=self.name)
            for vhost in vhosts
        }
        if any(self._reporters.values()):
            check_in(
                app, config, lambda secure: self._reporters.get("secure" if secure else "jobs")
            )
        self.keepers = [
            Keeper(
                app,
                vhost,
                results=self.results,
                name=self.name,
                stop=self._stop,
                reporter=self._reporters[vhost],
            )
            for vhost in vhosts
        ]
        self._pace = pace_of_environment()
        #: Answers how many workers are needed; None where nobody could ask it.
        self.scaler: Scaler | None = None
        #: Messages that wait in the dead inboxes, by virtual host, as they were last seen.
        self.inbox: dict[str, int] = {}
        self._folder = IndexFolder()
        #: Counts the letters that wait for a decision.
        self.open_letters = OpenLetters(app, vhosts, self._folder)
        self._quick = [
            Periodic(name="look at the dead inboxes", every=_INBOX_SECONDS, do=self._look),
            *periodic,
        ]
        # These read streams, which takes minutes where they hold a million letters.
        self._long = [
            counting(self.open_letters),
            renewal(app, vhosts, by=self.name, folder=self._folder),
        ]
        #: What is done every now and then.
        self.periodic = [*self._quick, *self._long]

    def run(self, *, health: tuple[str, int] | None = None) -> None:
        """Work until SIGTERM or Ctrl-C; a second one ends it at once.

        Args:
            health: where ``/livez``, ``/readyz``, ``/metrics``, ``/scale`` and ``/explain`` are
                answered. Without it there is no scaler: nobody could ask it.

        Raises:
            OSError: the port is taken.
        """
        self._obey_signals()
        if health is not None:
            self.scaler = Scaler(
                self.app.address, self.app.policy, pace=self._pace, stop=self._stop
            )
        probes = (
            Probes(
                health,
                alive=self.not_alive,
                ready=self.not_ready,
                metrics=lambda: exposition(self),
                pages=scaler_pages(self.scaler) if self.scaler is not None else None,
            )
            if health is not None
            else None
        )
        threads = [
            threading.Thread(target=keeper.run, name=f"keeper-{keeper.vhost}", daemon=True)
            for keeper in self.keepers
        ]
        threads += [
            threading.Thread(target=self._do_quick, name="periodic", daemon=True),
            threading.Thread(target=self._do_long, name="letters", daemon=True),
        ]
        if self.scaler is not None:
            threads += self.scaler.threads()
        for thread in threads:
            thread.start()
        self.app.facts.tell("control_ready", worker=self.name)
        self._stop.wait()
        until = time.monotonic() + STOP_SECONDS
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        late = [thread.name for thread in threads if thread.is_alive()]
        if late:
            log.warning("left in the middle: %s; what they held goes back", ", ".join(late))
        self.results.stop(RESULT_SECONDS)
        self._close_reporters()
        if probes is not None:
            probes.close()
        self._folder.close()
        self.app.facts.tell("control_stopped", worker=self.name)

    def run_once(self) -> None:
        """Make letters of what is in the dead inboxes now, and return.

        Raises:
            LanewayError: of the first keeper that could not.
        """
        problems: list[LanewayError] = []
        for keeper in self.keepers:
            try:
                keeper.run(once=True)
            except LanewayError as error:
                problems.append(error)
        self.results.stop(RESULT_SECONDS)
        self._close_reporters()
        if problems:
            raise problems[0]

    def stop(self) -> None:
        """End it, from any thread."""
        self._stop.set()

    # -- probes --------------------------------------------------------------------------------

    def not_alive(self) -> list[str]:
        """What stands still, a line each; empty if everything turns."""
        now = time.monotonic()
        loops = [(f"the keeper of {keeper.vhost!r}", keeper.turned_at) for keeper in self.keepers]
        if self.scaler is not None:
            loops += [
                (f"the scaler's watch of {watch.vhost!r}", watch.turned_at)
                for watch in self.scaler.watches
            ]
        return [
            f"{name} has not turned for {still:.0f} s"
            for name, turned_at in loops
            if (still := now - turned_at) > TURN
        ]

    def not_ready(self) -> list[str]:
        """Why no letters are made, or the scaler knows less than one that began earlier."""
        keepers = [
            f"the keeper of {keeper.vhost!r}: {keeper.problem}"
            for keeper in self.keepers
            if keeper.problem is not None
        ]
        return keepers + (self.scaler.not_ready() if self.scaler is not None else [])

    def _close_reporters(self) -> None:
        for reporter in self._reporters.values():
            if reporter is not None:
                reporter.close()

    # -- the rest ------------------------------------------------------------------------------

    def _do_quick(self) -> None:
        run_all(self._quick, self._stop)

    def _do_long(self) -> None:
        run_all(self._long, self._stop)
        self.open_letters.close()

    def _look(self, stop: threading.Event) -> None:
        """See what waits in the dead inboxes. A broker that is away is the keepers' to tell."""
        del stop
        for keeper in self.keepers:
            try:
                with connection_to(self.app.address, keeper.vhost) as connection:
                    counts = declared_counts(connection, DEAD_INBOX)
            except LanewayError:
                counts = None
            if counts is None:
                self.inbox.pop(keeper.vhost, None)
            else:
                self.inbox[keeper.vhost] = counts[0]

    def _obey_signals(self) -> None:
        def obey(number: int, _frame: Any) -> None:
            signal.signal(number, signal.SIG_DFL)
            self._stop.set()

        signal.signal(signal.SIGTERM, obey)
        signal.signal(signal.SIGINT, obey)
