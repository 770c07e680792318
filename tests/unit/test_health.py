"""Where a worker answers, and what it calls alive."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from laneway.errors import SettingsError
from laneway.worker.health import TURN, address_of_health, not_alive, not_ready


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9100", ("127.0.0.1", 9100)),
        (":9100", ("127.0.0.1", 9100)),
        ("0.0.0.0:9100", ("0.0.0.0", 9100)),
        ("[::1]:9100", ("::1", 9100)),
        ("", None),
    ],
)
def test_an_address(text: str, address: tuple[str, int] | None) -> None:
    assert address_of_health(text) == address


def test_the_environment_says_it_where_nobody_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LANEWAY_HEALTH", raising=False)
    assert address_of_health() is None
    monkeypatch.setenv("LANEWAY_HEALTH", "9101")
    assert address_of_health() == ("127.0.0.1", 9101)


@pytest.mark.parametrize("text", ["localhost", "localhost:http", "1:70000", "9100:"])
def test_what_is_no_address_is_an_error(text: str) -> None:
    with pytest.raises(SettingsError, match="expected HOST:PORT or PORT"):
        address_of_health(text)


def worker(turned: float, *, active: int = 0, connected: bool = True) -> Any:
    return SimpleNamespace(
        consumer=SimpleNamespace(turned_at=turned, connection=SimpleNamespace(connected=connected)),
        state=SimpleNamespace(active_requests=range(active)),
        pool=None,
    )


def test_a_loop_that_turns_is_alive() -> None:
    assert not_alive(worker(time.monotonic())) == []


def test_a_loop_that_stands_still_is_not() -> None:
    [problem] = not_alive(worker(time.monotonic() - TURN - 5))
    assert "has not turned for 35 s" in problem


def test_a_loop_that_runs_a_job_itself_is_left_to_the_jobs_limit() -> None:
    assert not_alive(worker(time.monotonic() - TURN - 5, active=1)) == []


def test_who_is_not_connected_is_not_ready_and_alive() -> None:
    away = worker(time.monotonic(), connected=False)
    assert not_ready(away) == ["not connected to the broker"]
    assert not_alive(away) == []
