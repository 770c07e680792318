"""Orders: a purchase becomes an order that the other services can trust."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from shop.app import app


class Order(TypedDict):
    """What travels along the chain: validate, charge, dispatch, receipt."""

    #: The order's number: the place of the purchase in the data set.
    number: int
    #: The customer's number.
    customer: int
    #: The day of the purchase, as ``1997-01-31``.
    day: str
    #: Compact discs ordered.
    items: int
    #: The amount in US cents.
    cents: int
    #: The gateway's reference, once the order is paid.
    payment: NotRequired[str]
    #: The parcel's number, once the order is sent.
    parcel: NotRequired[str]


class ValidationError(ValueError):
    """The order cannot be fulfilled, now or later: a retry would not help."""


@app.task
def validate(order: Order) -> Order:
    """Let an order pass that can be paid and sent.

    Raises:
        ValidationError: it has no amount or no items.
    """
    for field in ("items", "cents"):
        if order[field] <= 0:
            raise ValidationError(
                f"order {order['number']}: expected {field} above 0, got: {order[field]}"
            )
    return order
