"""A private node stands apart from any other, and its secrets stay in files of mode 0600."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from laneway.local import ports
from laneway.local.ports import free_ports
from laneway.local.rabbitmq_config import NodeIdentity, node_environment, server_config


def test_two_nodes_share_nothing() -> None:
    one, two = NodeIdentity.random(), NodeIdentity.random()
    for field in ("name", "user", "password", "cookie"):
        assert getattr(one, field) != getattr(two, field)


def test_a_node_shows_no_secret() -> None:
    node = NodeIdentity.random()
    environment = node_environment(node, home=Path("/run"), programs=Path("/programs"))
    for shown in (repr(node), str(environment)):
        assert node.password not in shown
        assert node.cookie not in shown


def test_every_listener_is_on_loopback() -> None:
    config = server_config(NodeIdentity.random(), deny_transient_queues=False)
    assert "listeners.tcp.1 = 127.0.0.1:" in config
    assert "management.tcp.ip = 127.0.0.1" in config
    assert "guest" not in config


def test_transient_queues_are_denied_only_where_the_key_exists() -> None:
    key = "deprecated_features.permit.transient_nonexcl_queues = false"
    node = NodeIdentity.random()
    assert key in server_config(node, deny_transient_queues=True)
    assert key not in server_config(node, deny_transient_queues=False)


def test_the_caller_s_rabbitmq_settings_are_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RABBITMQ_NODE_PORT", "5672")
    monkeypatch.setenv("ERL_FLAGS", "-setcookie known")
    environment = node_environment(
        NodeIdentity.random(), home=Path("/run"), programs=Path("/programs")
    )
    assert not {"RABBITMQ_NODE_PORT", "ERL_FLAGS"} & set(environment)


def test_ports_are_free_different_and_out_of_the_way() -> None:
    found = free_ports(50)
    assert len(set(found)) == 50
    assert all(20_000 <= port < 30_000 for port in found)
    assert not {4369, 5672, 6379, 15672, 25672} & set(found)


def test_a_port_in_use_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        monkeypatch.setattr(ports, "_RANGE", range(port, port + 1))
        with pytest.raises(OSError, match="expected 1 free ports"):
            free_ports(1)
