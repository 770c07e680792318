"""``laneway submit`` and ``laneway result``: one job in, what became of it out."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from laneway.app import Laneway
from laneway.cli.exit_codes import ExitCode
from laneway.cli.options import app_options, find_platform, import_from
from laneway.cli.output import json_option, write_json
from laneway.errors import SettingsError
from laneway.worker import load_app

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from celery.result import AsyncResult


def _json(kind: type[Any], example: str) -> Callable[[Any, Any, str], Any]:
    def read(_context: Any, _parameter: Any, text: str) -> Any:
        try:
            value = json.loads(text)
        except ValueError as error:
            raise click.BadParameter(f"expected JSON like {example}, got: {text!r}") from error
        if not isinstance(value, kind):
            raise click.BadParameter(f"expected JSON like {example}, got: {text!r}")
        return value

    return read


@click.command()
@click.argument("task")
@click.option("--args", default="[]", callback=_json(list, "'[1, \"two\"]'"), help="A JSON list.")
@click.option(
    "--kwargs", default="{}", callback=_json(dict, "'{\"order\": 7}'"), help="A JSON object."
)
@click.option("--queue", help="As in apply_async(queue=...).")
@click.option("--priority", type=int, help="0 to 9, higher is more urgent.")
@click.option("--countdown", type=click.FloatRange(min=0), help="Seconds to wait before it runs.")
@click.option("--wait", type=click.FloatRange(min=0), help="Wait so many seconds for the result.")
@app_options(required=False)
@json_option
def submit(
    task: str,
    args: list[Any],
    kwargs: dict[str, Any],
    queue: str | None,
    priority: int | None,
    countdown: float | None,
    wait: float | None,
    app: str | None,
    app_dir: Path | None,
    as_json: bool,
) -> int:
    """Publish one job.

    Prints the id of the job. Without --app it is published by the name TASK alone: what @task(...)
    says in the code is then not known, and neither is whether there is such a task.
    """
    find_platform()
    application = _application(app, app_dir)
    decision = application.decide(task, kwargs, queue=queue, priority=priority)
    result = application.send_task(task, args, kwargs, countdown, queue=queue, priority=priority)
    if wait is not None:
        click.echo(f"laneway: {result.id} on {decision.queue}", err=True)
        return _show(_wait(result, wait), as_json=as_json)
    if as_json:
        write_json({"id": result.id, "queue": decision.queue, "priority": decision.priority})
    else:
        click.echo(result.id)
    return ExitCode.OK


@click.command()
@click.argument("job_id", metavar="ID")
@click.option("--wait", type=click.FloatRange(min=0), help="Wait so many seconds for it.")
@app_options(required=False)
@json_option
def result(
    job_id: str, wait: float | None, app: str | None, app_dir: Path | None, as_json: bool
) -> int:
    """Show what became of a job.

    Status 0 if it succeeded, 1 if it failed, 6 if there is no result: it may wait, run, be unknown,
    or its result may have expired.
    """
    find_platform()
    application = _application(app, app_dir)
    return _show(_wait(application.AsyncResult(job_id), wait or 0), as_json=as_json)


def _application(place: str | None, folder: Path | None) -> Laneway:
    import_from(folder)
    return load_app(place) if place else Laneway("laneway.cli")


def _wait(job: AsyncResult, seconds: float) -> AsyncResult:
    if job.backend.__class__.__name__ == "DisabledBackend":
        raise SettingsError(
            "there is no result backend: expected LANEWAY_RESULT_BACKEND, like "
            "redis://:password@host:6379/0, got nothing"
        )
    until = time.monotonic() + seconds
    while not job.ready() and time.monotonic() < until:
        time.sleep(min(0.05, max(0.0, until - time.monotonic())))
    return job


def _show(job: AsyncResult, *, as_json: bool) -> ExitCode:
    state, value = job.state, job.result
    failed = state in {"FAILURE", "REVOKED"}
    if as_json:
        write_json(
            {
                "id": job.id,
                "state": state,
                "result": None if failed or not job.ready() else value,
                "error": f"{type(value).__name__}: {value}" if failed else None,
            }
        )
    elif failed:
        click.echo(f"{state}: {type(value).__name__}: {value}")
        if job.traceback:
            click.echo(job.traceback, err=True)
    elif job.ready():
        click.echo(json.dumps(value))
    else:
        click.echo(f"{state}: no result (yet)")
    if not job.ready():
        return ExitCode.PENDING
    return ExitCode.NO if failed else ExitCode.OK
