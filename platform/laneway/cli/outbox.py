"""``laneway outbox``: the relay of an outbox, and a look into its table."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from laneway.app import Laneway
from laneway.cli.exit_codes import ExitCode
from laneway.cli.options import app_options, find_platform, import_from, log_options
from laneway.cli.output import json_option, write_json
from laneway.console import table
from laneway.console.numbers import format_count, format_wait
from laneway.errors import SettingsError
from laneway.log import configure_logging
from laneway.outbox import Relay, open_store
from laneway.outbox.place import create as create_at
from laneway.outbox.relay import DEFAULT_BATCH, DEFAULT_LEASE, DEFAULT_POLL
from laneway.worker import load_app

if TYPE_CHECKING:
    from pathlib import Path

    from laneway.outbox import Row, Store

#: Rows that one look for ``--all`` reads.
_PAGE = 500


@click.group()
def outbox() -> None:
    """Publish what an outbox holds, and look after it.

    LANEWAY_OUTBOX_URL says where it is: sqlite:///shop.db, django:default, or a database URL of
    SQLAlchemy. It may hold a password, so no option takes it.
    """


@outbox.command()
@click.option("--once", is_flag=True, help="Publish what is due now, and end.")
@click.option(
    "--batch", type=click.IntRange(1, 10_000), default=DEFAULT_BATCH, show_default=True,
    help="Jobs taken at once.",
)  # fmt: skip
@click.option(
    "--lease", type=click.FloatRange(min=1), default=DEFAULT_LEASE, show_default=True,
    help="Seconds after which others take the jobs of a relay that died.",
)  # fmt: skip
@click.option(
    "--poll", type=click.FloatRange(min=0.01), default=DEFAULT_POLL, show_default=True,
    help="Seconds between two looks into an empty outbox.",
)  # fmt: skip
@log_options
@app_options(required=False)
def relay(
    once: bool,
    batch: int,
    lease: float,
    poll: float,
    form: str,
    log_level: str,
    app: str | None,
    app_dir: Path | None,
) -> ExitCode:
    """Publish the jobs of the outbox, for as long as it runs.

    Any number of relays may run. SIGTERM ends it after what it is publishing. --app is needed only
    where the application's settings, and not the environment, say where the broker is.
    """
    find_platform()
    store = _store()
    import_from(app_dir)
    application = load_app(app) if app else Laneway("laneway.outbox")
    application.facts.listen(
        configure_logging("json" if form == "json" else "text", level=log_level.upper())
    )
    try:
        worker = Relay(application, store, batch=batch, lease=lease, poll=poll)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    _stop_on_signals(worker)
    try:
        if not once:
            worker.run()
            return ExitCode.OK
        done = worker.run_once()
        left = sum(count.waiting + count.aside for count in store.counts())
        click.echo(f"{done.published} jobs published, {left} left")
        return ExitCode.NO if left else ExitCode.OK
    finally:
        application.close()
        store.close()


def _stop_on_signals(worker: Relay) -> None:
    """The first signal ends it cleanly, a second one at once."""

    def stop(number: int, _frame: Any) -> None:
        signal.signal(number, signal.SIG_DFL)
        worker.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


@outbox.command()
@json_option
def status(as_json: bool) -> ExitCode:
    """Count the jobs of the outbox by queue, and say how long the oldest waits.

    Status 1 if any was put aside.
    """
    counts = _store().counts()
    if as_json:
        write_json({"queues": counts})
    else:
        rows = [
            (
                count.queue,
                format_count(count.waiting),
                "" if count.oldest is None else format_wait(count.oldest),
                format_count(count.aside),
            )
            for count in counts
        ]
        Console().print(
            table(["queue", "waiting", "oldest", "aside"], rows, numbers=["waiting", "aside"])
        )
    return ExitCode.NO if any(count.aside for count in counts) else ExitCode.OK


@outbox.command("list")
@click.option("--aside", is_flag=True, help="Only what was put aside.")
@click.option("--after", type=click.IntRange(min=0), default=0, help="Only larger row numbers.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
def list_rows(aside: bool, after: int, limit: int, as_json: bool) -> None:
    """List jobs of the outbox, oldest first, without their arguments."""
    rows = _store().rows(aside=True if aside else None, after=after, most=limit)
    if as_json:
        write_json({"rows": [_plain(row) for row in rows]})
        return
    now = time.time()
    cells = [
        (
            str(row.id),
            row.job_id,
            row.task,
            row.queue,
            row.order_key or "",
            format_wait(max(0.0, now - row.created_at)),
            _state(row, now),
            str(row.attempts),
            row.last_error or "",
        )
        for row in rows
    ]
    columns = ["row", "job", "task", "queue", "key", "age", "", "refused", "why"]
    Console().print(table(columns, cells, numbers=["row", "refused"]))
    if len(rows) == limit:
        click.echo(f"more: --after {rows[-1].id}", err=True)


@outbox.command()
@click.argument("rows", metavar="[ROW]...", type=click.IntRange(min=1), nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that was put aside.")
def retry(rows: tuple[int, ...], everything: bool) -> ExitCode:
    """Let jobs be tried again that were put aside, or wait for their next try."""
    store = _store()
    done = store.retry(_chosen(store, rows, everything=everything))
    return _said(done, len(rows), "will be tried again")


@outbox.command()
@click.argument("rows", metavar="[ROW]...", type=click.IntRange(min=1), nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that was put aside.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def discard(rows: tuple[int, ...], everything: bool, yes: bool) -> ExitCode:
    """Delete jobs from the outbox: they are never published."""
    store = _store()
    chosen = store.existing(_chosen(store, rows, everything=everything))
    if chosen and not yes:
        click.confirm(f"Delete {len(chosen)} jobs for good?", abort=True)
    store.delete(chosen)
    return _said(len(chosen), len(rows), "deleted")


@outbox.command()
def create() -> None:
    """Make the table of the outbox where it is missing (Django: manage.py migrate)."""
    create_at(_url())
    click.echo("the table of the outbox is there")


def _url() -> str:
    url = os.environ.get("LANEWAY_OUTBOX_URL", "")
    if not url:
        raise SettingsError(
            "expected LANEWAY_OUTBOX_URL to say where the outbox is (sqlite:///shop.db, "
            "django:default, or a database URL of SQLAlchemy), got nothing"
        )
    return url


def _store() -> Store:
    return open_store(_url())


def _chosen(store: Store, rows: tuple[int, ...], *, everything: bool) -> list[int]:
    if bool(rows) == everything:
        raise click.UsageError("expected row numbers (laneway outbox list --aside), or --all")
    if rows:
        return list(rows)
    found: list[int] = []
    while page := store.rows(aside=True, after=found[-1] if found else 0, most=_PAGE):
        found += [row.id for row in page]
    return found


def _said(done: int, asked: int, what: str) -> ExitCode:
    click.echo(f"{done} jobs {what}")
    if done < asked:
        click.echo(f"laneway: {asked - done} of these rows are not there (any more)", err=True)
        return ExitCode.NO
    return ExitCode.OK


def _state(row: Row, now: float) -> str:
    if row.aside:
        return "aside"
    if row.due_at <= now:
        return "due"
    return "in a relay" if row.lease_owner else f"again in {format_wait(row.due_at - now)}"


def _plain(row: Row) -> dict[str, Any]:
    return {
        field.name: getattr(row, field.name)
        for field in dataclasses.fields(row)
        if field.name != "message"
    }
