"""``laneway scaling explain``: how many workers a queue needs now, and why."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Final

import click
import httpx
from rich.console import Console
from rich.progress import Progress

from laneway.cli.exit_codes import ExitCode
from laneway.cli.options import find_platform
from laneway.cli.output import json_option, write_json
from laneway.errors import LanewayError, UnknownQueue
from laneway.scaling import Known, Unknown, pace_of_environment
from laneway.scaling.arrivals import STATISTICS_AGE
from laneway.scaling.words import explained

if TYPE_CHECKING:
    from collections.abc import Callable

    from laneway.scaling import Answer, Pace

#: Seconds that a control process may take to answer.
_TIMEOUT: Final = 10.0
#: Seconds between two looks at what is known by now.
_LOOK: Final = 0.2


@click.command()
@click.argument("queue", required=False)
@click.option(
    "--url",
    metavar="URL",
    envvar="LANEWAY_CONTROL_URL",
    help="Ask this control process, like http://laneway-control:8080.",
)
@json_option
def explain(queue: str | None, url: str | None, as_json: bool) -> ExitCode:
    """Say how many workers each queue needs now, or one, and why.

    Without --url it looks for itself, for half a window (LANEWAY_SCALING_WINDOW). The status is 6
    if that is not known of some queue; the reason says what is missing.
    """
    if url is not None:
        return _asked(url.rstrip("/"), queue, as_json=as_json)
    find_platform()
    answers = _looked(queue)
    if as_json:
        said = [answer.to_dict() for answer in answers]
        write_json(said[0] if queue is not None else {"queues": said})
    else:
        click.echo("\n".join(map(explained, answers)), nl=False)
    return _status(all(isinstance(answer, Known) for answer in answers))


def _status(known: bool) -> ExitCode:
    return ExitCode.OK if known else ExitCode.PENDING


def _asked(url: str, queue: str | None, *, as_json: bool) -> ExitCode:
    page = "/scale" if as_json else "/explain"
    place = f"{url}{page}" if queue is None else f"{url}{page}/{queue}"
    try:
        answer = httpx.get(place, timeout=_TIMEOUT, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise LanewayError(
            f"expected a control process at {url}, it cannot be reached: {error}. Start one with "
            "'laneway control --health HOST:PORT', or leave --url out to look from here."
        ) from error
    if answer.status_code == httpx.codes.NOT_FOUND and queue is not None:
        said = answer.json()["reason"] if as_json else answer.text.strip()
        raise UnknownQueue(said)
    if answer.status_code not in {httpx.codes.OK, httpx.codes.SERVICE_UNAVAILABLE}:
        raise LanewayError(
            f"expected a control process at {url}, {page} answers {answer.status_code}: is it "
            "another server, or an older version?"
        )
    click.echo(answer.text, nl=False)
    return _status(answer.is_success)


def _looked(queue: str | None) -> list[Answer]:
    # Only now: Celery is slow to import, and --url does not need it.
    from laneway.broker import broker_address  # noqa: PLC0415 (see above)
    from laneway.control.scaler import Scaler  # noqa: PLC0415 (see above)
    from laneway.policy import load_policy  # noqa: PLC0415 (see above)

    policy, pace, stop = load_policy(), pace_of_environment(), threading.Event()
    if queue is not None:
        policy.queue(queue)
    scaler = Scaler(broker_address(), policy, pace=pace, stop=stop)
    threads = scaler.threads()
    for thread in threads:
        thread.start()
    try:
        return _wait(lambda: scaler.answers() if queue is None else [scaler.answer(queue)], pace)
    finally:
        stop.set()
        for thread in threads:
            thread.join(1)


def _wait(answers: Callable[[], list[Answer]], pace: Pace) -> list[Answer]:
    """The answers once they are known, or once it is clear that time will not help."""
    began = time.monotonic()
    longest = pace.window / 2 + STATISTICS_AGE + 4 * pace.every
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        line = bar.add_task("looking at the broker and its workers", total=longest)
        while True:
            found, passed = answers(), time.monotonic() - began
            bar.update(line, completed=passed)
            missing = [answer for answer in found if isinstance(answer, Unknown)]
            given_up = passed > pace.stale and not any(answer.soon for answer in missing)
            if not missing or given_up or passed > longest:
                return found
            time.sleep(_LOOK)
