"""Shipping: a paid order becomes a parcel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shop.app import app

if TYPE_CHECKING:
    from shop.orders import Order


@app.task
def dispatch(order: Order) -> Order:
    """Hand the order to the carrier.

    Raises:
        KeyError: the order is not paid: nothing leaves the house unpaid.
    """
    payment = order["payment"]
    check = sum(int(digit) for digit in payment if digit.isdigit()) % 10
    return {**order, "parcel": f"CD{order['number']:06d}{check}"}
