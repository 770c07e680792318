"""How ``laneway up`` ends when it is told to, whenever that is."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from laneway.cli import up as verb
from laneway.policy import load_policy
from laneway.workloads.board import Board
from support.workers import POLICY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: What SIGTERM raises in the main thread.
TOLD = SystemExit(128 + signal.SIGTERM)


def run(monkeypatch: pytest.MonkeyPatch, told_at: set[str]) -> int:
    """Run the verb over a platform that is told to end at these moments."""

    def moment(name: str) -> None:
        if name in told_at:
            raise TOLD

    @contextmanager
    def platform(*, on_ready: Callable[[], None], **_: Any) -> Iterator[Any]:
        moment("starting")
        on_ready()
        moment("ready")
        yield SimpleNamespace(board=Board(["low"], since=time.time()))
        moment("stopping")

    monkeypatch.setattr(verb, "local_platform", platform)
    monkeypatch.setattr(verb, "load_policy", lambda: load_policy(POLICY))
    monkeypatch.setattr(verb._View, "watch", lambda *_, **__: moment("watching"))
    callback: Any = verb.up.callback
    said = {"app": "a:b", "app_dir": None, "queues": (), "series": "auto", "picture_file": None}
    return int(callback(**said, sentry=False, accept_licence=False, seconds=None))


@pytest.mark.parametrize("told_at", [set(), {"watching"}, {"ready"}])
def test_who_ends_it_once_it_is_ready_ends_it_well(
    monkeypatch: pytest.MonkeyPatch, told_at: set[str]
) -> None:
    """Also between the moment when all is ready, which others can see, and the view."""
    assert run(monkeypatch, told_at) == 0


@pytest.mark.parametrize("told_at", [{"starting"}, {"watching", "stopping"}, {"stopping"}])
def test_who_ends_it_before_or_twice_is_told_so(
    monkeypatch: pytest.MonkeyPatch, told_at: set[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, told_at)
    assert ended.value.code == 143
