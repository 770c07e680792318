"""The jobs of one run: which of the shop's tasks, with what, and what has to come of it.

Built from the purchases, the same for the same seed; only the ids of the jobs differ, since results
of an earlier run may still be in the result backend. Nothing here publishes: :mod:`shop.submit`
does.
"""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from shop import gateway, sales, website

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from shop.purchases import Purchase

#: One order in so many is one of the data set's purchases that cost nothing.
INVALID_EVERY: Final = 40
_STAFF: Final = 40
_GRADES: Final = ("clerk", "clerk", "clerk", "buyer", "buyer", "manager")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job and what has to come of it."""

    #: The job's id.
    id: str
    #: The task's name.
    task: str
    #: What it is called with, after the result of the job before it (if it follows one).
    args: tuple[Any, ...] = ()
    #: An explicit priority; None leaves it to the policy.
    priority: int | None = None
    #: Seconds before it may start.
    countdown: int | None = None
    #: The class name of the error that it has to fail with for good; None if it has to succeed.
    fails_with: str | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """Each job starts once the one before it succeeded. A chain of one is a single job."""

    steps: tuple[Job, ...]


@dataclass(frozen=True, slots=True)
class Linked:
    """The same by callbacks: each job is the ``link`` of the one before it."""

    steps: tuple[Job, ...]


@dataclass(frozen=True, slots=True)
class Chord:
    """All parts run; then the body gets their results."""

    parts: tuple[Job, ...]
    body: Linked


Flow = Chain | Linked | Chord


def steps_of(flow: Flow) -> Iterator[tuple[Job, tuple[Job, ...]]]:
    """Each job of ``flow`` with the jobs that have to succeed before it starts."""
    match flow:
        case Chord(parts, body):
            yield from ((part, ()) for part in parts)
            for number, (job, before) in enumerate(steps_of(body)):
                yield job, before if number else parts
        case Chain(steps) | Linked(steps):
            yield steps[0], ()
            yield from ((after, (before,)) for before, after in pairwise(steps))


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Everything that one run submits."""

    #: In the order of submission.
    flows: tuple[Flow, ...]
    #: The job whose result is the report, and what the report has to say: its total.
    report_totals: dict[str, int]

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All jobs of all flows."""
        return tuple(job for flow in self.flows for job, _before in steps_of(flow))


def build_workload(
    purchases: Sequence[Purchase],
    *,
    orders: int,
    seed: int,
    site_url: str,
    new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
) -> Workload:
    """The jobs for ``orders`` of the purchases and everything around them (about 5 jobs an order).

    Args:
        purchases: all of them: the reports are about all, the orders are a sample.
        orders: how many purchases become orders, at least 1.
        seed: the same number gives the same jobs in the same order.
        site_url: where the product pages are, without a slash at the end.
        new_id: makes the ids of the jobs.

    Raises:
        ValueError: fewer purchases than orders, or no order.
    """
    if not 1 <= orders <= len(purchases):
        raise ValueError(f"expected orders to be 1..{len(purchases)}, got: {orders}")
    make = _Builder(random.Random(seed), new_id)
    sample = make.sample(purchases, orders)
    reports = [make.report(purchases, measure) for measure in sales.MEASURES]
    flows: list[Flow] = [
        *(make.order(purchase) for purchase in sample),
        *(make.password_reset(purchase.customer) for purchase in sample[::4]),
        *(make.refund(purchase) for purchase in sample[1::8]),
        *(make.crawl(site_url) for _ in sample[::4]),
        *(make.salary(number) for number in range(_STAFF)),
        *reports,
    ]
    make.random.shuffle(flows)
    totals = {
        chord.body.steps[0].id: sales.total(purchases, measure)
        for chord, measure in zip(reports, sales.MEASURES, strict=True)
    }
    return Workload(flows=tuple(flows), report_totals=totals)


@dataclass(frozen=True, slots=True)
class _Builder:
    """Makes one flow at a time."""

    random: random.Random
    new_id: Callable[[], str]

    def job(self, task: str, *args: Any, **fields: Any) -> Job:
        return Job(id=self.new_id(), task=f"shop.{task}", args=args, **fields)

    def sample(self, purchases: Sequence[Purchase], orders: int) -> list[Purchase]:
        """Some of the purchases, and among them some that cost nothing (rare in the data)."""
        free = [purchase for purchase in purchases if purchase.cents == 0]
        paid = [purchase for purchase in purchases if purchase.cents > 0]
        invalid = min(len(free), max(1, orders // INVALID_EVERY), orders)
        invalid = max(invalid, orders - len(paid))
        chosen = self.random.sample(free, invalid) + self.random.sample(paid, orders - invalid)
        self.random.shuffle(chosen)
        return chosen

    def order(self, purchase: Purchase) -> Chain:
        """Default, high, default, default: a chain across queues. One in ten is an express."""
        number = purchase.number
        order = {
            "number": number,
            "customer": purchase.customer,
            "day": purchase.day.isoformat(),
            "items": purchase.items,
            "cents": purchase.cents,
        }
        express = 8 if number % 10 == 0 else None
        return Chain(
            (
                self.job(
                    "orders.validate",
                    order,
                    fails_with="ValidationError" if purchase.cents == 0 else None,
                ),
                self.job("payment.charge", fails_with=_charge_error(number)),
                self.job("shipping.dispatch", priority=express),
                self.job("mail.receipt"),
            )
        )

    def password_reset(self, customer: int) -> Chain:
        return Chain((self.job("mail.password_reset", customer),))

    def refund(self, purchase: Purchase) -> Chain:
        """Half of them after a while, and one in four because somebody complained."""
        return Chain(
            (
                self.job(
                    "payment.refund",
                    purchase.number,
                    purchase.cents,
                    countdown=self.random.choice((None, None, 1, 3)),
                    priority=self.random.choice((None, None, None, 8)),
                ),
            )
        )

    def crawl(self, site_url: str) -> Chain:
        product = self.random.randint(1, website.PRODUCTS)
        error = "PageGone" if website.is_gone(product) else None
        return Chain((self.job("crawl.page", f"{site_url}/products/{product}", fails_with=error),))

    def salary(self, number: int) -> Linked:
        """From the secure queue to one of the other virtual host."""
        grade, hours = self.random.choice(_GRADES), self.random.randint(80, 170)
        return Linked(
            (
                self.job("payroll.pay", f"employee-{number:03d}", grade, hours),
                self.job("mail.payslip"),
            )
        )

    def report(self, purchases: Sequence[Purchase], measure: sales.Measure) -> Chord:
        """The one about money also pays a bonus: into the secure queue, and out of it again."""
        months = sorted({purchase.month for purchase in purchases})
        body = [self.job("reports.combine")]
        if measure == "cents":
            body += [self.job("payroll.bonus", "manager-001"), self.job("mail.payslip")]
        return Chord(
            tuple(self.job("reports.month_sum", month, measure) for month in months),
            Linked(tuple(body)),
        )


def _charge_error(number: int) -> str | None:
    if gateway.busy_attempts(number) > gateway.MAX_RETRIES:
        return "GatewayBusy"
    return "CardDeclined" if gateway.is_declined(number) else None
