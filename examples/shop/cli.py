"""One run of the shop: a platform, a few thousand jobs, and the account of them."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console

from laneway.errors import LanewayError
from laneway.policy import Policy, load_policy
from laneway.workloads import local_platform
from shop.accounting import Account, close_books
from shop.ledger import Ledger, expectations
from shop.progress import progress
from shop.purchases import PurchasesUnavailable, fetch_purchases, load_purchases
from shop.submit import submit
from shop.tables import render
from shop.website import Website
from shop.workload import Workload, build_workload

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from laneway.workloads import LocalPlatform

#: Seconds that facts may come after the last job ended: of a job that ran twice.
_SETTLE: Final = 0.5
#: Seconds between two looks at the numbers.
_LOOK_EVERY: Final = 0.1
#: Seconds that reading a report's result may take; the report ended, so the result is there.
_RESULT_DEADLINE: Final = 2
_UP_OPTIONS: Final = "--app shop.app:app --app-dir examples"
#: The exit status of a program that Ctrl-C ended (128 + the signal's number).
_CTRL_C: Final = 130
#: Columns where there is no terminal to ask.
_PLAIN_WIDTH: Final = 100


@click.command()
@click.option("--orders", type=click.IntRange(1, 60_000), default=800, show_default=True)
@click.option("--seed", type=int, default=1997, show_default=True, help="Which orders, and so on.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    default=180,
    show_default=True,
    help="Seconds in which all jobs have to end.",
)
def main(orders: int, seed: int, timeout: float) -> None:
    """Run the example shop on a private local platform and account for every job.

    Exits with 0 only if every submitted job ended as planned, on the queue of the policy.
    """
    console = Console(width=None if Console().is_terminal else _PLAIN_WIDTH)
    try:
        account = run(console, orders=orders, seed=seed, timeout=timeout)
    except (LanewayError, PurchasesUnavailable) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        raise SystemExit(_CTRL_C) from None
    raise SystemExit(1 if account.problems else 0)


def run(console: Console, *, orders: int, seed: int, timeout: float) -> Account:
    """Start a platform, submit the workload, wait for its end and show the account.

    Raises:
        LanewayError: there is no broker to be had, or it refused a job.
        PurchasesUnavailable: the data set is not to be had.
    """

    def report(line: str) -> None:
        console.print(line, style="dim", highlight=False, soft_wrap=True)

    fetch_purchases(report)
    policy = load_policy()
    with ExitStack() as stack:
        site = stack.enter_context(Website())
        workload = build_workload(load_purchases(), orders=orders, seed=seed, site_url=site.url)
        ledger = Ledger(expectations(workload, policy.router))
        platform = stack.enter_context(_platform(policy, report))
        platform.listen(ledger.note)
        app = _app(platform)
        began = time.monotonic()
        _work(console, app, policy, workload, ledger, deadline=began + timeout)
        seconds = time.monotonic() - began
        account = close_books(ledger)
        wrong = _wrong_reports(app, workload)
    account = dataclasses.replace(account, problems=(*account.problems, *wrong))
    console.print()
    console.print(render(account), highlight=False)
    report(f"It took {seconds:.1f} s. To stay and play: {_laneway()} up {_UP_OPTIONS}")
    return account


def _laneway() -> str:
    """The command beside this interpreter, as short as it can be typed."""
    command = Path(sys.executable).with_name("laneway")
    return str(command.relative_to(Path.cwd()) if command.is_relative_to(Path.cwd()) else command)


def _platform(
    policy: Policy, report: Callable[[str], None]
) -> AbstractContextManager[LocalPlatform]:
    examples = Path(__file__).resolve().parents[1]
    return local_platform(app="shop.app:app", policy=policy, report=report, python_path=[examples])


def _app(platform: LocalPlatform) -> Any:
    """The shop's application, as a service would see it: configured by its environment."""
    os.environ.update(platform.environment)
    from shop.app import app  # noqa: PLC0415 (reads the environment)

    return app


def _work(
    console: Console,
    app: Any,
    policy: Policy,
    workload: Workload,
    ledger: Ledger,
    *,
    deadline: float,
) -> None:
    """Submit everything and wait until every job has an end, or until the deadline."""
    jobs = Counter(job.queue for job, _story in ledger.stories())
    ordered = {queue: jobs[queue] for queue in policy.queues if jobs[queue]}
    console.print(f"submitting {sum(jobs.values()):,} jobs", highlight=False)
    with progress(console, flows=len(workload.flows), jobs=ordered) as shown:
        looked = 0.0
        for submitted, flow in enumerate(workload.flows, start=1):
            submit(app, flow)
            if (now := time.monotonic()) >= looked + _LOOK_EVERY:
                looked = now
                shown.show(submitted=submitted, ended=ledger.ended())
            if now > deadline:
                break
        while ledger.open() and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY)
            shown.show(submitted=submitted, ended=ledger.ended())
        time.sleep(_SETTLE)
        shown.show(submitted=submitted, ended=ledger.ended())


def _wrong_reports(app: Any, workload: Workload) -> list[str]:
    """Compare what the chords added up on the workers with the sums over the whole data set."""
    problems = []
    for job_id, total in workload.report_totals.items():
        try:
            got = app.AsyncResult(job_id).get(timeout=_RESULT_DEADLINE)["total"]
        except Exception as error:  # noqa: BLE001 (a failed job raises its own error here)
            got = f"{type(error).__name__}: {error}"
        if got != total:
            problems.append(f"shop.reports.combine {job_id}: expected {total}, got {got}")
    return problems
