"""``laneway control``: the control process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from laneway.cli.exit_codes import ExitCode
from laneway.cli.options import app_options, health_option, import_from, log_options
from laneway.cli.worker import end_with_owner

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@app_options(required=False)
@click.option("--once", is_flag=True, help="Make letters of what is there now, and end.")
@click.option("--hostname", help="The name of this process.  [default: control@host.pid]")
@log_options
@health_option
@click.option("--owner-pipe", is_flag=True, hidden=True)
def control(
    app: str | None,
    app_dir: Path | None,
    once: bool,
    hostname: str | None,
    form: str,
    log_level: str,
    health: str | None,
    owner_pipe: bool,
) -> int:
    """Run the control process: dead letters of what the broker gave up, and scaling.

    With --health it also answers how many workers each queue needs (/scale, /explain). Any number
    of them may run. --app is only looked at for where its results are, and is not needed where
    LANEWAY_RESULT_BACKEND says it: no task ever runs here. SIGTERM ends it within seconds; facts
    and logs go to stderr.
    """
    if owner_pipe:
        end_with_owner()
    # Only now: Celery is slow to import, and --help does not need it.
    from laneway.control import Control, ControlApp  # noqa: PLC0415 (see above)
    from laneway.log import configure_logging  # noqa: PLC0415 (see above)
    from laneway.probes import address_of_health  # noqa: PLC0415 (see above)
    from laneway.worker import load_app  # noqa: PLC0415 (see above)

    logger = configure_logging("json" if form == "json" else "text", level=log_level.upper())
    import_from(app_dir)
    process = Control(ControlApp(load_app(app) if app else None), name=hostname)
    process.app.facts.listen(logger)
    if once:
        process.run_once()
    else:
        process.run(health=address_of_health(health))
    return ExitCode.OK
