"""What Sentry costs: the ratios of pairs, and what makes them say nothing."""

from __future__ import annotations

import time
from dataclasses import replace
from http.client import RemoteDisconnected
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from bench.account import Account
from bench.sentry_result import Drain, Pair, SentryCost
from bench.sink import Sink, Trouble
from bench.systems import one_laneway

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

EXACT = Account(published=9, started=9, lost=0, duplicated=0, left=0)
OFF = Drain(rate=1000.0, cpu=200.0, memory=80.0, envelopes=0, account=EXACT)


def cost_of(*rates: float) -> SentryCost:
    pairs = [Pair(off=OFF, on=replace(OFF, rate=rate, envelopes=1)) for rate in rates]
    return SentryCost(about={}, system="one", pairs=pairs)


def test_the_ratio_is_that_of_the_pairs_with_its_range() -> None:
    # Machines change their speed: the second pair ran on one twice as fast.
    found = cost_of(960.0, 970.0)
    fast = replace(OFF, rate=2000.0)
    found.pairs[1] = Pair(off=fast, on=replace(fast, rate=1900.0))
    assert found.ratios("rate") == [0.96, 0.95]


@pytest.mark.parametrize(
    ("rates", "says"),
    [
        # Between what the median of ten lies: the second and the ninth of them.
        ((800.0, 951.0, *[970.0] * 7, 1010.0), "throughput: kept."),
        ((900.0, 949.0, *[960.0] * 8), "throughput: kept by the median; more pairs"),
        ((*[940.0] * 8, 951.0, 960.0), "not kept by the median; more pairs"),
        ((*[940.0] * 9, 990.0), "throughput: not kept."),
        ([999.0] * 5, "too few pairs to say"),
    ],
)
def test_it_says_whether_the_bound_is_kept(rates: Sequence[float], says: str) -> None:
    found = cost_of(*rates)
    assert found.faults == []
    assert says in found.summary[-1]


@pytest.mark.parametrize(
    ("pair", "says"),
    [
        (Pair(off=OFF, on=OFF), "it was off"),
        (Pair(off=replace(OFF, envelopes=1), on=replace(OFF, envelopes=1)), "it was on"),
        (
            Pair(off=OFF, on=replace(OFF, envelopes=1, account=replace(EXACT, lost=2))),
            "2 jobs lost or left behind",
        ),
    ],
)
def test_numbers_that_say_nothing_are_red(pair: Pair, says: str) -> None:
    found = SentryCost(about={}, system="one", pairs=[pair])
    (fault,) = found.faults
    assert says in fault
    assert f"RED: {fault}" in found.summary


def test_no_pair_is_red() -> None:
    assert SentryCost(about={}, system="one").faults == ["no pair came to its end"]


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    found = cost_of(990.0, 1005.0)
    found.write(tmp_path / "sentry.json")
    assert SentryCost.load(tmp_path / "sentry.json") == found


def post_to(sink: Sink, *, timeout: float = 10) -> None:
    host = sink.dsn.partition("@")[2].partition("/")[0]
    post = Request(f"http://{host}/api/1/envelope/", data=b"{}\n", method="POST")
    with urlopen(post, timeout=timeout) as answer:
        assert answer.status == 200


def test_the_sink_takes_what_a_client_sends() -> None:
    with Sink() as sink:
        post_to(sink)
        assert sink.envelopes == 1


def test_only_one_laneway_can_be_asked_for() -> None:
    assert one_laneway("laneway-prefork", option="--sentry").pool == "prefork"
    with pytest.raises(ValueError, match="--sentry: expected one --system of laneway-direct"):
        one_laneway("laneway", option="--sentry")
    with pytest.raises(ValueError, match="--sentry"):
        one_laneway("dramatiq", option="--sentry")


@pytest.mark.parametrize(("trouble", "status"), [("429", 429), ("500", 500)])
def test_a_sink_in_trouble_refuses_and_counts(trouble: Trouble, status: int) -> None:
    with Sink(trouble) as sink, pytest.raises(HTTPError) as refused:
        post_to(sink)
    assert refused.value.code == status
    refused.value.close()
    assert sink.envelopes == 1


def test_a_sink_that_hangs_up_counts() -> None:
    with Sink("hangs-up") as sink, pytest.raises(RemoteDisconnected):
        post_to(sink)
    assert sink.envelopes == 1


def test_a_slow_sink_does_not_keep_its_owner() -> None:
    with Sink("slow") as sink:
        with pytest.raises(TimeoutError):
            post_to(sink, timeout=0.2)
        began = time.monotonic()
    assert time.monotonic() - began < 2
    assert sink.envelopes == 1
