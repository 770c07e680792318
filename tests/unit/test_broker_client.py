"""Which client a worker may consume over, and that no other comes in by itself."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from laneway.broker import CLIENTS, client, refuse_worker
from laneway.errors import SettingsError


def test_every_client_says_all_its_abilities() -> None:
    for name, entry in CLIENTS.items():
        assert entry.name == name
        assert tuple(entry.abilities) == get_args(client.Ability)


def test_a_reason_names_the_client_the_ability_and_the_cure() -> None:
    words = CLIENTS["librabbitmq"].why_not("TLS")
    assert words.startswith("librabbitmq has no TLS: ")
    assert "amqps://" in words


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "find_spec", lambda name: name)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_the_pools_of_processes_and_threads_may_consume_over_it(pool: str) -> None:
    refuse_worker("librabbitmq", pool=pool, secure=False, queue="low")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
def test_pools_of_greenlets_may_not(pool: str) -> None:
    with pytest.raises(SettingsError, match=f"the pool '{pool}': librabbitmq has no gevent"):
        refuse_worker("librabbitmq", pool=pool, secure=False, queue="low")


@pytest.mark.usefixtures("installed")
def test_a_secure_queue_may_not() -> None:
    with pytest.raises(SettingsError, match="the secure queue 'payments' needs"):
        refuse_worker("librabbitmq", pool="solo", secure=True, queue="payments")


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"pip install 'laneway\[librabbitmq\]'"):
        refuse_worker("librabbitmq", pool="solo", secure=False, queue="low")


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
@pytest.mark.parametrize("secure", [True, False])
def test_over_py_amqp_nothing_is_refused(pool: str, secure: bool) -> None:
    refuse_worker("py-amqp", pool=pool, secure=secure, queue="payments")


# kombu takes librabbitmq for amqp:// wherever the module can be imported

_WHO = """
import kombu
from celery import Celery
from laneway import Laneway
from laneway.broker import broker_address

def driver(url):
    return kombu.Connection(url).transport_cls

address = broker_address("amqp://u:p@h, amqp://u:p@i", env={})
laneway = Laneway("t", policy=POLICY, address=address, set_as_current=False)
print(
    driver("amqp://h"),
    Celery("t", broker="amqp://h", set_as_current=False).connection_for_read().transport_cls,
    *(driver(url) for url in address.kombu_urls("jobs").split(";")),
    laneway.connection_for_read().transport_cls,
    laneway.connection_for_write().transport_cls,
    laneway.publisher("jobs")._connect({}).transport_cls,
)
"""


def test_a_module_librabbitmq_does_not_change_what_amqp_means_here(tmp_path: Path) -> None:
    # A module of this name is all that kombu looks for.
    (tmp_path / "librabbitmq.py").write_text("")
    policy = str(Path(__file__).resolve().parents[1] / "support" / "policy")
    done = subprocess.run(
        [sys.executable, "-c", _WHO.replace("POLICY", repr(policy))],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    kombus, celerys, *ours = done.stdout.split()
    # The trap is there: plain kombu and Celery take the C client.
    assert (kombus, celerys) == ("librabbitmq", "librabbitmq"), done.stderr
    assert ours == ["pyamqp"] * 5


def test_the_module_of_the_transport_is_not_needed_to_publish() -> None:
    assert importlib.util.find_spec("laneway.broker.librabbitmq") is not None
    code = (
        "import sys, laneway.app, laneway.broker\n"
        "sys.exit('laneway.broker.librabbitmq' in sys.modules or 'librabbitmq' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
