"""The order after a kill is judged only where the kill came early enough."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from chaos import order
from chaos.order import Order, try_order

LATE = Order(pool="direct", after=20, late=0)
GOOD = Order(pool="direct", after=218, late=3)
STAGE: Any = SimpleNamespace(
    workers=SimpleNamespace(stop=lambda _: None),
    system=SimpleNamespace(order_workers=[SimpleNamespace(name="low.order-direct")]),
)


@pytest.mark.parametrize(
    ("tries", "expected"),
    [
        ([GOOD], GOOD),
        ([LATE, GOOD], GOOD),
        ([LATE, LATE, LATE], LATE),
    ],
)
def test_what_cannot_be_judged_is_tried_again_with_other_jobs(
    monkeypatch: pytest.MonkeyPatch, tries: list[Order], expected: Order
) -> None:
    producers: list[int] = []

    def one(_stage: Any, _worker: str, _seed: int, producer: int) -> Order:
        producers.append(producer)
        return tries[len(producers) - 1]

    monkeypatch.setattr(order, "_try", one)
    assert try_order(STAGE, 1) == [expected]
    assert len(set(producers)) == len(producers) == len(tries)


def test_what_cannot_be_judged_is_red_and_so_is_disorder() -> None:
    assert LATE.is_red
    assert not GOOD.is_red
    assert Order(pool="prefork", after=218, late=3).is_red
