"""A run of the benchmarks from beginning to end."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.about import about_this
from bench.ledger import cost_of_a_start, ledger_folder
from bench.measures import measure, yardstick
from bench.plan import DEFAULT, FULL, GROUPS, QUICK, plan
from bench.progress import Progress
from bench.report import markdown
from bench.results import Results
from bench.setup import ROOT, Absent, Setup, draw, set_up_peers
from bench.stage import SystemFailed
from bench.systems import named
from laneway.errors import LanewayError
from laneway.local import RunDirectory, start_rabbitmq

if TYPE_CHECKING:
    from rich.console import Console

    from bench.plan import Group, Mode, Visit
    from bench.stage import Stage
    from bench.systems import System

_MODES: Final[dict[str, Mode]] = {mode.name: mode for mode in (QUICK, DEFAULT, FULL)}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What ``laneway bench`` was told."""

    mode: Mode
    systems: tuple[System, ...]
    groups: tuple[Group, ...]
    folder: Path

    @classmethod
    def of(
        cls,
        *,
        mode: str = "default",
        runs: int | None = None,
        systems: tuple[str, ...] = (),
        groups: tuple[str, ...] = (),
        folder: Path | None = None,
    ) -> Settings:
        """Raises ValueError for a system that is not known."""
        chosen = _MODES[mode]
        results = ROOT / "benchmarks" / "results"
        return cls(
            mode=chosen if runs is None else replace(chosen, runs=runs),
            systems=named(systems),
            groups=tuple(group for group in GROUPS if not groups or group in groups),
            # A quick look never replaces the numbers of a real run.
            folder=folder or (results / "quick" if mode == "quick" else results),
        )


class Bench:
    """One run; use :meth:`go` once.

    Args:
        settings: what is wanted.
        progress: shows what happens.
    """

    def __init__(self, settings: Settings, progress: Progress) -> None:
        self._settings = settings
        self._mode = settings.mode
        self._progress = progress
        self._stages: dict[str, Stage] = {}
        self._rates: dict[str, dict[str, float]] = {}
        self._began = time.monotonic()
        self.results = Results(about={})

    def go(self) -> Results:
        """Set up, measure, write; whatever happens, what was measured is written.

        Raises:
            LanewayError: the private broker cannot be had, or no system can.
        """
        if any(system.pool is None for system in self._settings.systems):
            set_up_peers(self._progress.say)
        # Installing is no part of the time that a run may take.
        self._began = time.monotonic()
        with ExitStack() as stack:
            run = stack.enter_context(RunDirectory.create(report=self._progress.say))
            ledgers = Path(stack.enter_context(ledger_folder(run.path)))
            self._describe(run.path, ledgers)
            broker = stack.enter_context(
                start_rabbitmq(run, series="4.3", report=self._progress.say)
            )
            self.results.about["rabbitmq"] = broker.version
            self._prepare(Setup(run, broker, ledgers))
            if not self.results.systems:
                reasons = [*self.results.absent.values(), *self.results.failures]
                raise LanewayError(f"there is nothing to measure: {'; '.join(reasons)}")
            try:
                self._measure()
            except (KeyboardInterrupt, SystemExit):
                self.results.about["ended_early"] = "interrupted"
                self._write()
                raise
            self._write()
        return self.results

    def _describe(self, disk: Path, ledgers: Path) -> None:
        self.results.about = about_this(disk) | {
            "mode": self._mode.name,
            "runs": self._mode.runs,
            "runs_done": 0,
            "minutes": 0.0,
            "ledger_us": round(cost_of_a_start(ledgers) * 1e6, 2),
        }

    def _prepare(self, setup: Setup) -> None:
        """Make the stages; a system that cannot be had is left out, with the reason."""
        for system in self._settings.systems:
            if system.app is None:
                continue
            self._progress.say(f"preparing {system.title}")
            try:
                self._stages[system.key] = setup.stage(system)
            except Absent as why:
                self._progress.say(f"not measured: {system.title}: {why}")
                self.results.absent[system.key] = str(why)
                continue
            except SystemFailed as error:
                self._fail(str(error))
                continue
            noop, sleep, cpu = system.guess
            self._rates[system.key] = {"noop": noop, "sleep": sleep, "cpu": cpu}
            self.results.add_system(system)
        for system in self._settings.systems:
            if system.app is None and self._stages:
                self._stages[system.key] = next(iter(self._stages.values()))
                self.results.add_system(system)

    def _measure(self) -> None:
        there = [s for s in self._settings.systems if s.key in self.results.systems]
        visits = list(plan(there, self._settings.groups, self._mode.runs))
        with self._progress.over(visits):
            for visit in visits:
                if self._out_of_time(visit):
                    break
                self._progress.begin(visit)
                self._visit(visit)
                self._progress.end(visit)
            else:
                self.results.about["runs_done"] = self._mode.runs

    def _out_of_time(self, visit: Visit) -> bool:
        self.results.about["runs_done"] = visit.run
        budget = self._mode.budget
        if budget is None or time.monotonic() - self._began < budget:
            return False
        note = f"after {budget / 60:.0f} minutes, in run {visit.run + 1} of {self._mode.runs}"
        self.results.about["ended_early"] = note
        self._progress.say(note)
        return True

    def _visit(self, visit: Visit) -> None:
        stage, began = self._stages[visit.system.key], time.monotonic()
        try:
            if visit.system.app is None:
                outcome = yardstick(stage, self._mode)
            else:
                rates = self._rates[visit.system.key]
                outcome = measure(visit.group, stage, self._mode, rates)
        except SystemFailed as error:
            self._fail(f"{visit.group}, run {visit.run + 1}: {error}")
            return
        finally:
            stage.empty()
        outcome.notes["seconds"] = {visit.group: round(time.monotonic() - began, 1)}
        self.results.add(visit, outcome.values, outcome.account, outcome.notes)
        self._progress.show(visit, outcome.values, outcome.account)

    def _fail(self, what: str) -> None:
        self.results.failures.append(what)
        self._progress.say(what)

    def _write(self) -> None:
        folder = self._settings.folder
        self.results.about["minutes"] = round((time.monotonic() - self._began) / 60, 2)
        folder.mkdir(parents=True, exist_ok=True)
        self.results.save(folder / "results.json")
        (folder / "report.md").write_text(markdown(self.results), encoding="utf-8")
        draw(folder, self._progress.say)
        self._progress.say(f"written: {folder}/results.json, report.md")


def run(settings: Settings, console: Console) -> int:
    """Run the benchmarks; 0, or 1 if a job was lost or a system broke down.

    Args:
        settings: what is wanted.
        console: where progress is shown.
    """
    progress = Progress(console)
    results = Bench(settings, progress).go()
    print(markdown(results))
    return 1 if results.is_red else 0
