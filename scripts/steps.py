"""The steps of ``scripts/test``: commands, their lines shown as they come, and their outcomes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

#: More failures than this are no accident of a busy machine: they are not run again.
MOST_AGAIN = 10
#: Characters of a line about one failed test.
WIDTH = 200

_screen = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one step."""

    name: str
    #: The exit status of the command.
    status: int
    #: One line for people.
    summary: str
    #: Name of each failed test: where and how.
    failures: dict[str, str] = field(default_factory=dict)
    #: Names of the tests that passed.
    passed: frozenset[str] = frozenset()

    @property
    def lines(self) -> list[str]:
        """One line for each failed test; one for the step if it failed without telling a test."""
        if self.status and not self.failures:
            return [f"FAILED {self.name}: status {self.status}"]
        return [f"FAILED [{self.name}] {name} {how}"[:WIDTH] for name, how in self.failures.items()]


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Tests run by one pytest, with a memory of its own of what failed."""

    name: str
    #: The program and its arguments.
    command: tuple[object, ...]

    def run(self) -> Outcome:
        """Run all of its tests."""
        shutil.rmtree(self._memory, ignore_errors=True)
        return self._run(self.name)

    def run_failed(self, first: Outcome) -> Outcome:
        """Run what failed in ``first`` once more; status 0 only if every one of them passed."""
        second = self._run(f"{self.name}-again", "--last-failed", "--last-failed-no-failures=none")
        missing = {test: how for test, how in first.failures.items() if test not in second.passed}
        return Outcome(
            name=second.name,
            status=second.status or len(missing),
            summary=second.summary,
            failures=missing | second.failures,
            passed=second.passed,
        )

    @property
    def _memory(self) -> Path:
        return Path(".pytest_cache") / self.name

    def _run(self, name: str, *more: str) -> Outcome:
        report = self._memory / "report.xml"
        report.unlink(missing_ok=True)
        options = ["-o", f"cache_dir={self._memory}", "-o", "junit_family=xunit1"]
        outcome = run(name, *self.command, *options, f"--junitxml={report}", *more)
        failures, passed = _read(report) if report.exists() else ({}, frozenset[str]())
        return Outcome(
            name=name,
            status=outcome.status,
            summary=outcome.summary,
            failures=failures,
            passed=passed,
        )


def may_run_again(outcome: Outcome) -> bool:
    """Whether tests failed, few, and nothing else did (pytest's status 1 says exactly that)."""
    return outcome.status == 1 and 0 < len(outcome.failures) <= MOST_AGAIN


def run(name: str, *command: object) -> Outcome:
    """Run one step, its lines marked with its name."""
    began = time.monotonic()
    counts = ""
    with subprocess.Popen(
        [str(part) for part in command],
        env={**os.environ, "COVERAGE_FILE": f".coverage.{name}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"(\d+ failed|\d+ passed).* in [\d.]+s", line):
                counts = found[0]
            with _screen:
                print(f"[{name}] {line}", end="", flush=True)
    verdict = "failed" if process.returncode else "ok"
    summary = f"{name}: {verdict} after {time.monotonic() - began:.0f} s. {counts}"
    return Outcome(name=name, status=process.returncode, summary=summary)


def _read(report: Path) -> tuple[dict[str, str], frozenset[str]]:
    """The failed tests and the passed ones in a report of pytest."""
    failures: dict[str, str] = {}
    passed: set[str] = set()
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 - our own pytest wrote it
        name = f"{case.get('file')}::{case.get('name')}"
        wrong = case.find("failure")
        wrong = case.find("error") if wrong is None else wrong
        if wrong is not None:
            place = (wrong.text or "").strip().rpartition("\n")[2]
            message = (wrong.get("message") or "").partition("\n")[0]
            failures[name] = f"({place}) {message}"
        elif case.find("skipped") is None:
            passed.add(name)
    return failures, frozenset(passed - failures.keys())
