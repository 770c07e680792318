from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from itertools import count

import pytest

from shop import gateway, website
from shop.purchases import Purchase
from shop.workload import Chain, Chord, Job, Linked, Workload, build_workload, steps_of

PURCHASES = [
    Purchase(
        number=number,
        customer=number // 3 + 1,
        day=date(1997, 1, 1) + timedelta(days=number % 90),
        items=number % 5 + 1,
        cents=0 if number % 100 == 0 else number * 7,
    )
    for number in range(1, 1001)
]


def build(*, orders: int = 200, seed: int = 1) -> Workload:
    numbers = count(1)
    return build_workload(
        PURCHASES,
        orders=orders,
        seed=seed,
        site_url="http://127.0.0.1:80",
        new_id=lambda: f"id-{next(numbers)}",
    )


def test_the_same_seed_gives_the_same_jobs() -> None:
    assert build() == build()
    assert build() != build(seed=2)


def test_ids_are_unique_and_new_on_each_run() -> None:
    first = build_workload(PURCHASES, orders=50, seed=1, site_url="http://127.0.0.1:80")
    second = build_workload(PURCHASES, orders=50, seed=1, site_url="http://127.0.0.1:80")
    ids = [job.id for workload in (first, second) for job in workload.jobs]
    assert len(ids) == len(set(ids))


def test_each_order_is_a_chain_of_four() -> None:
    chains = [flow for flow in build().flows if isinstance(flow, Chain) and len(flow.steps) > 1]
    assert len(chains) == 200
    steps = ["orders.validate", "payment.charge", "shipping.dispatch", "mail.receipt"]
    for chain in chains:
        assert [step.task for step in chain.steps] == [f"shop.{step}" for step in steps]


def test_every_kind_of_job_is_there() -> None:
    tasks = Counter(job.task for job in build().jobs)
    assert tasks["shop.mail.password_reset"] == 50
    assert tasks["shop.payment.refund"] == 25
    assert tasks["shop.crawl.page"] == 50
    assert tasks["shop.payroll.pay"] == 40
    assert tasks["shop.mail.payslip"] == 41
    assert tasks["shop.payroll.bonus"] == 1
    assert tasks["shop.reports.combine"] == 3
    assert tasks["shop.reports.month_sum"] == 3 * 3  # three measures, three months


def test_some_are_delayed_and_some_are_urgent() -> None:
    jobs = build().jobs
    assert {job.countdown for job in jobs} == {None, 1, 3}
    assert {job.priority for job in jobs} == {None, 8}


def test_what_has_to_fail_is_planned() -> None:
    planned = Counter(job.fails_with for job in build(orders=990).jobs)
    assert {"ValidationError", "CardDeclined", "GatewayBusy", "PageGone"} <= set(planned)
    for job in build().jobs:
        if job.task == "shop.orders.validate":
            assert (job.fails_with == "ValidationError") == (job.args[0]["cents"] == 0)
        if job.task == "shop.crawl.page":
            product = int(job.args[0].rsplit("/", 1)[1])
            assert (job.fails_with == "PageGone") == website.is_gone(product)


def test_rare_invalid_orders_are_always_among_them() -> None:
    for orders in (1, 10, 200, 1000):
        jobs = build(orders=orders).jobs
        validations = [job for job in jobs if job.task == "shop.orders.validate"]
        assert len(validations) == orders
        assert any(job.fails_with for job in validations)


def test_the_reports_are_about_all_purchases() -> None:
    totals = list(build(orders=10).report_totals.values())
    assert totals == [
        1000,
        sum(purchase.items for purchase in PURCHASES),
        sum(purchase.cents for purchase in PURCHASES),
    ]


@pytest.mark.parametrize("orders", [0, -1, 1001])
def test_more_orders_than_purchases_are_refused(orders: int) -> None:
    with pytest.raises(ValueError, match=rf"expected orders to be 1\.\.1000, got: {orders}"):
        build(orders=orders)


def test_who_follows_whom() -> None:
    a, b, c, d = (Job(id=name, task="t") for name in "abcd")
    assert list(steps_of(Chain((a, b, c)))) == [(a, ()), (b, (a,)), (c, (b,))]
    assert list(steps_of(Linked((a, b)))) == [(a, ()), (b, (a,))]
    assert list(steps_of(Chord((a, b), Linked((c, d))))) == [
        (a, ()),
        (b, ()),
        (c, (a, b)),
        (d, (c,)),
    ]


def test_the_gateway_is_busy_and_then_answers() -> None:
    assert gateway.ask(23, attempt=1) == gateway.Busy()
    assert gateway.ask(23, attempt=2) == gateway.Paid("pay-000023")
    assert gateway.ask(67, attempt=2) == gateway.Busy()
    assert gateway.ask(67, attempt=3) == gateway.Paid("pay-000067")
    assert gateway.ask(331, attempt=1 + gateway.MAX_RETRIES) == gateway.Busy()
    assert gateway.ask(41, attempt=1) == gateway.Declined()
    assert gateway.ask(1, attempt=1) == gateway.Paid("pay-000001")
