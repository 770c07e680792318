"""The example for real: its data set, and a small run of it on each broker."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from laneway.broker.management import Management
from shop.purchases import PurchasesUnavailable, load_purchases

if TYPE_CHECKING:
    from integration.conftest import TestBroker
    from laneway.local import PrivateRedis

pytestmark = pytest.mark.integration

RUN = Path(__file__).resolve().parents[2] / "examples" / "shop" / "run.py"


@pytest.fixture(autouse=True)
def _purchases() -> None:
    """The data set comes from a package registry, which a laptop may not reach."""
    try:
        load_purchases()
    except PurchasesUnavailable as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


def run_shop(
    broker: TestBroker, redis: PrivateRedis, *options: str
) -> subprocess.CompletedProcess[str]:
    given = {
        "LANEWAY_BROKER_URL": ";".join(broker.address.urls),
        "LANEWAY_MANAGEMENT_URL": str(broker.address.management_url),
        "LANEWAY_RESULT_BACKEND": redis.url,
    }
    return subprocess.run(
        [sys.executable, str(RUN), *options],
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )


def vhosts(broker: TestBroker) -> set[str]:
    with Management(broker.address) as management:
        return set(management.vhosts())


def test_the_real_purchases() -> None:
    purchases = load_purchases()
    assert len(purchases) == 69_659
    assert sum(purchase.cents for purchase in purchases) == 250_031_563
    assert sum(purchase.items for purchase in purchases) == 167_881
    assert sum(purchase.cents == 0 for purchase in purchases) == 80
    assert len({purchase.customer for purchase in purchases}) == 23_570
    assert len({purchase.month for purchase in purchases}) == 18
    assert (purchases[0].number, purchases[-1].number) == (1, 69_659)


@pytest.mark.slow
def test_every_job_of_a_run_is_accounted_for(broker: TestBroker, redis: PrivateRedis) -> None:
    before = vhosts(broker)
    done = run_shop(broker, redis, "--orders", "40")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "submitted jobs are accounted for" in done.stdout
    assert " 0 missing" in done.stdout
    assert "Problems" not in done.stdout
    for queue in ("high", "default", "low", "secure"):
        assert f"\n{queue} " in done.stdout
    assert max(map(len, done.stdout[done.stdout.index("Jobs by queue") :].splitlines())) <= 100
    assert broker.private is None or vhosts(broker) == before


@pytest.mark.slow
def test_a_job_that_does_not_end_in_time_is_named(broker: TestBroker, redis: PrivateRedis) -> None:
    done = run_shop(broker, redis, "--orders", "400", "--timeout", "1")
    assert done.returncode == 1
    assert ": missing; " in done.stdout
    assert "problems, see above" in done.stdout
