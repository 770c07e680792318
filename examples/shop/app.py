"""The shop's application: all that a service needs to say to be on the platform."""

from __future__ import annotations

from laneway import Laneway

app = Laneway(
    "shop",
    include=[
        "shop.orders",
        "shop.payment",
        "shop.shipping",
        "shop.mail",
        "shop.crawl",
        "shop.reports",
        "shop.payroll",
    ],
)
