"""A broker whose alarm is on takes no publishes, and says so within the deadline."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

import laneway
from laneway.broker import broker_address
from laneway.local import start_rabbitmq
from support.topology import apply_policy
from support.workers import make_app

if TYPE_CHECKING:
    from laneway.local import RunDirectory

pytestmark = pytest.mark.integration


def test_an_alarm_refuses_and_the_publisher_recovers(run_directory: RunDirectory) -> None:
    # A broker of the test's own: an alarm holds up everybody on it.
    with start_rabbitmq(run_directory, series="3.10") as server:
        address = broker_address(server.url, server.management_url, vhost_prefix="", env={})
        apply_policy(address)
        app = make_app(address, publish_deadline=1.0)
        app.send_task("plain.add")
        server.ctl("set_vm_memory_high_watermark", "absolute", "1MB")
        began = time.monotonic()
        with pytest.raises(laneway.BrokerBlocked, match="alarm") as first:  # noqa: PT012
            while time.monotonic() < began + 30:
                app.send_task("plain.add")
        assert time.monotonic() - began < 45
        assert first.value.maybe_accepted
        began = time.monotonic()
        with pytest.raises(laneway.BrokerBlocked):
            app.send_task("plain.add")
        assert time.monotonic() - began < 8
        server.ctl("set_vm_memory_high_watermark", "absolute", "1GB")
        until = time.monotonic() + 60
        while True:
            try:
                app.send_task("plain.add")
                break
            except laneway.BrokerBlocked:
                assert time.monotonic() < until
