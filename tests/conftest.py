"""What all tests share: the options of the command line, and policies made for one test."""

from __future__ import annotations

import itertools
import signal
from pathlib import Path
from typing import Protocol

import pytest

from laneway.policy import Policy, load_policy
from laneway.policy.queues import POOL_CAN
from support import workers


class MakePolicy(Protocol):
    """Writes a policy and loads it."""

    def __call__(self, **queues: str) -> Policy:
        """``queues``: name to what its file says besides ``summary`` and ``service_level``."""


def pytest_configure(config: pytest.Config) -> None:
    workers.pool = config.getoption("--pool")
    # Ctrl-C is ignored by what a shell without job control runs in the background, and by all that
    # such a process starts; the tests' commands are to be stopped by it wherever they run.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--broker",
        choices=("3.10", "4.3", "all", "auto"),
        default="auto",
        help="RabbitMQ of the integration tests: 3.10, 4.3, all (both), or auto (the one that "
        "LANEWAY_BROKER_URL names, else 3.10, and 4.3 where it is installed)",
    )
    parser.addoption(
        "--letters",
        type=int,
        default=50_000,
        metavar="N",
        help="dead letters of the test of many (1000000: some minutes)",
    )
    parser.addoption(
        "--pool",
        choices=tuple(POOL_CAN),
        help="the pool of the tests' workers, instead of what their queues' files say",
    )
    parser.addoption(
        "--pictures",
        type=Path,
        metavar="FOLDER",
        help="where the test of the issue page saves what it sees (docs/pictures)",
    )
    parser.addoption(
        "--malformed",
        type=int,
        default=250,
        help="messages that the fuzzer of the gate sends to each pool",
    )


@pytest.fixture
def make_policy(tmp_path: Path) -> MakePolicy:
    """Makes policies of a ``default`` queue and those asked for, with no routes."""
    numbers = itertools.count()

    def make(**queues: str) -> Policy:
        root = tmp_path / f"policy-{next(numbers)}"
        (root / "queues").mkdir(parents=True)
        (root / "routing.py").write_text("ROUTES = []\n")
        for name, text in {"default": "", **queues}.items():
            head = f'summary = "the queue {name}"\nservice_level = "1s"\n'
            (root / "queues" / f"{name}.toml").write_text(head + text)
        return load_policy(root)

    return make
