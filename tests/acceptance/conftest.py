"""One platform for all tests that use a running one, and the command line to use it with."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from laneway.local import InstallFailed, ServerNotInstalled, reap_abandoned_runs
from laneway.policy import load_policy
from laneway.workloads import LocalPlatform, local_platform
from support.cli import POLICY, TESTS, Cli
from support.up import Up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from laneway.local import Series


@pytest.fixture(scope="session")
def series(request: pytest.FixtureRequest) -> Series:
    """Which RabbitMQ the private ones are."""
    chosen = request.config.getoption("--broker")
    return chosen if chosen in ("3.10", "4.3") else "auto"


@pytest.fixture
def bare(tmp_path: Path) -> Cli:
    """The command line where no platform runs and no broker is named."""
    return Cli(tmp_path / "home")


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory, series: Series) -> Iterator[LocalPlatform]:
    """A running platform with the tests' policy and tasks; a worker for every queue."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LANEWAY_HOME", str(home))
        running = local_platform(
            app="support.tasks:app",
            policy=load_policy(POLICY),
            report=lambda _line: None,
            python_path=[TESTS],
            series=series,
        )
        try:
            platform = running.__enter__()
        except (InstallFailed, ServerNotInstalled) as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(str(error))
        try:
            yield platform
        finally:
            running.__exit__(None, None, None)


@pytest.fixture
def cli(platform: LocalPlatform, tmp_path: Path) -> Cli:
    """The command line in the environment of the running platform."""
    return Cli(tmp_path / "home", **platform.environment)


@pytest.fixture
def up(bare: Cli, series: Series, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Up]]:
    """Starts ``laneway up`` in a home of its own; what a failing test leaves running is ended."""
    monkeypatch.setenv("LANEWAY_HOME", bare.environment["LANEWAY_HOME"])
    with contextlib.ExitStack() as stack:
        stack.callback(reap_abandoned_runs)

        def start(*options: str, tty: bool = False, **environment: str) -> Up:
            made = Up(bare, "--rabbitmq", series, *options, environment=environment, tty=tty)
            return stack.enter_context(made)

        yield start
