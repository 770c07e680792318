"""``laneway up``: everything on this machine, watched, until it is told to stop."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from rich.console import Console

from laneway.cli.exit_codes import ExitCode
from laneway.cli.licence import asks_for
from laneway.cli.options import app_options, import_from
from laneway.console.live import Heading, display, picture
from laneway.local import install_bugsink
from laneway.policy import load_policy
from laneway.workloads import local_platform

if TYPE_CHECKING:
    from laneway.console import Display
    from laneway.local import Series
    from laneway.policy import Policy
    from laneway.workloads import BoardView, LocalPlatform

#: Seconds between two pictures of the live view.
_FRAME_SECONDS: Final = 0.25


@click.command()
@app_options(required=True)
@click.option(
    "--queue", "queues", multiple=True, help="Only the workers of these queues.  [default: all]"
)
@click.option(
    "--rabbitmq",
    "series",
    type=click.Choice(["auto", "4.3", "3.10"]),
    default="auto",
    help="Which RabbitMQ a private one is.",
)
@click.option(
    "--picture",
    "picture_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Save the busiest view as SVG at the end.",
)
@click.option(
    "--sentry",
    is_flag=True,
    help="Also a private Bugsink, where failed jobs are issues in a browser.",
)
@click.option(
    "--accept-licence",
    is_flag=True,
    help="With --sentry: accept the licence of Bugsink (PolyForm-Shield-1.0.0) unasked.",
)
@click.option("--for", "seconds", type=click.FloatRange(min=0), help="Stop after so many seconds.")
def up(
    app: str,
    app_dir: Path | None,
    queues: tuple[str, ...],
    series: Series,
    picture_file: Path | None,
    sentry: bool,
    accept_licence: bool,
    seconds: float | None,
) -> int:
    """Run everything on this machine, with a live view.

    Starts a private RabbitMQ and Redis unless LANEWAY_BROKER_URL and LANEWAY_RESULT_BACKEND name
    others, applies the topology, runs one worker for each queue and one control process (dead
    letters of what the broker gives up). Ctrl-C or SIGTERM stops it all; nothing is left behind.
    The other verbs find this platform from any terminal of the user.

    --sentry installs and starts Bugsink, once its licence was shown and accepted; the view says
    where it is and how to log in.
    """
    policy = load_policy()
    import_from(app_dir)
    screen = Console()
    view = _View(screen)
    if sentry:
        _refuse_beside_a_server_of_theirs()
        install_bugsink(asks_for(accepted=accept_licence), view.report)
    elif accept_licence:
        raise click.UsageError("--accept-licence means nothing without --sentry.")
    ready = threading.Event()
    platform = None
    try:
        with local_platform(
            app=app,
            policy=policy,
            report=view.report,
            python_path=[app_dir] if app_dir else [],
            queues=queues or None,
            series=series,
            throwaway=False,
            sentry=sentry,
            on_ready=ready.set,
        ) as platform:
            try:
                view.watch(platform, policy, seconds=seconds)
            except (KeyboardInterrupt, SystemExit):
                pass  # both mean "stop, please", which is how this verb ends when all is well
            finally:
                # Who says it again does not want to wait.
                ready.clear()
                if picture_file and view.busiest:
                    picture_file.parent.mkdir(parents=True, exist_ok=True)
                    picture_file.write_text(
                        picture(view.busiest, heading(platform, policy), title="laneway up"),
                        encoding="utf-8",
                    )
    except (KeyboardInterrupt, SystemExit):
        # The same, said between the moment when all was ready and the view.
        if not ready.is_set():
            raise
    view.report_end(platform)
    return ExitCode.OK


def _refuse_beside_a_server_of_theirs() -> None:
    for name in ("LANEWAY_SENTRY_DSN", "LANEWAY_SENTRY_SECURE_DSN"):
        if os.environ.get(name):
            raise click.UsageError(
                f"{name} is set, so errors are reported there already; leave --sentry out, or "
                "unset it to have a private server."
            )


def heading(platform: LocalPlatform, policy: Policy) -> Heading:
    """What the view says of the platform as a whole."""
    issues = platform.issues
    return Heading(
        broker=f"RabbitMQ {platform.broker_version}",
        profile=f"priorities: {platform.profile.priority_levels.partition(':')[0]}"
        f"{', strict' if platform.profile.strict_priority else ''}",
        service_levels={name: queue.service_level for name, queue in policy.queues.items()},
        errors=issues.url if issues else "",
        login=f"log in as {issues.user} with {issues.password}" if issues else "",
    )


class _View:
    """Where lines for people go: stderr before and after the view, the view while it is shown."""

    def __init__(self, screen: Console) -> None:
        self.busiest: BoardView | None = None
        self._screen = screen
        self._display: Display | None = None
        self._lock = threading.Lock()

    def report(self, line: str) -> None:
        """Show a line; from any thread."""
        with self._lock:
            if self._display is not None:
                self._display.note(line)
            else:
                click.echo(line, err=True)

    def report_end(self, platform: LocalPlatform | None) -> None:
        """Say what became of the jobs; None if it was ended before it had any."""
        if platform is None:
            self.report("stopped")
            return
        end = platform.board.view(time.time()).total
        self.report(
            f"stopped: {end.done} jobs done, {end.failures} failed, {end.running} interrupted"
        )

    def watch(self, platform: LocalPlatform, policy: Policy, *, seconds: float | None) -> None:
        """Show the board until something stops us, or for so many seconds."""
        until = None if seconds is None else time.monotonic() + seconds
        with display(heading(platform, policy), console=self._screen) as shown:
            self._show_on(shown)
            try:
                while until is None or time.monotonic() < until:
                    board = platform.board.view(time.time())
                    if self.busiest is None or board.total.rate >= self.busiest.total.rate:
                        self.busiest = board
                    shown.update(board)
                    time.sleep(_FRAME_SECONDS)
            finally:
                self._show_on(None)
        sys.stdout.flush()

    def _show_on(self, shown: Display | None) -> None:
        with self._lock:
            self._display = shown
