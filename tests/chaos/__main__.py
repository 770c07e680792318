"""The command: ``python -m chaos --seed 7``."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import time
from pathlib import Path
from typing import Final

from rich.console import Console

from bench.setup import set_up_peers
from chaos import report
from chaos.plan import document as planned
from chaos.plan import expected_seconds, plan
from chaos.run import Settings, document, go
from chaos.systems import SYSTEMS
from laneway.local import RunDirectory

#: Jobs a second where nobody says how many jobs.
_RATE: Final = 150
#: Seconds that a fault takes, on average.
_USUAL: Final = 6.0


def main() -> int:
    """Run; 1 if Laneway broke a promise."""
    chosen = _options()
    console = Console(highlight=False)
    faults = plan(chosen.seed, chosen.faults, nodes=chosen.nodes, kinds=chosen.only, gap=chosen.gap)
    console.print(f"seed {chosen.seed}: {len(faults)} faults")
    for fault in faults:
        console.print(str(fault))
    seconds = expected_seconds(faults)
    jobs = chosen.jobs or int(_RATE * seconds)
    console.print(f"{jobs:,} jobs, {jobs / seconds:.0f} a second for about {seconds:.0f} s")
    settings = Settings(
        seed=chosen.seed,
        jobs=jobs,
        rate=jobs / seconds,
        faults=faults,
        nodes=chosen.nodes,
        patience=chosen.patience,
    )
    if chosen.plan:
        return 0
    keys = chosen.system or ["laneway"]
    if keys != ["laneway"]:
        set_up_peers(console.print)
    results = []
    for key in keys:
        began = time.monotonic()

        def say(line: str, began: float = began) -> None:
            console.print(f"{time.monotonic() - began:6.0f} s  {line}")

        with RunDirectory.create() as run:
            console.print(f"{SYSTEMS[key].title}: {run.path}")
            result = go(run, SYSTEMS[key], settings, say)
            if chosen.keep:
                _keep(run.path, chosen.keep / key)
        results.append(result)
        console.print(report.fault_table(result))
        for line in report.lines(result):
            console.print(line)
    console.print(report.account_table(results))
    if chosen.json:
        text = {"faults": planned(faults), "results": [document(result) for result in results]}
        chosen.json.write_text(json.dumps(text, indent=1) + "\n")
    return 1 if any(result.is_red for result in results if result.system.laneway) else 0


def _keep(source: Path, target: Path) -> None:
    for folder in (*source.glob("logs-*"), *source.glob("ledger-*")):
        shutil.copytree(folder, target / folder.name, dirs_exist_ok=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--jobs", type=int, default=None, help="jobs that are published, about")
    parser.add_argument("--minutes", type=float, default=3.0, help="how long faults go on, about")
    parser.add_argument("--faults", type=int, default=None, help="instead of as many as fit")
    parser.add_argument("--gap", type=float, default=4.0, help="seconds of peace before each")
    parser.add_argument("--nodes", type=int, choices=(1, 3), default=1)
    parser.add_argument(
        "--patience", type=float, default=120.0, help="seconds without news in the end"
    )
    parser.add_argument("--only", nargs="*", default=(), help="only these kinds of faults")
    parser.add_argument("--system", nargs="*", choices=tuple(SYSTEMS), help="default: laneway")
    parser.add_argument("--json", type=Path, help="write the whole report here")
    parser.add_argument("--keep", type=Path, help="keep logs and ledgers here")
    parser.add_argument("--plan", action="store_true", help="only show the schedule")
    chosen = parser.parse_args()
    if chosen.seed is None:
        chosen.seed = random.randrange(10**6)
    chosen.faults = chosen.faults or max(1, round(chosen.minutes * 60 / (chosen.gap + _USUAL)))
    return chosen


if __name__ == "__main__":
    sys.exit(main())
