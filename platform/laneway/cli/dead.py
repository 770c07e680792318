"""``laneway dead``: the dead letters, and what can be done with them."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import IO, TYPE_CHECKING, Any, Final

import click
from rich.console import Console
from rich.progress import Progress

from laneway.app import Laneway
from laneway.cli.dead_options import filters, read_edit, read_rate
from laneway.cli.exit_codes import ExitCode
from laneway.cli.options import find_platform
from laneway.cli.output import json_option, write_json
from laneway.console.letters import (
    count_table,
    headers_of,
    letter_sheet,
    letter_table,
)
from laneway.deadletter import DeadLetters, ReplayOptions, Selection
from laneway.deadletter.commands import replay_command
from laneway.deadletter.letters import exported
from laneway.deadletter.mailbox import GROUPS
from laneway.deadletter.republish import DEFAULT_MAX_REPLAYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from laneway.deadletter import ReplayAccount

#: Entries from which on a bar shows how far the reading is.
_LONG_READING: Final = 20_000


@click.group()
def dead() -> None:
    """List, show, count, export, replay or discard dead letters.

    A dead letter is a job that ended for good without success. Looking at letters never moves or
    changes one.
    """
    find_platform()


@dead.command("list")
@filters
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@click.option("--after", metavar="CURSOR", help="Go on where a page ended.")
@json_option
def list_letters(selection: Selection, limit: int, after: str | None, as_json: bool) -> None:
    """List letters, newest first."""
    with _letters() as letters:
        page = letters.list(selection, limit=limit, after=after)
    if as_json:
        write_json(page)
        return
    Console().print(letter_table(page.letters))
    if page.after:
        click.echo(f"more: add --after '{page.after}'", err=True)
    elif not page.letters:
        click.echo("no such letters", err=True)


@dead.command()
@click.argument("letter")
@json_option
def show(letter: str, as_json: bool) -> None:
    """Show everything of LETTER, or of the last letter of a job."""
    with _letters() as letters:
        found = letters.get(letter)
    if as_json:
        write_json(
            {
                **exported(found.listed, found.letter),
                "headers": {name: _plain(value) for name, value in headers_of(found).items()},
                "history": found.history,
                "later": found.later,
                "replay": replay_command(found.listed.cause),
            }
        )
        return
    screen = Console()
    for line in letter_sheet(found):
        screen.print(line, soft_wrap=True)


@dead.command()
@filters
@click.option(
    "--by",
    "groups",
    multiple=True,
    type=click.Choice(GROUPS),
    help="What they have in common; can be repeated.  [default: cause, task, error_type]",
)
@json_option
def stats(selection: Selection, groups: tuple[str, ...], as_json: bool) -> None:
    """Count letters by what they have in common."""
    with _letters() as letters:
        counts = letters.stats(selection, by=groups or ("cause", "task", "error_type"))
    if as_json:
        write_json(counts)
    elif counts:
        Console().print(count_table(counts))
    else:
        click.echo("no such letters", err=True)


@dead.command()
@filters
@click.option(
    "--output", type=click.File("w", lazy=True), default="-", help="A file.  [default: stdout]"
)
def export(selection: Selection, output: IO[str]) -> None:
    """Write letters as JSON, one a line, oldest first.

    Everything is in it, the message as base64; that of a secure queue's jobs is left out.
    """
    with _letters() as letters:
        for document in letters.export(selection):
            output.write(f"{json.dumps(document)}\n")


_LETTERS = click.argument("letters", nargs=-1, metavar="[LETTER]...")
_ALL = click.option("--all", "everything", is_flag=True, help="Without a filter: yes, all of them.")
_REASON = click.option("--reason", help="What it is for; stands in the audit.")
_DRY_RUN = click.option("--dry-run", is_flag=True, help="Only say what would be done.")
_YES = click.option("--yes", is_flag=True, help="Do not ask.")


@dead.command()
@_LETTERS
@filters
@_ALL
@click.option("--first", type=click.IntRange(1), metavar="N", help="Go on if the first N succeed.")
@click.option(
    "--wait", type=click.FloatRange(0), default=60.0, show_default=True,
    help="Seconds that the first N have.",
)  # fmt: skip
@click.option(
    "--rate", callback=read_rate, metavar="RATE", help="No faster than this: 50/s, 100/m."
)
@click.option(
    "--stop-share", type=click.FloatRange(0, 1), default=0.1, show_default=True,
    help="Stop if a larger share fails again.",
)  # fmt: skip
@click.option(
    "--max-replays", type=click.IntRange(1), default=DEFAULT_MAX_REPLAYS, show_default=True,
    help="Leave jobs alone that were replayed so often.",
)  # fmt: skip
@click.option("--new-id", is_flag=True, help="Publish under new ids instead of the jobs' own.")
@click.option(
    "--edit-args",
    "edit",
    callback=read_edit,
    metavar="JSON",
    help='{"args": [], "kwargs": {}} or @FILE.',
)
@_REASON
@_DRY_RUN
@_YES
@json_option
def replay(
    selection: Selection,
    everything: bool,
    yes: bool,
    as_json: bool,
    new_id: bool,
    **options: Any,
) -> ExitCode:
    """Publish the jobs of letters again, with their priority and everything else.

    The letters stay: what was done with them is written behind them. Status 1 if it stopped because
    jobs failed again or did not end in time.
    """
    _require_filter(selection, everything=everything)
    how = ReplayOptions(new_ids=new_id, **options)
    with _letters() as letters:
        if not how.dry_run and not yes:
            _ask("Replay", letters.count(selection), as_json=as_json)
        with _progress("replaying") as bar:
            account = letters.replay(
                selection, how, progress=bar, say=lambda line: click.echo(line, err=True)
            )
    if as_json:
        write_json(account)
    else:
        _say(account, dry_run=how.dry_run)
    return ExitCode.NO if account.stopped else ExitCode.OK


@dead.command()
@_LETTERS
@filters
@_ALL
@_REASON
@_DRY_RUN
@_YES
@json_option
def discard(
    selection: Selection,
    everything: bool,
    reason: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> ExitCode:
    """Say that letters need nothing more.

    They are no longer listed as open; nothing is deleted.
    """
    _require_filter(selection, everything=everything)
    with _letters() as letters:
        if not dry_run and not yes:
            _ask("Discard", letters.count(selection), as_json=as_json)
        account = letters.discard(selection, reason=reason, dry_run=dry_run)
    if as_json:
        write_json(account)
    else:
        would = "would be " if dry_run else ""
        click.echo(f"{_counted(account.discarded)} {would}discarded (run {account.run})")
    return ExitCode.OK


def _require_filter(selection: Selection, *, everything: bool) -> None:
    if selection.is_everything and not everything:
        raise click.UsageError("expected a filter or the ids of letters, or --all to mean them all")
    if everything and not selection.is_everything:
        raise click.UsageError("--all goes with no filter: it would have no effect")


def _ask(what: str, count: int, *, as_json: bool) -> None:
    if as_json:
        raise click.UsageError("--json cannot ask: add --yes")
    click.confirm(f"{what} {_counted(count)}?", abort=True, err=True)


def _say(account: ReplayAccount, *, dry_run: bool) -> None:
    click.echo(
        f"{account.replayed} of {_counted(account.selected)} {'would be ' if dry_run else ''}"
        f"replayed (run {account.run})"
    )
    for reason, count in account.left.most_common():
        click.echo(f"{count} left alone: {reason}")
    if account.succeeded or account.failed_again:
        click.echo(
            f"of the first ones {account.succeeded} succeeded and {account.failed_again} failed "
            "again"
        )
    if account.sent_twice:
        click.echo(f"{account.sent_twice} sent twice, because a connection was lost")
    if account.stopped:
        click.echo(f"stopped: {account.stopped}")


def _counted(count: int) -> str:
    return f"{count} letter{'' if count == 1 else 's'}"


@contextlib.contextmanager
def _letters() -> Iterator[DeadLetters]:
    """The dead letters; a long reading shows a bar."""
    app = Laneway("laneway.cli")
    with _progress("reading", least=_LONG_READING) as bar:
        letters = DeadLetters(app, progress=bar)
        try:
            yield letters
        finally:
            letters.close()
            app.close()


@contextlib.contextmanager
def _progress(title: str, *, least: int = 100) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr, at a terminal, for what is long; it is gone afterwards."""
    screen = Console(stderr=True)
    with contextlib.ExitStack() as shown:
        bar: Progress | None = None

        def advance(done: int, total: int) -> None:
            nonlocal bar
            if bar is None and total >= least and sys.stderr.isatty():
                bar = shown.enter_context(Progress(console=screen, transient=True))
                bar.add_task(title)
            if bar is not None:
                bar.update(bar.task_ids[0], completed=done, total=total)
                if done >= total:
                    shown.close()
                    bar = None

        yield advance


def _plain(value: Any) -> Any:
    """A header as JSON can carry it."""
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return repr(value)
    return value
