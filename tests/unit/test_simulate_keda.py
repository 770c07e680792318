"""What KEDA adds to the HPA: failed triggers, the formula, zero to one and back."""

from __future__ import annotations

import pytest

from laneway.scaling.simulate.keda import Activation, Trigger, TriggerFailed, composite


def test_a_trigger_that_fails_is_an_error_first_and_nil_then() -> None:
    trigger = Trigger(failure_threshold=2)
    assert trigger.take(7.5) == 7.5
    for _ in range(2):
        with pytest.raises(TriggerFailed):
            trigger.take(None)
    assert trigger.take(None) is None
    assert trigger.take(0) == 0
    with pytest.raises(TriggerFailed):
        trigger.take(None)


def test_the_formula_takes_the_scaler_and_else_the_broker() -> None:
    assert composite(11.2, 500) == 11.2
    assert composite(0, 500) == 0
    assert composite(None, 300) == 300
    with pytest.raises(TriggerFailed):
        composite(None, None)


def test_from_zero_keda_makes_the_first_and_takes_the_last_after_the_cooldown() -> None:
    keda = Activation(min=0, cooldown=300)
    assert keda.decide(0, 0, active=False) == 0
    assert keda.decide(30, 0, active=True) == 1
    assert keda.decide(60, 1, active=False) == 1
    assert keda.decide(330, 3, active=False) == 3
    assert keda.decide(331, 3, active=False) == 0


def test_a_trigger_without_a_number_neither_starts_nor_stops() -> None:
    keda = Activation(min=0, cooldown=0)
    assert keda.decide(0, 0, active=None) == 0
    assert keda.decide(1, 2, active=None) == 2


def test_with_a_minimum_it_never_goes_below() -> None:
    keda = Activation(min=2, cooldown=0)
    assert keda.decide(1000, 2, active=False) == 2
    assert keda.decide(1000, 1, active=False) == 2
    assert keda.decide(1000, 0, active=True) == 2
