"""``laneway route``: what the policy decides, and whether it is sound."""

from __future__ import annotations

import click
from rich.console import Console
from rich.text import Text

from laneway.cli.exit_codes import ExitCode
from laneway.cli.output import json_option, write_json
from laneway.console import table
from laneway.policy import lint_policy, load_policy, policy_root
from laneway.types import format_duration


@click.group()
def route() -> None:
    """Explain, list or lint the routes.

    The policy is that of LANEWAY_POLICY, else the one in the installed wheel, else the checkout's.
    """


@route.command()
@click.argument("name")
@click.option("--queue", help="As in apply_async(queue=...).")
@click.option("--priority", type=int, help="As in apply_async(priority=...).")
@json_option
def explain(name: str, queue: str | None, priority: int | None, as_json: bool) -> None:
    """Say where the task NAME goes, at which priority, and why.

    What @task(...) says in the code is not known here, nor the priority of a parent job.
    """
    policy = load_policy()
    decision = policy.router.decide(name, queue=queue, priority=priority)
    target = policy.queues[decision.queue]
    if as_json:
        write_json(
            {
                "task": name,
                "queue": decision.queue,
                "queue_reason": decision.queue_reason,
                "priority": decision.priority,
                "priority_reason": decision.priority_reason,
                "route": decision.route and decision.route.pattern,
                "vhost": target.vhost,
                "service_level": target.service_level,
            }
        )
        return
    rows = [
        ("task", name, ""),
        ("queue", decision.queue, decision.queue_reason),
        ("priority", str(decision.priority), decision.priority_reason),
        ("service level", format_duration(target.service_level), f"of {decision.queue}"),
    ]
    for title, value, reason in rows:
        line = Text(f"{title:<14} ", style="dim").append(f"{value:<12} ", style="not dim bold")
        Console().print(line.append(reason, style="not dim not bold"), soft_wrap=True)


@route.command("list")
@json_option
def list_routes(as_json: bool) -> None:
    """List the routes, the queue of each, and where the rest goes."""
    policy = load_policy()
    routes = sorted(policy.routes, key=lambda r: r.pattern)
    if as_json:
        write_json(
            {
                "policy": policy.root,
                "digest": policy.digest,
                "default_queue": policy.default_queue,
                "routes": [
                    {
                        "pattern": entry.pattern,
                        "queue": entry.queue,
                        "priority": entry.priority,
                        "team": entry.team,
                        "where": entry.where,
                    }
                    for entry in routes
                ],
            }
        )
        return
    rows = [
        (
            entry.pattern,
            entry.queue,
            "" if entry.priority is None else str(entry.priority),
            entry.team or "",
            entry.where,
        )
        for entry in routes
    ]
    rows.append(("everything else", policy.default_queue, "", "", ""))
    Console().print(
        table(["route", "queue", "priority", "team", "where"], rows, numbers=["priority"])
    )


@route.command()
@json_option
def lint(as_json: bool) -> ExitCode:
    """Check routing.py and queues/*.toml; status 1 if there is any problem."""
    problems = lint_policy()
    if as_json:
        write_json({"problems": problems})
    elif problems:
        for problem in problems:
            click.echo(problem)
        click.echo(f"{len(problems)} problem{'s' if len(problems) != 1 else ''}", err=True)
    else:
        policy = load_policy()
        click.echo(
            f"the policy in {policy_root()} is valid: {len(policy.routes)} routes, "
            f"{len(policy.queues)} queues, digest {policy.digest}"
        )
    return ExitCode.NO if problems else ExitCode.OK
