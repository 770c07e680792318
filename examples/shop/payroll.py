"""Payroll: salaries are secret, so these jobs go to ``secure`` and results never hold amounts."""

from __future__ import annotations

from typing import Any

from shop.app import app

#: Cents an hour in each grade.
_HOURLY_CENTS = {"clerk": 1_450, "buyer": 2_100, "manager": 3_300}


@app.task
def pay(employee: str, grade: str, hours: int) -> str:
    """Pay one employee; returns the payslip's number, which says nothing about money.

    Raises:
        KeyError: there is no such grade.
    """
    _transfer(employee, _HOURLY_CENTS[grade] * hours)
    return f"{employee}-salary"


@app.task
def bonus(report: dict[str, Any], employee: str) -> str:
    """Pay the manager's share of the sales that a report found: one per mille."""
    _transfer(employee, report["total"] // 1_000)
    return f"{employee}-bonus"


def _transfer(employee: str, cents: int) -> None:
    """Where a real shop would call its bank."""
    if cents <= 0:
        raise ValueError(f"{employee}: expected an amount above 0")
