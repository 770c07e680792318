"""`python -m laneway.local install…`: bring the servers in ahead of time."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from laneway.errors import LanewayError
from laneway.local.broker43 import install_rabbitmq_43
from laneway.local.bugsink_install import install_bugsink
from laneway.local.install import install_rabbitmq, install_redis
from laneway.local.licence import accepted_in_advance
from laneway.local.tools import CONTAINER_TOOLS, KUBERNETES_TOOLS, install_tools

if TYPE_CHECKING:
    from collections.abc import Sequence

    from laneway.local.licence import Accepts, Licence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one install; returns the exit status: 0, or 1 with the error on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m laneway.local",
        description="Install the servers that `make run` and the tests start, and the tools of "
        "a checkout. Starts nothing.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("install", help="this machine's own RabbitMQ and Redis packages")
    commands.add_parser("install-43", help="RabbitMQ 4.3 in a folder of its own (root only)")
    bugsink = commands.add_parser(
        "install-bugsink", help="Bugsink, after showing its licence and asking"
    )
    bugsink.add_argument("--accept-licence", action="store_true", help="do not ask")
    tools = {f"install-{each.name}": each for each in (KUBERNETES_TOOLS, CONTAINER_TOOLS)}
    for name, each in tools.items():
        commands.add_parser(name, help=f"{each.what} (tools of a checkout)")
    given = parser.parse_args(arguments)
    command = given.command

    def report(line: str) -> None:
        print(line, flush=True)  # noqa: T201 -- this is a command

    try:
        if command == "install-43":
            install_rabbitmq_43(report)
        elif command == "install-bugsink":
            install_bugsink(_asks_for(accepted=given.accept_licence), report)
        elif command in tools:
            install_tools(tools[command], report)
        else:
            install_rabbitmq("3.10", report)
            install_redis(report)
    except LanewayError as error:
        print(error, file=sys.stderr)  # noqa: T201 -- this is a command
        return 1
    return 0


def _asks_for(*, accepted: bool) -> Accepts:
    def asks(licence: Licence) -> bool:
        """Show the licence; it is accepted in advance, or by whoever sits there."""
        print(licence.text, flush=True)  # noqa: T201 -- this is a command
        if accepted or accepted_in_advance(licence):
            return True
        question = f"Do you accept {licence.name} for {licence.software}? [y/N] "
        return sys.stdin.isatty() and input(question).strip().lower() in {"y", "yes"}

    return asks


if __name__ == "__main__":
    sys.exit(main())
