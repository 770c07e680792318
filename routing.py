"""Which task goes to which queue, and how urgent it is: the file a team edits.

A route names a task (``shop.payment.charge``) or a module and everything under it (``shop.*``).
The most specific route wins; the order of the list never matters. What no route names goes to
``default``. See what wins and why: ``laneway route explain NAME``.
"""

from laneway import Route

ROUTES = [
    Route("shop.orders.*", queue="default"),
    Route("shop.payment.*", queue="high"),
    Route("shop.payment.refund", queue="high", priority=6),
    Route("shop.shipping.*", queue="default", priority=5),
    Route("shop.mail.*", queue="default", priority=3),
    Route("shop.mail.password_reset", queue="high", priority=9),
    Route("shop.crawl.*", queue="low"),
    Route("shop.reports.*", queue="low", priority=2),
    Route("shop.payroll.*", queue="secure"),
]
