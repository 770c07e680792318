"""The command itself: which verbs there are, and how errors become exit statuses.

A verb is imported only when it is used, so that ``laneway --help`` does not wait for Celery.
"""

from __future__ import annotations

import difflib
import importlib
import os
import signal
import sys
from importlib.metadata import version
from typing import Any, Final, NoReturn

import click
from click.shell_completion import CompletionItem

#: Every verb: its name, where it is, and the line that ``laneway --help`` shows for it.
VERBS: Final[dict[str, tuple[str, str]]] = {
    "up": ("laneway.cli.up:up", "Run everything on this machine, with a live view."),
    "worker": ("laneway.cli.worker:worker", "Run the worker of one queue."),
    "control": (
        "laneway.cli.control:control",
        "Run the control process: dead letters of what the broker gave up, and scaling.",
    ),
    "submit": ("laneway.cli.job:submit", "Publish one job."),
    "result": ("laneway.cli.job:result", "Show what became of a job."),
    "route": ("laneway.cli.route:route", "Explain, list or lint the routes."),
    "queues": ("laneway.cli.queues:queues", "Show, pause, resume or purge queues."),
    "dead": (
        "laneway.cli.dead:dead",
        "List, show, count, export, replay or discard dead letters.",
    ),
    "outbox": (
        "laneway.cli.outbox:outbox",
        "Publish what an outbox holds, and look after it.",
    ),
    "topology": (
        "laneway.cli.topology:topology",
        "Plan, apply or wait for what must exist on the broker.",
    ),
    "render": (
        "laneway.cli.render:render",
        "Write what other systems need to know of the policy.",
    ),
    "scaling": (
        "laneway.cli.scaling:scaling",
        "Explain how many workers a queue needs; play ways to scale it.",
    ),
    "bench": (
        "laneway.cli.bench:bench",
        "Measure Laneway beside its peers, on a private RabbitMQ 4.3.",
    ),
    "doctor": ("laneway.cli.doctor:doctor", "Check policy, broker, topology and results."),
}

_FIRST_PROCESS: Final = 1
#: Exit status of what SIGTERM ended.
_ENDED: Final = 128 + signal.SIGTERM


class _LazyGroup(click.Group):
    """A group whose verbs are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 (click's signature)
        if cmd_name not in VERBS:
            return None
        module, _, attribute = VERBS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], VERBS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"There is no verb {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 (click's signature)
        with formatter.section("Verbs"):
            formatter.write_dl([(name, summary) for name, (_, summary) in VERBS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [
            CompletionItem(name, help=summary)
            for name, (_, summary) in VERBS.items()
            if name.startswith(incomplete)
        ]


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit statuses and environment variables: docs/reference/cli.md.",
)
@click.version_option(version("laneway"), prog_name="laneway")
def laneway() -> None:
    """Jobs on RabbitMQ: the policy decides the queue, each queue has workers of its own."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit; a ``LanewayError`` becomes one message and a status.

    Args:
        arguments: instead of those of the process.
    """
    if os.getpid() == _FIRST_PROCESS:
        # In a container the kernel gives it no signal that it has no handler for: a command that
        # waits would be killed when the pod's grace is over.
        signal.signal(signal.SIGTERM, _end)
    try:
        status: Any = laneway.main(arguments, prog_name="laneway", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        # No message: whoever pressed Ctrl-C knows it.
        status = 130
    except BrokenPipeError:
        # The reader (head, less) has left; what is still buffered would fail once more at exit.
        sys.stdout = None
        status = 0
    except Exception as error:  # noqa: BLE001 (what is not ours is raised again)
        status = _status_of(error)
    sys.exit(status if isinstance(status, int) else 0)


def _end(*_: object) -> NoReturn:
    sys.exit(_ENDED)


def _status_of(error: Exception) -> int:
    """Say a ``LanewayError`` on stderr; anything else is a bug and keeps its traceback."""
    from laneway.cli.exit_codes import exit_code  # noqa: PLC0415 (needs kombu; --help does not)
    from laneway.errors import LanewayError  # noqa: PLC0415 (the same)

    if not isinstance(error, LanewayError):
        raise error
    click.echo(f"laneway: {error}", err=True)
    return exit_code(error)
