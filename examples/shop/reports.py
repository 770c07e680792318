"""Sales reports: a chord of one sum a month, and one job that adds them up."""

from __future__ import annotations

from typing import TypedDict

from shop import sales
from shop.app import app
from shop.purchases import load_purchases


class MonthSum(TypedDict):
    """One measure over one month."""

    #: As ``1997-01``.
    month: str
    #: The sum of the measure.
    total: int


class Report(TypedDict):
    """One measure over all months."""

    #: How many months were added up.
    months: int
    #: The sum over all of them.
    total: int
    #: The month with the highest sum.
    best_month: str


@app.task
def month_sum(month: str, measure: sales.Measure) -> MonthSum:
    """Add up ``measure`` over all purchases of ``month`` (as ``1997-01``)."""
    mine = (purchase for purchase in load_purchases() if purchase.month == month)
    return {"month": month, "total": sales.total(mine, measure)}


@app.task
def combine(sums: list[MonthSum]) -> Report:
    """Add up the months."""
    return {
        "months": len(sums),
        "total": sum(part["total"] for part in sums),
        "best_month": max(sums, key=lambda part: part["total"])["month"],
    }
