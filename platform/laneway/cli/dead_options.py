"""What the verbs of ``laneway dead`` share: the filters, and how values are read."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

import click
from click.shell_completion import CompletionItem

from laneway.deadletter import Edit, Selection
from laneway.deadletter.letter import Outcome
from laneway.deadletter.select import OPEN
from laneway.deadletter.state import STATES
from laneway.errors import SelectionInvalid
from laneway.policy import load_policy
from laneway.types import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable

#: ``--state any`` lets letters of all states through.
ANY: Final = "any"


_RATE_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}


def read_moment(_context: Any, _option: Any, text: str | None) -> float | None:
    """A time, so long ago or a date with or without the time of day, in seconds since 1970."""
    if text is None:
        return None
    with contextlib.suppress(ValueError):
        return time.time() - parse_duration(text)
    with contextlib.suppress(ValueError, OverflowError):
        return datetime.fromisoformat(text).astimezone().timestamp()
    raise click.BadParameter(
        f'expected a time like "2h" (ago), "2026-11-21" or "2026-11-21T08:30", got: {text!r}'
    )


def read_rate(_context: Any, _option: Any, text: str | None) -> float | None:
    """So many in a time, per second."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)/(s|m|h)", text.strip())
    if match is None or not float(match[1]):
        raise click.BadParameter(f'expected a rate like "50/s", "100/m" or "10/h", got: {text!r}')
    return float(match[1]) / _RATE_UNITS[match[2]]


def read_edit(_context: Any, _option: Any, text: str | None) -> Edit | None:
    """Other arguments for jobs: JSON, or the name of a file behind an ``@``."""
    if text is None:
        return None
    try:
        given = Path(text[1:]).read_text(encoding="utf-8") if text[:1] == "@" else text
        document = json.loads(given)
        args, kwargs = document.get("args"), document.get("kwargs")
        if (
            not document
            or document.keys() - {"args", "kwargs"}
            or not isinstance(args, list | None)
            or not isinstance(kwargs, dict | None)
        ):
            raise ValueError("neither of the two")
    except (OSError, ValueError, AttributeError) as error:
        raise click.BadParameter(
            'expected \'{"args": [1, 2], "kwargs": {"order": 7}}\' (one of the two is enough), or '
            f"@FILE that holds it, got: {text!r} ({error})"
        ) from error
    return Edit(args=args, kwargs=kwargs)


def _queues(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    queues = load_policy().queues.values()
    return [CompletionItem(q.name, help=q.summary) for q in queues if q.name.startswith(incomplete)]


_FILTERS: Final = (
    click.option("--queue", shell_complete=_queues, help="The queue that the job was for."),
    click.option("--task", metavar="GLOB", help="The task, like billing.*"),
    click.option("--cause", metavar="ID", help="The cause: its first six digits are enough."),
    click.option("--outcome", type=click.Choice(get_args(Outcome)), help="How the job ended."),
    click.option(
        "--since",
        callback=read_moment,
        metavar="TIME",
        help="Ended then or later: 2h (ago), 2026-11-21T08:30.",
    ),
    click.option("--until", callback=read_moment, metavar="TIME", help="Ended before then."),
    click.option("--text", help="Stands in the error's text."),
    click.option(
        "--state",
        "states",
        multiple=True,
        type=click.Choice([*STATES, ANY]),
        help="What became of it; can be repeated.  [default: open]",
    ),
)


def filters(verb: Callable[..., Any]) -> Callable[..., Any]:
    """The filters, handed to the verb as one ``selection``."""

    @functools.wraps(verb)
    def selecting(**options: Any) -> Any:
        names = ("queue", "task", "cause", "outcome", "since", "until", "text")
        given = {name: options.pop(name) for name in names}
        states: tuple[Any, ...] = options.pop("states") or OPEN
        if given["queue"] is not None:
            _check_queue(given["queue"])
        try:
            selection = Selection(
                **given,
                states=STATES if ANY in states else tuple(dict.fromkeys(states)),
                ids=tuple(options.pop("letters", ())),
            )
            return verb(selection=selection, **options)
        except SelectionInvalid as error:
            raise click.UsageError(str(error)) from error

    for option in reversed(_FILTERS):
        selecting = option(selecting)
    return selecting


def _check_queue(name: str) -> None:
    """A typo would find nothing; but letters of a queue that left the policy may be there."""
    if name not in load_policy().queues:
        click.echo(f"laneway: the policy has no queue {name!r}", err=True)
