"""The version decides the profile."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from laneway.broker.profile import all_profiles, profile_of, server_version
from laneway.errors import BrokerError


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("5.0.0", "4.3"),
        ("4.10.1", "4.3"),
        ("4.3.6", "4.3"),
        ("4.3.0-rc.1", "4.3"),
        ("4.2.9", "4.0"),
        ("4.0.5", "4.0"),
        ("3.13.7+1", "3.10"),
        ("3.10.8", "3.10"),
    ],
)
def test_version_decides(version: str, name: str) -> None:
    assert profile_of(version).name == name


@pytest.mark.parametrize("version", ["3.9.29", "3.8", "2.0", "", "unknown"])
def test_older_or_unknown_is_an_error_with_a_cure(version: str) -> None:
    with pytest.raises(BrokerError, match=r"Use RabbitMQ 4\.3"):
        profile_of(version)


def test_x_max_priority_is_only_for_classic_queues() -> None:
    # On a quorum queue it is a 406 of the broker.
    for profile in all_profiles():
        arguments = profile.queue_arguments()
        assert arguments["x-queue-type"] == profile.queue_type
        assert ("x-max-priority" in arguments) == (profile.queue_type == "classic")


def test_arguments_cannot_be_changed_through_the_profile() -> None:
    profile_of("4.3.6").queue_arguments()["x-max-priority"] = 9
    assert profile_of("4.3.6").queue_arguments() == {"x-queue-type": "quorum"}


def test_every_profile_speaks_of_the_same_promises() -> None:
    promised = [sorted(promise for promise, _, _ in profile.promises) for profile in all_profiles()]
    assert all(promises == promised[0] for promises in promised)
    assert all(holds is True for _, holds, _ in profile_of("4.3").promises)
    smaller = {promise for promise, holds, _ in profile_of("3.10").promises if holds is not True}
    assert "a poison job ends as a dead letter" in smaller


def _connection(**properties: Any) -> Any:
    return SimpleNamespace(connection=SimpleNamespace(server_properties=properties))


def test_server_version_is_what_the_server_says() -> None:
    assert server_version(_connection(product="RabbitMQ", version="4.3.6")) == "4.3.6"


@pytest.mark.parametrize(
    "properties", [{"product": "LavinMQ", "version": "2.0"}, {"product": "RabbitMQ"}, {}]
)
def test_other_brokers_are_refused(properties: dict[str, str]) -> None:
    with pytest.raises(BrokerError, match="expected RabbitMQ"):
        server_version(_connection(**properties))
