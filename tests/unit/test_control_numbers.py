"""What ``/metrics`` of a control process shows, without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.expositions import control_exposition

if TYPE_CHECKING:
    from conftest import MakePolicy


def test_a_queue_without_dead_letters_is_a_zero(make_policy: MakePolicy) -> None:
    """Prometheus sees a number rise only if it has seen it before; the first would be missed."""
    shown = control_exposition(make_policy(low="")).decode()
    assert 'laneway_facts_total{kind="dead_lettered",queue="low"} 0.0' in shown
    assert 'laneway_facts_total{kind="dead_lettered",queue="default"} 0.0' in shown
    assert 'laneway_dead_letters_open{queue="low"} 0.0' in shown
