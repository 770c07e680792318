"""What must stand on the broker, derived from the policy."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from kombu.transport import native_delayed_delivery as kombu_delays

from laneway.broker.profile import all_profiles, profile_of
from laneway.topology.delays import delay_bindings, delay_levels
from laneway.topology.desired import (
    AUDIT_STREAM,
    DEAD_INBOX,
    LETTER_STREAM,
    Topology,
    desired_topology,
)
from laneway.topology.parts import BindingPart, ExchangePart, QueuePart

if TYPE_CHECKING:
    from conftest import MakePolicy

QUORUM, TWO_CLASSES, CLASSIC = (profile_of(version) for version in ("4.3.6", "4.0.5", "3.10.8"))


def _definition(topology: Topology, queue: str) -> dict[str, Any]:
    (found,) = [p for p in topology.policies if p.covers(queue)]
    return dict(found.definition)


def _arguments(topology: Topology, queue: str) -> dict[str, Any]:
    (found,) = [q for q in topology.queues if q.name == queue]
    return dict(found.arguments)


def test_each_vhost_has_its_own_queues(make_policy: MakePolicy) -> None:
    policy = make_policy(high="", vault='[broker]\nvhost = "secure"\n')
    jobs = {q.name for q in desired_topology(policy, QUORUM, "jobs").queues}
    secure = {q.name for q in desired_topology(policy, QUORUM, "secure").queues}
    assert jobs - secure == {
        "default",
        "high",
        "laneway.paused.default",
        "laneway.paused.high",
    }
    assert secure - jobs == {"vault", "laneway.paused.vault"}
    assert jobs & secure == {DEAD_INBOX, LETTER_STREAM, AUDIT_STREAM}


def test_the_type_is_the_only_argument(make_policy: MakePolicy) -> None:
    topology = desired_topology(make_policy(), QUORUM, "jobs")
    assert _arguments(topology, "default") == {"x-queue-type": "quorum"}
    classic = desired_topology(make_policy(), CLASSIC, "jobs")
    assert _arguments(classic, "default") == {"x-queue-type": "classic", "x-max-priority": 9}
    assert _arguments(classic, DEAD_INBOX) == {"x-queue-type": "quorum"}


def test_all_that_may_change_is_one_policy(make_policy: MakePolicy) -> None:
    limits = '[broker]\nmax_length = 7\ndelivery_limit = 3\nconsumer_timeout = "2h"\n'
    policy = make_policy(high=limits)
    expected = {
        "dead-letter-exchange": "dead",
        "dead-letter-strategy": "at-least-once",
        "overflow": "reject-publish",
        "max-length": 7,
        "delivery-limit": 3,
        "consumer-timeout": 7_200_000,
    }
    assert _definition(desired_topology(policy, QUORUM, "jobs"), "high") == expected
    assert _definition(desired_topology(policy, TWO_CLASSES, "jobs"), "high") == expected
    assert _definition(desired_topology(policy, CLASSIC, "jobs"), "high") == {
        "dead-letter-exchange": "dead",
        "overflow": "reject-publish",
        "max-length": 7,
    }


@pytest.mark.parametrize("profile", all_profiles(), ids=lambda p: p.name)
def test_nothing_is_ever_dropped(make_policy: MakePolicy, profile: Any) -> None:
    """Every queue refuses when full, and what a queue gives up has a place to go."""
    topology = desired_topology(make_policy(high=""), profile, "jobs")
    levels = [p for p in topology.delays if isinstance(p, QueuePart)]
    for queue in (*topology.queues, *levels):
        definition = _definition(topology, queue.name)
        assert "message-ttl" not in definition
        if queue.type == "stream":
            # A limit by size would drop confirmed letters in silence.
            assert definition == {"max-age": "30D"}
            continue
        assert definition["overflow"] == "reject-publish"
        if queue.name == DEAD_INBOX or queue.name.startswith("laneway.paused."):
            assert "max-length" not in definition
            assert definition.get("delivery-limit") == (
                -1 if profile.default_delivery_limit else None
            )
        elif queue not in levels:
            assert definition["dead-letter-exchange"] == "dead"
    assert any(b.source == "dead" and b.destination == DEAD_INBOX for b in topology.bindings)


@pytest.mark.parametrize("profile", all_profiles(), ids=lambda p: p.name)
def test_every_queue_has_exactly_one_policy(make_policy: MakePolicy, profile: Any) -> None:
    topology = desired_topology(make_policy(a="", **{"a-b": ""}), profile, "jobs")
    for queue in topology.queues:
        covering = [p.name for p in topology.policies if p.covers(queue.name)]
        assert covering == [f"laneway.{queue.name}"]


def test_bindings_of_a_queue_are_kombus_and_the_plain_one() -> None:
    assert delay_bindings("high", "jobs") == (
        BindingPart(
            source="celery_delayed_delivery",
            destination="jobs",
            destination_type="exchange",
            routing_key="#.high",
        ),
        BindingPart(source="jobs", destination="high", routing_key="#.high"),
    )


def test_levels_are_all_that_kombu_declares() -> None:
    levels = delay_levels()
    queues = {p.name: p for p in levels if isinstance(p, QueuePart)}
    assert set(queues) == {f"celery_delayed_{n}" for n in range(28)}
    for number in range(28):
        arguments = queues[f"celery_delayed_{number}"].arguments
        assert arguments["x-message-ttl"] == 2**number * 1000
        assert arguments["x-overflow"] == "reject-publish"
        assert arguments["x-dead-letter-strategy"] == "at-least-once"
    exchanges = {p.name for p in levels if isinstance(p, ExchangePart)}
    assert exchanges == {*queues, "celery_delayed_delivery"}
    assert sum(isinstance(p, BindingPart) for p in levels) == 28 + 27 + 1


def test_a_change_in_kombu_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    before = delay_levels()
    monkeypatch.setattr(kombu_delays, "level_name", lambda level, prefix=None: f"renamed_{level}")
    assert delay_levels() != before


def test_digest_is_stable_and_ignores_what_the_broker_does_not_see(make_policy: MakePolicy) -> None:
    one = desired_topology(make_policy(high="", low=""), QUORUM, "jobs")
    again = desired_topology(
        make_policy(low="[worker]\nconcurrency = 9\n", high="[scaling]\nmax = 3\n"), QUORUM, "jobs"
    )
    assert one.digest == again.digest
    shuffled = dataclasses.replace(
        one, queues=one.queues[::-1], bindings=one.bindings[::-1], delays=one.delays[::-1]
    )
    assert shuffled.digest == one.digest
    assert len(one.digest) == 16


def test_digest_changes_with_everything_that_the_broker_sees(make_policy: MakePolicy) -> None:
    base = make_policy(high="")
    topologies = [
        desired_topology(base, QUORUM, "jobs"),
        desired_topology(base, TWO_CLASSES, "jobs"),
        desired_topology(base, CLASSIC, "jobs"),
        desired_topology(base, QUORUM, "secure"),
        desired_topology(make_policy(high="", low=""), QUORUM, "jobs"),
        desired_topology(make_policy(high="[broker]\nmax_length = 5\n"), QUORUM, "jobs"),
        desired_topology(make_policy(high="[broker]\ndelivery_limit = 6\n"), QUORUM, "jobs"),
        desired_topology(make_policy(high='[worker]\ntime_limit = "10h"\n'), QUORUM, "jobs"),
    ]
    assert len({topology.digest for topology in topologies}) == len(topologies)
