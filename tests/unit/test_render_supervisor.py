"""The units, as supervisord itself reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from laneway.errors import LanewayError
from laneway.policy import load_policy
from laneway.render import render_supervisor
from support.rendered import BULK, Checkout, programs

if TYPE_CHECKING:
    from pathlib import Path

UNITS = "deploy/supervisor"


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """The repository's own policy."""
    return Checkout.copy(tmp_path / "checkout")


def write(checkout: Checkout) -> None:
    render_supervisor(load_policy(checkout.root), checkout.root).write(checkout.root)


def test_the_committed_units(checkout: Checkout) -> None:
    queues = load_policy(checkout.root).queues.values()
    assert set(programs(checkout)) == {
        "laneway-control-00",
        *(
            f"laneway-worker-{queue.name}-{number:02d}"
            for queue in queues
            for number in range(queue.scaling.min)
        ),
    }


def test_the_secure_queue_has_a_file_of_its_own(checkout: Checkout) -> None:
    assert list(programs(checkout, "secure")) == ["laneway-worker-secure-00"]
    assert not [
        name
        for name in {**programs(checkout, "jobs"), **programs(checkout, "control")}
        if "secure" in name
    ]


def test_a_process_is_started_without_a_shell_and_told_to_stop_alone(checkout: Checkout) -> None:
    for name, process in programs(checkout).items():
        assert process.command.split()[:2] in (["laneway", "worker"], ["laneway", "control"]), name
        assert process.stopasgroup is False, name
        assert process.stopsignal == 15, name
        assert process.environment == {"PYTHONSAFEPATH": "1"}, name
        assert process.redirect_stderr is True, name


def test_the_time_to_stop_is_the_grace_and_what_handing_back_takes(checkout: Checkout) -> None:
    for name, process in programs(checkout).items():
        queue = process.command.split()[2]
        grace = 0.0
        if "worker" in name:
            grace = load_policy(checkout.root).queue(queue).worker.grace_period
        assert process.stopwaitsecs == grace + 15, name


def test_each_process_answers_on_a_port_of_its_own(checkout: Checkout) -> None:
    checkout.add("bulk", BULK.replace("min = 1", "min = 100").replace("max = 6", "max = 100"))
    write(checkout)
    found = programs(checkout)
    addresses = [process.command.partition("--health ")[2] for process in found.values()]
    assert len(set(addresses)) == len(found) > 100
    assert all(address.startswith("127.0.0.1:9") for address in addresses)


def test_a_queue_more_is_a_program_more(checkout: Checkout) -> None:
    checkout.add("bulk")
    write(checkout)
    bulk = programs(checkout)["laneway-worker-bulk-00"]
    assert bulk.command.startswith("laneway worker bulk ")
    assert bulk.stopwaitsecs == 3 * 60 + 15


def test_the_file_of_a_virtual_host_without_queues_goes(checkout: Checkout) -> None:
    (checkout.root / "queues/secure.toml").unlink()
    text = checkout.text("routing.py")
    (checkout.root / "routing.py").write_text(text.replace('queue="secure"', 'queue="low"'))
    write(checkout)
    assert not (checkout.root / UNITS / "secure.conf").exists()
    assert programs(checkout)


def test_more_workers_than_ports_are_refused(checkout: Checkout) -> None:
    checkout.add("bulk", BULK.replace("min = 1", "min = 101").replace("max = 6", "max = 200"))
    with pytest.raises(LanewayError, match=r"bulk.toml: expected scaling.min of at most 100"):
        write(checkout)
