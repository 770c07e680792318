"""Plan, apply and check on a real broker."""

from __future__ import annotations

import dataclasses
import secrets
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from amqp import Message
from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from kombu.transport.native_delayed_delivery import (
    bind_queue_to_native_delayed_delivery_exchange,
    calculate_routing_key,
    declare_native_delayed_delivery_exchanges_and_queues,
)

from laneway.broker.address import VHOST_KINDS, broker_address
from laneway.broker.management import Management
from laneway.broker.profile import profile_of, server_version
from laneway.errors import BrokerError, VirtualHostMissing
from laneway.pause import PauseLook
from laneway.topology import (
    DEAD_INBOX,
    apply_plan,
    check_topology,
    desired_topology,
    digest_exchange,
    look_at,
    make_plan,
)
from laneway.topology.changes import MarkApplied

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import MakePolicy
    from integration.conftest import TestBroker
    from laneway.broker.address import BrokerAddress
    from laneway.policy import Policy
    from laneway.topology import Plan

pytestmark = pytest.mark.integration

WRONG_TYPE = {"3.10": {"x-queue-type": "quorum"}, "4.3": {"x-queue-type": "classic"}}


@pytest.fixture
def policy(make_policy: MakePolicy) -> Policy:
    return make_policy(high="", vault='[broker]\nvhost = "secure"\n')


@pytest.fixture
def jobs(address: BrokerAddress) -> Iterator[Any]:
    """A connection to the virtual host of jobs, which must exist when it is first used."""
    connect: Any = Connection
    with connect(address.kombu_urls("jobs"), transport_options={"confirm_publish": True}) as made:
        yield made


def apply(management: Management, policy: Policy, address: BrokerAddress, **options: bool) -> None:
    carry_out(management, make_plan(management, policy, address, **options), address)


def carry_out(management: Management, plan: Plan, address: BrokerAddress) -> None:
    apply_plan(management, plan, address, statistics_age=0.2)


def wait_for(what: Callable[[], bool], *, within: float = 60.0) -> None:
    """For the broker's statistics, mostly."""
    until = time.monotonic() + within
    while not what():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.1)


def publish(connection: Any, key: str, body: str = "job", **properties: Any) -> None:
    message = Message(body, delivery_mode=2, **properties)
    connection.default_channel.basic_publish(message, "jobs", key, mandatory=True, timeout=5)


def take(connection: Any, queue: str, *, within: float = 60.0) -> Any:
    """The next message, acknowledged; None if none comes in time."""
    until = time.monotonic() + within
    while True:
        if message := connection.default_channel.basic_get(queue, no_ack=True):
            return message
        if time.monotonic() > until:
            return None
        time.sleep(0.05)


def count(connection: Any, queue: str) -> int:
    return int(connection.default_channel.queue_declare(queue, passive=True).message_count)


def test_a_second_plan_is_empty(
    management: Management, policy: Policy, address: BrokerAddress
) -> None:
    plan = make_plan(management, policy, address)
    steps: list[str] = []
    apply_plan(management, plan, address, report=steps.append)
    assert steps == [str(change) for change in plan.changes]
    # At once, and when the broker's statistics have caught up.
    for _ in range(2):
        again = make_plan(management, policy, address)
        assert again.is_empty, str(again)
        assert not again.leftovers
        time.sleep(1.5)


def test_the_broker_reports_our_policies_as_the_effective_ones(
    management: Management, policy: Policy, address: BrokerAddress
) -> None:
    apply(management, policy, address)
    until = time.monotonic() + 60
    expected = {n: f"laneway.{n}" for n in ("default", "high", DEAD_INBOX, "dead.letters")}
    expected["celery_delayed_7"] = "laneway.delays"
    found: dict[str, str | None] = {}
    while time.monotonic() < until and found != expected:
        queues = management.queues(address.vhost("jobs"))
        found = {q.name: q.policy for q in queues if q.name in expected}
        time.sleep(0.2)
    assert found == expected


def test_what_a_celery_worker_declares_changes_nothing(
    management: Management, policy: Policy, address: BrokerAddress, jobs: Any
) -> None:
    apply(management, policy, address)
    declare_native_delayed_delivery_exchanges_and_queues(jobs, "quorum")
    make_queue: Any = Queue
    make_exchange: Any = Exchange
    queue = make_queue("high", make_exchange("jobs", type="topic"), routing_key="high")
    bind_queue_to_native_delayed_delivery_exchange(jobs, queue)
    plan = make_plan(management, policy, address)
    assert plan.is_empty, str(plan)


def test_an_interrupted_apply_is_finished_by_the_next(
    management: Management, policy: Policy, address: BrokerAddress
) -> None:
    plan = make_plan(management, policy, address)
    for stop in range(0, len(plan.changes), 7):
        part = dataclasses.replace(plan, changes=plan.changes[: stop + 1])
        apply_plan(management, part, address)
    apply(management, policy, address)
    assert make_plan(management, policy, address).is_empty


def test_drift_is_found_and_repaired(
    management: Management, policy: Policy, address: BrokerAddress, jobs: Any
) -> None:
    apply(management, policy, address)
    vhost = address.vhost("jobs")
    management.delete_policy(vhost, "laneway.high")
    jobs.default_channel.queue_unbind("high", "jobs", "high")
    jobs.default_channel.exchange_delete("celery_delayed_9")
    plan = make_plan(management, policy, address)
    assert len(plan.changes) == 3, str(plan)
    apply_plan(management, plan, address)
    assert make_plan(management, policy, address).is_empty


def test_a_foreign_policy_that_wins_stops_the_mark(
    management: Management, policy: Policy, address: BrokerAddress
) -> None:
    apply(management, policy, address)
    vhost = address.vhost("jobs")
    management.put_policy(
        vhost, "theirs", pattern="^high", definition={"message-ttl": 60000}, priority=5000
    )
    plan = make_plan(management, policy, address)
    with pytest.raises(BrokerError, match=r"'theirs' .* overrules"):
        apply_plan(management, plan, address)
    management.delete_policy(vhost, "theirs")
    assert make_plan(management, policy, address).is_empty


# Check


def test_check_is_content_with_what_was_applied(
    management: Management, policy: Policy, address: BrokerAddress, broker: TestBroker, jobs: Any
) -> None:
    apply(management, policy, address)
    assert server_version(jobs) == broker.version
    assert check_topology(jobs, policy, broker.profile, "jobs", "high") == []


def test_a_worker_without_its_queue_exchange_or_dead_inbox_is_told(
    management: Management, policy: Policy, address: BrokerAddress, broker: TestBroker, jobs: Any
) -> None:
    for missing in ("high", DEAD_INBOX, "jobs", "dead"):
        apply(management, policy, address)
        if missing in {"jobs", "dead"}:
            jobs.default_channel.exchange_delete(missing)
        else:
            jobs.default_channel.queue_delete(missing)
        (finding,) = check_topology(jobs, policy, broker.profile, "jobs", "high")
        assert finding.severity == "fatal"
        assert f" {missing} " in finding.what
        assert "laneway topology plan" in finding.cure
        # It only looked.
        names = {q.name for q in management.queues(address.vhost("jobs"))}
        names |= {e.name for e in management.exchanges(address.vhost("jobs"))}
        assert missing not in names


def test_a_queue_of_the_wrong_type_is_fatal(
    management: Management, policy: Policy, address: BrokerAddress, broker: TestBroker, jobs: Any
) -> None:
    apply(management, policy, address)
    for wrong in ("high", DEAD_INBOX):
        jobs.default_channel.queue_delete(wrong)
        jobs.default_channel.queue_declare(wrong, durable=True, auto_delete=False)
        finding = check_topology(jobs, policy, broker.profile, "jobs", "high")[0]
        assert finding.severity == "fatal"
        assert "another type" in finding.what
        assert wrong in finding.what


def test_another_version_of_the_policy_is_drift_and_both_work_side_by_side(
    management: Management,
    policy: Policy,
    make_policy: MakePolicy,
    address: BrokerAddress,
    broker: TestBroker,
    jobs: Any,
) -> None:
    newer = make_policy(
        high="[broker]\nmax_length = 77\n", vault='[broker]\nvhost = "secure"\n', extra=""
    )
    apply(management, policy, address)
    (finding,) = check_topology(jobs, newer, broker.profile, "jobs", "high")
    assert finding.severity == "drift"
    apply(management, newer, address)
    # A rolling deploy: the old version goes on without a word.
    assert check_topology(jobs, policy, broker.profile, "jobs", "high") == []
    assert check_topology(jobs, newer, broker.profile, "jobs", "extra") == []


@contextmanager
def another_user(address: BrokerAddress, *, tags: str, **rights: str) -> Iterator[tuple[str, str]]:
    """A user and password with these rights in both virtual hosts."""
    user, password = f"user-{secrets.token_hex(4)}", secrets.token_hex(8)
    assert address.management_url
    with httpx.Client(base_url=f"{address.management_url}/api/", trust_env=False) as api:
        api.put(f"users/{user}", json={"password": password, "tags": tags}).raise_for_status()
        try:
            for kind in VHOST_KINDS:
                path = f"permissions/{address.vhost(kind)}/{user}"
                api.put(path, json=rights).raise_for_status()
            yield user, password
        finally:
            api.delete(f"users/{user}").raise_for_status()


@contextmanager
def connected_with(address: BrokerAddress, **rights: str) -> Iterator[Any]:
    """A connection of a user with nothing but these rights."""
    connect: Any = Connection
    every = {"configure": "^$", "write": "^$", "read": "^$"} | rights
    with (
        another_user(address, tags="", **every) as login,
        connect(address.as_user(*login).kombu_urls("jobs")) as connection,
    ):
        yield connection


LEAST = {"write": r"^(jobs|dead|dead\.inbox)$", "read": r"^(high|laneway\.topology\..*)$"}


def test_check_needs_no_privilege_and_sees_what_is_missing(
    management: Management, policy: Policy, address: BrokerAddress, broker: TestBroker
) -> None:
    """A worker's least rights show it all; none of them lets it change what stands."""
    apply(management, policy, address)
    vhost = address.vhost("jobs")
    digest = desired_topology(policy, broker.profile, "jobs").digest
    with connected_with(address, **LEAST) as connection:
        assert check_topology(connection, policy, broker.profile, "jobs", "high") == []
        management.delete_exchange(vhost, digest_exchange(digest))
        (found,) = check_topology(connection, policy, broker.profile, "jobs", "high")
        assert found.severity == "drift"
        management.delete_queue(vhost, DEAD_INBOX)
        (found,) = check_topology(connection, policy, broker.profile, "jobs", "high")
        assert found.severity == "fatal"
        assert DEAD_INBOX in found.what


#: What each part wants its worker's user to have.
WANTED = {
    "jobs": "write ^jobs$",
    "dead": "write ^dead$",
    "dead.inbox": r"write ^dead\.inbox$",
    "high": "read ^high$",
    "laneway.topology": r"read ^laneway\.topology\..*$",
}


@pytest.mark.parametrize(
    ("rights", "unseen"),
    [
        ({}, set(WANTED)),
        ({"write": "^jobs$", "read": "^high$"}, {"dead", "dead.inbox", "laneway.topology"}),
        (LEAST | {"read": "^high$"}, {"laneway.topology"}),
    ],
)
def test_what_the_broker_refuses_to_say_is_unknown_and_the_right_is_named(
    management: Management,
    policy: Policy,
    address: BrokerAddress,
    broker: TestBroker,
    rights: dict[str, str],
    unseen: set[str],
) -> None:
    """RabbitMQ 3.10 tells everybody; 4.3 only those with some right on the very thing."""
    apply(management, policy, address)
    with connected_with(address, **rights) as connection:
        found = check_topology(connection, policy, broker.profile, "jobs", "high")
        user = connection.userid
    if broker.profile.name == "3.10":
        assert found == []
        return
    assert {each.severity for each in found} == {"unknown"}
    assert all(f"the user {user!r} has no right on it" in each.what for each in found)
    cures = {each.cure.removeprefix("Let the user ").split(" there,")[0] for each in found}
    assert cures == {WANTED[name] for name in unseen}


def test_a_pause_that_may_not_be_seen_is_a_warning_with_the_right(
    management: Management,
    policy: Policy,
    address: BrokerAddress,
    broker: TestBroker,
    caplog: pytest.LogCaptureFixture,
) -> None:
    apply(management, policy, address)
    with connected_with(address, **LEAST) as connection:
        look = PauseLook(connection, "high")
        # The second look asks no more: the broker would log each refusal.
        told = [look(), look()]
    if broker.profile.name == "3.10":
        assert (told, caplog.text) == ([False, False], "")
        return
    assert told == [None, None]
    assert caplog.text.count("a pause is not obeyed") == 1
    assert r"Let the user read ^laneway\.paused\.high$" in caplog.text


def test_unknown_does_not_hide_what_is_missing(
    management: Management, policy: Policy, address: BrokerAddress, broker: TestBroker
) -> None:
    apply(management, policy, address)
    management.delete_queue(address.vhost("jobs"), "high")
    with connected_with(address, read="^high$") as connection:
        first, *others = check_topology(connection, policy, broker.profile, "jobs", "high")
    assert first.severity == "fatal"
    assert {each.severity for each in others} <= {"unknown"}


def test_a_policymaker_may_plan_and_apply_in_virtual_hosts_that_exist(
    management: Management, policy: Policy, address: BrokerAddress
) -> None:
    for kind in VHOST_KINDS:
        management.create_vhost(address.vhost(kind))
    rights = {"configure": ".*", "write": ".*", "read": ".*"}
    with another_user(address, tags="policymaker", **rights) as login:
        as_them = broker_address(
            address.urls,
            management.url.replace("://", "://{}:{}@".format(*login)),
            address.vhost_prefix,
            env={},
        )
        with Management(as_them) as theirs:
            apply(theirs, policy, as_them)
            assert make_plan(theirs, policy, as_them).is_empty


def test_a_user_without_rights_is_told_which(
    management: Management, policy: Policy, address: BrokerAddress
) -> None:
    for kind in VHOST_KINDS:
        management.create_vhost(address.vhost(kind))
    rights = {"configure": "^$", "write": "^$", "read": ".*"}
    with another_user(address, tags="policymaker", **rights) as (user, password):
        as_them = broker_address(
            address.urls,
            management.url.replace("://", f"://{user}:{password}@"),
            address.vhost_prefix,
            env={},
        )
        with Management(as_them) as theirs, pytest.raises(BrokerError) as caught:
            apply(theirs, policy, as_them)
        assert f"set_permissions -p VHOST {user}" in str(caught.value)
        assert password not in str(caught.value)


def test_the_newest_digests_stay_on_the_broker(
    management: Management, make_policy: MakePolicy, address: BrokerAddress
) -> None:
    digests = []
    for number in range(1, 8):
        policy = make_policy(default=f"[broker]\nmax_length = {number}\n")
        plan = make_plan(management, policy, address)
        apply_plan(management, plan, address, clock=lambda now=float(number): now)  # type: ignore[misc]
        digests.append(digest_exchange(plan.digests[address.vhost("jobs")]))
        assert make_plan(management, policy, address).is_empty
    standing = {e.name for e in management.exchanges(address.vhost("jobs"))}
    assert standing >= set(digests[-5:])
    assert not standing & set(digests[:-5])


# Migration


def test_a_queue_of_the_wrong_type_keeps_its_jobs_until_it_is_drained(
    management: Management, policy: Policy, address: BrokerAddress, broker: TestBroker, jobs: Any
) -> None:
    """From classic to quorum after an upgrade of the broker, and the reverse."""
    apply(management, policy, address)
    channel = jobs.default_channel
    channel.queue_delete("high")
    wrong = WRONG_TYPE[broker.profile.name]
    channel.queue_declare("high", durable=True, auto_delete=False, arguments=wrong)
    channel.queue_bind("high", "jobs", "high")
    publish(jobs, "high", "precious")

    with pytest.raises(BrokerError, match="--recreate-empty"):
        apply(management, policy, address)

    def empty_plan() -> Plan:
        return make_plan(management, policy, address, recreate_empty=True)

    # Counted, it is refused also when asked for.
    wait_for(lambda: any("1 message " in refusal.what for refusal in empty_plan().refusals))
    assert take(jobs, "high").body == "precious"
    wait_for(lambda: not empty_plan().refusals)
    plan = empty_plan()
    # What comes after the plan keeps the queue: the last look decides.
    publish(jobs, "high", "late")
    with pytest.raises(BrokerError, match="left as it is"):
        carry_out(management, plan, address)
    held = channel.basic_get("high")
    wait_for(lambda: management.queue(address.vhost("jobs"), "high").unacked == 1)  # type: ignore[union-attr]
    with pytest.raises(BrokerError, match=r"1 (running jobs|consumers)"):
        carry_out(management, plan, address)
    assert held.body == "late"
    channel.basic_ack(held.delivery_tag)
    wait_for(lambda: management.queue(address.vhost("jobs"), "high").unacked == 0)  # type: ignore[union-attr]

    carry_out(management, plan, address)
    assert make_plan(management, policy, address).is_empty
    assert check_topology(jobs, policy, broker.profile, "jobs", "high") == []
    publish(jobs, "high", "first of the new queue")
    assert take(jobs, "high").body == "first of the new queue"


def prune_plan(management: Management, policy: Policy, address: BrokerAddress) -> Plan:
    """The plan with ``--prune``, once the statistics say that the queue is empty."""
    wait_for(lambda: not make_plan(management, policy, address, prune=True).leftovers)
    return make_plan(management, policy, address, prune=True)


def test_a_removed_queue_that_holds_jobs_can_be_drained_and_pruned(
    management: Management,
    policy: Policy,
    make_policy: MakePolicy,
    address: BrokerAddress,
    jobs: Any,
) -> None:
    apply(management, policy, address)
    publish(jobs, "high", "one")
    smaller = make_policy(vault='[broker]\nvhost = "secure"\n')
    apply(management, smaller, address)
    wait_for(
        lambda: any(
            entry.name == "high" and entry.note.startswith("1 message,")
            for entry in make_plan(management, smaller, address, prune=True).leftovers
        )
    )

    # Publishers of the version before still reach it, and its workers still empty it.
    publish(jobs, "high", "two")
    assert [take(jobs, "high").body, take(jobs, "high").body] == ["one", "two"]

    # A job that arrives after the plan was made keeps the queue.
    plan = prune_plan(management, smaller, address)
    publish(jobs, "high", "three")
    with pytest.raises(BrokerError, match="left as it is"):
        carry_out(management, plan, address)
    publish(jobs, "high", "four")
    assert [take(jobs, "high").body, take(jobs, "high").body] == ["three", "four"]

    # A job that is still delayed becomes a dead letter, not nothing.
    publish(jobs, "high", "warm-up")
    take(jobs, "high")
    key = calculate_routing_key(3, "high")
    jobs.default_channel.basic_publish(
        Message("delayed", delivery_mode=2, priority=7), "celery_delayed_27", key, mandatory=True
    )
    plan = prune_plan(management, smaller, address)
    carry_out(management, plan, address)
    names = {queue.name for queue in management.queues(address.vhost("jobs"))}
    assert "high" not in names
    assert make_plan(management, smaller, address).is_empty
    letter = take(jobs, DEAD_INBOX, within=15)
    assert (letter.body, letter.priority) == ("delayed", 7)

    # And when the queue comes back, its delayed jobs go to it alone.
    apply(management, policy, address)
    assert make_plan(management, policy, address).is_empty
    jobs.default_channel.basic_publish(
        Message("again", delivery_mode=2),
        "celery_delayed_27",
        calculate_routing_key(1, "high"),
        mandatory=True,
    )
    assert take(jobs, "high", within=15).body == "again"
    assert count(jobs, DEAD_INBOX) == 0


def test_a_renamed_queue_keeps_its_jobs_under_the_old_name(
    management: Management, make_policy: MakePolicy, address: BrokerAddress, jobs: Any
) -> None:
    apply(management, make_policy(urgent=""), address)
    publish(jobs, "urgent", "old name")
    renamed = make_policy(high="")
    apply(management, renamed, address)
    publish(jobs, "high", "new name")
    left = [entry.name for entry in make_plan(management, renamed, address).leftovers]
    assert left == ["laneway.paused.urgent", "urgent"]
    assert take(jobs, "urgent").body == "old name"
    assert take(jobs, "high").body == "new name"


def test_environments_share_a_broker_by_their_prefix(
    management: Management, policy: Policy, address: BrokerAddress
) -> None:
    other = dataclasses.replace(address, vhost_prefix=f"{address.vhost_prefix}other-")
    apply(management, policy, address)
    try:
        plan = make_plan(management, policy, other)
        assert not plan.leftovers
        assert any(isinstance(change, MarkApplied) for change in plan.changes)
        apply_plan(management, plan, other)
        assert make_plan(management, policy, address).is_empty
        assert plan.digests[other.vhost("jobs")] == desired_digest(management, policy)
    finally:
        management.delete_vhost(other.vhost("jobs"))
        management.delete_vhost(other.vhost("secure"))


def desired_digest(management: Management, policy: Policy) -> str:
    return desired_topology(policy, profile_of(management.server_version()), "jobs").digest


def test_what_workers_wait_for(
    management: Management, policy: Policy, address: BrokerAddress, make_policy: MakePolicy
) -> None:
    """Nothing there, then all of it, then another policy's digest."""
    with pytest.raises(VirtualHostMissing):
        look_at(address, policy, ["high"])
    apply(management, policy, address)
    assert look_at(address, policy, ["high", "vault"]) == ()
    other = make_policy(high="[broker]\nmax_length = 7\n", vault='[broker]\nvhost = "secure"\n')
    assert [found.severity for found in look_at(address, other, ["high"])] == ["drift"]
    assert look_at(address, other, ["vault"]) == (), "the other virtual host is another topology"
    more = make_policy(high="", bulk="", vault='[broker]\nvhost = "secure"\n')
    severities = [found.severity for found in look_at(address, more, ["high", "bulk"])]
    assert severities == ["fatal", "drift"]
