"""``laneway bench`` on a private broker, with Laneway alone; the peers are not installed for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from laneway.local.broker43 import is_installed
from support.cli import Cli

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def bench(home: Path, folder: Path, *arguments: str) -> Any:
    if not is_installed():  # as in the integration tests, 4.3 is there or is not asked for
        pytest.skip("RabbitMQ 4.3 is not installed (make broker43)")
    return Cli(home)("bench", "--quick", "--results", str(folder), *arguments, timeout=170)


def test_a_quick_run_accounts_for_every_job(home: Path, tmp_path: Path) -> None:
    answer = bench(home, tmp_path, "--system", "laneway-prefork", "--measure", "work")
    assert answer.status == 0, answer.err

    results = json.loads((tmp_path / "results.json").read_text())
    assert results["failures"] == []
    (visit,) = results["visits"]
    account = visit["account"]
    assert account["published"] == account["started"] > 400
    assert (account["lost"], account["duplicated"], account["left"]) == (0, 0, 0)
    values = visit["values"]
    assert values["drain_noop"] > 0
    assert values["startup"] > 0
    assert values["memory"] > values["memory_largest"] > 1
    assert values["latency_p50"] <= values["latency_p95"] <= values["latency_p99"]

    report = (tmp_path / "report.md").read_text()
    assert report.strip() == answer.out.strip()
    assert "No job was lost." in report
    assert "| Laneway, prefork |" in report
    assert "run 1 work    Laneway, prefork" in answer.err


def test_what_sentry_costs_is_measured_side_by_side(home: Path, tmp_path: Path) -> None:
    answer = bench(home, tmp_path, "--sentry")
    assert answer.status == 0, answer.out + answer.err

    (pair,) = json.loads((tmp_path / "sentry.json").read_text())["pairs"]
    for drain in pair.values():
        assert drain["account"]["started"] == drain["account"]["published"] > 100
        assert min(drain["rate"], drain["cpu"], drain["memory"]) > 0
    assert pair["on"]["envelopes"] > 0
    assert pair["off"]["envelopes"] == 0
    # The SDK is loaded only where it is to send something.
    assert pair["on"]["memory"] > pair["off"]["memory"] + 5
    assert "Throughput: " in answer.out
    assert "pair 1 of 1: " in answer.err


def test_an_unknown_system_is_a_wrong_command_line(bare: Cli) -> None:
    answer = bare("bench", "--system", "celry")
    assert answer.status == 2
    assert "expected one of laneway-direct, laneway-prefork" in answer.err
    assert "Traceback" not in answer.err
