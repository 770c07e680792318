from __future__ import annotations

import logging
from datetime import date
from typing import Any

import pytest

from shop import reports
from shop.mail import password_reset, payslip, receipt
from shop.orders import Order, ValidationError, validate
from shop.payment import CardDeclined, GatewayBusy, charge, refund
from shop.payroll import bonus, pay
from shop.purchases import Purchase
from shop.shipping import dispatch


def order(number: int = 1, **changes: Any) -> Order:
    made: Order = {
        "number": number,
        "customer": 7,
        "day": "1997-01-01",
        "items": 2,
        "cents": 1999,
    }
    return {**made, **changes}  # type: ignore[typeddict-item]


def test_an_order_goes_through_the_house() -> None:
    paid = charge(validate(order()))
    assert paid["payment"] == "pay-000001"
    sent = dispatch(paid)
    assert sent["parcel"] == "CD0000011"
    assert receipt(sent) == "Your order 1"


@pytest.mark.parametrize("field", ["items", "cents"])
@pytest.mark.parametrize("amount", [0, -1])
def test_an_order_of_nothing_is_invalid(field: str, amount: int) -> None:
    with pytest.raises(ValidationError, match=f"order 1: expected {field} above 0, got: {amount}"):
        validate(order(**{field: amount}))


def test_a_declined_card_is_not_retried() -> None:
    with pytest.raises(CardDeclined, match="order 41"):
        charge(order(41))


@pytest.mark.parametrize("number", [23, 67])
def test_a_busy_gateway_is_asked_again(number: int) -> None:
    assert charge.apply([order(number)]).get()["payment"] == f"pay-{number:06d}"


def test_a_gateway_that_stays_busy_fails_the_job() -> None:
    with pytest.raises(GatewayBusy, match="order 331"):
        charge.apply([order(331)]).get()


def test_nothing_leaves_the_house_unpaid() -> None:
    with pytest.raises(KeyError, match="payment"):
        dispatch(order())


def test_the_other_jobs_return_what_they_did() -> None:
    assert refund(1, 500) == "refund-000001-500"
    assert password_reset(3) == "Choose a new password"
    assert payslip("employee-001-salary") == "Payslip employee-001-salary"


def test_payroll_says_no_amounts(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert pay("employee-001", "clerk", 100) == "employee-001-salary"
    assert bonus({"total": 2_500_315_630}, "manager-001") == "manager-001-bonus"
    assert not caplog.records
    with pytest.raises(KeyError):
        pay("employee-001", "pope", 100)
    with pytest.raises(ValueError, match="expected an amount above 0") as error:
        pay("employee-001", "clerk", -3)
    assert "4350" not in str(error.value)


def test_reports_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    days = [date(1997, 1, 1), date(1997, 1, 31), date(1997, 2, 1)]
    purchases = tuple(
        Purchase(number=number, customer=1, day=day, items=number, cents=number * 100)
        for number, day in enumerate(days, start=1)
    )
    monkeypatch.setattr(reports, "load_purchases", lambda: purchases)
    sums = [reports.month_sum(month, "cents") for month in ("1997-01", "1997-02")]
    assert sums == [{"month": "1997-01", "total": 300}, {"month": "1997-02", "total": 300}]
    assert reports.month_sum("1997-01", "orders")["total"] == 2
    assert reports.month_sum("1997-01", "items")["total"] == 3
    assert reports.month_sum("1999-01", "items")["total"] == 0
    assert reports.combine(sums) == {"months": 2, "total": 600, "best_month": "1997-01"}
