"""Payment: somebody waits at the till, so these jobs go to ``high``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shop import gateway
from shop.app import app

if TYPE_CHECKING:
    from shop.orders import Order


class CardDeclined(Exception):
    """The card's bank said no: a retry would not help."""


class GatewayBusy(Exception):
    """The gateway had no time; it will have some later."""


@app.task(bind=True, max_retries=gateway.MAX_RETRIES)
def charge(self: Any, order: Order) -> Order:
    """Take the money of an order; ask again a second later when the gateway is busy.

    Raises:
        CardDeclined: the card will not pay.
        GatewayBusy: it was still busy after the last retry.
    """
    number = order["number"]
    match gateway.ask(number, attempt=self.request.retries + 1):
        case gateway.Paid(reference):
            return {**order, "payment": reference}
        case gateway.Declined():
            raise CardDeclined(f"order {number}: the card was declined")
        case gateway.Busy():
            raise self.retry(countdown=1, exc=GatewayBusy(f"order {number}: the gateway is busy"))


@app.task
def refund(number: int, cents: int) -> str:
    """Give the money of an order back; returns the refund's reference."""
    return f"refund-{number:06d}-{cents}"
