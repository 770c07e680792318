"""Comparing the policy with a broker that is made up here."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any, cast

import pytest

from laneway.broker.address import VHOST_KINDS, broker_address
from laneway.broker.profile import profile_of
from laneway.broker.reported import (
    ReportedBinding,
    ReportedExchange,
    ReportedPolicy,
    ReportedQueue,
)
from laneway.topology.changes import (
    Create,
    CreateDelays,
    MarkApplied,
    Prune,
    Recreate,
    Unbind,
    Update,
)
from laneway.topology.compare import APPLIED_AT, KEPT_DIGESTS
from laneway.topology.desired import (
    DEAD_INBOX,
    Topology,
    desired_topology,
    digest_exchange,
    late_binding,
    queue_bindings,
)
from laneway.topology.parts import (
    POLICY_PRIORITY,
    BindingPart,
    ExchangePart,
    PolicyPart,
    QueuePart,
    VhostPart,
)
from laneway.topology.plan import Plan, make_plan

if TYPE_CHECKING:
    from conftest import MakePolicy
    from laneway.broker.management import Management
    from laneway.policy import Policy

ADDRESS = broker_address("amqp://h", vhost_prefix="t-", env={})


def reported_queue(name: str, **values: Any) -> ReportedQueue:
    arguments = values.pop("arguments", {"x-queue-type": "quorum"})
    defaults: dict[str, Any] = {
        "type": arguments.get("x-queue-type", "classic"),
        "durable": True,
        "auto_delete": False,
        "exclusive": False,
        "policy": None,
        "messages": 0,
        "ready": 0,
        "unacked": 0,
        "consumers": 0,
        "publish_rate": None,
        "deliver_rate": None,
        "published": None,
    }
    return ReportedQueue(name=name, arguments=arguments, **(defaults | values))


def reported_exchange(name: str, **values: Any) -> ReportedExchange:
    defaults: dict[str, Any] = {"type": "topic", "durable": True, "arguments": {}}
    return ReportedExchange(name=name, **(defaults | values))


def reported_policy(name: str, pattern: str, **values: Any) -> ReportedPolicy:
    defaults: dict[str, Any] = {"apply_to": "queues", "priority": 0, "definition": {}}
    return ReportedPolicy(name=name, pattern=pattern, **(defaults | values))


def reported_binding(part: BindingPart) -> ReportedBinding:
    return ReportedBinding(**dataclasses.asdict(part))


@dataclasses.dataclass
class Vhost:
    """What a made-up broker has in one virtual host."""

    queues: dict[str, ReportedQueue] = dataclasses.field(default_factory=dict)
    exchanges: dict[str, ReportedExchange] = dataclasses.field(default_factory=dict)
    bindings: list[ReportedBinding] = dataclasses.field(default_factory=list)
    policies: dict[str, ReportedPolicy] = dataclasses.field(default_factory=dict)
    operator: list[ReportedPolicy] = dataclasses.field(default_factory=list)

    @classmethod
    def of(cls, topology: Topology) -> Vhost:
        """A virtual host in which the topology was applied."""
        made = cls()
        for part in topology.parts:
            match part:
                case QueuePart():
                    made.queues[part.name] = reported_queue(part.name, arguments=part.arguments)
                case ExchangePart():
                    made.exchanges[part.name] = reported_exchange(part.name, type=part.type)
                case BindingPart():
                    made.bindings.append(reported_binding(part))
                case PolicyPart():
                    made.policies[part.name] = reported_policy(
                        part.name,
                        part.pattern,
                        priority=POLICY_PRIORITY,
                        definition=part.definition,
                    )
        mark = digest_exchange(topology.digest)
        made.exchanges[mark] = reported_exchange(mark, type="fanout")
        return made


class Broker:
    """As much of a management interface as a plan needs."""

    def __init__(self, version: str = "4.3.6", **vhosts: Vhost) -> None:
        self.version = version
        self.hosts = {f"t-{kind}": vhost for kind, vhost in vhosts.items()}

    @classmethod
    def applied(cls, policy: Policy, version: str = "4.3.6") -> Broker:
        profile = profile_of(version)
        return cls(
            version,
            **{kind: Vhost.of(desired_topology(policy, profile, kind)) for kind in VHOST_KINDS},
        )

    @property
    def jobs(self) -> Vhost:
        return self.hosts["t-jobs"]

    def server_version(self) -> str:
        return self.version

    def vhosts(self) -> tuple[str, ...]:
        return tuple(self.hosts)

    def queues(self, vhost: str) -> tuple[ReportedQueue, ...]:
        return tuple(self.hosts[vhost].queues.values())

    def exchanges(self, vhost: str) -> tuple[ReportedExchange, ...]:
        return tuple(self.hosts[vhost].exchanges.values())

    def bindings(self, vhost: str) -> tuple[ReportedBinding, ...]:
        return tuple(self.hosts[vhost].bindings)

    def policies(self, vhost: str) -> tuple[ReportedPolicy, ...]:
        return tuple(self.hosts[vhost].policies.values())

    def operator_policies(self, vhost: str) -> tuple[ReportedPolicy, ...]:
        return tuple(self.hosts[vhost].operator)

    def plan(self, policy: Policy, **options: bool) -> Plan:
        return make_plan(cast("Management", self), policy, ADDRESS, **options)


@pytest.fixture
def policy(make_policy: MakePolicy) -> Policy:
    return make_policy(high="", vault='[broker]\nvhost = "secure"\n')


@pytest.mark.parametrize("version", ["4.3.6", "4.0.5", "3.10.8"])
def test_what_stands_as_desired_needs_nothing(policy: Policy, version: str) -> None:
    plan = Broker.applied(policy, version).plan(policy)
    assert (plan.changes, plan.refusals, plan.leftovers) == ((), (), ())
    assert plan.is_empty
    assert "nothing to do" in str(plan)


def test_an_empty_broker_gets_everything_in_a_safe_order(policy: Policy) -> None:
    plan = Broker().plan(policy)
    assert not plan.refusals
    changes = [change for change in plan.changes if change.vhost == "t-jobs"]
    created = [change.part for change in changes if isinstance(change, Create)]
    names = [part.name for part in created]
    assert created[0] == VhostPart(name="t-jobs")
    # What a queue gives up has a place to go before the queue exists.
    inbox_bound = names.index(f"dead -> {DEAD_INBOX} []")
    assert max(names.index("dead"), names.index(DEAD_INBOX)) < inbox_bound
    assert inbox_bound < names.index("laneway.high") < names.index("high")
    # A queue gets jobs last, when the delays that it may need stand.
    delays = next(i for i, change in enumerate(changes) if isinstance(change, CreateDelays))
    bound = next(i for i, c in enumerate(changes) if "jobs -> high [high]" in str(c))
    assert names.index("high") < bound
    assert delays < bound
    assert isinstance(changes[-1], MarkApplied)


def test_plan_for_people_and_machines_says_the_same(policy: Policy) -> None:
    plan = Broker().plan(policy)
    data = json.loads(json.dumps(plan.to_dict()))
    assert len(data["changes"]) == len(plan.changes)
    assert data["digests"] == plan.digests
    assert str(plan).count("\n") == len(plan.changes)
    assert "+ t-jobs: create queue high (quorum)" in str(plan)


@pytest.mark.parametrize("missing", ["exchange", "queue", "policy", "binding", "delay"])
def test_what_is_missing_is_created(policy: Policy, missing: str) -> None:
    broker = Broker.applied(policy)
    match missing:
        case "exchange":
            del broker.jobs.exchanges["dead"]
        case "queue":
            del broker.jobs.queues["high"]
        case "policy":
            del broker.jobs.policies["laneway.high"]
        case "binding":
            broker.jobs.bindings = [b for b in broker.jobs.bindings if b.routing_key != "high"]
        case "delay":
            del broker.jobs.queues["celery_delayed_5"]
    (change,) = broker.plan(policy).changes
    assert isinstance(change, CreateDelays if missing == "delay" else Create)


def test_a_policy_that_says_something_else_is_changed(policy: Policy) -> None:
    broker = Broker.applied(policy)
    ours = broker.jobs.policies["laneway.high"]
    other = {**ours.definition, "max-length": 1, "message-ttl": 5}
    broker.jobs.policies["laneway.high"] = dataclasses.replace(ours, definition=other)
    (change,) = broker.plan(policy).changes
    assert isinstance(change, Update)
    assert change.difference == "max-length 1 -> 1000000, message-ttl 5 -> unset"


@pytest.mark.parametrize("field", [{"priority": 1}, {"pattern": "high"}, {"apply_to": "all"}])
def test_a_policy_that_would_not_win_or_match_is_changed(
    policy: Policy, field: dict[str, Any]
) -> None:
    broker = Broker.applied(policy)
    ours = broker.jobs.policies["laneway.high"]
    broker.jobs.policies["laneway.high"] = dataclasses.replace(ours, **field)
    assert [type(change) for change in broker.plan(policy).changes] == [Update]


@pytest.mark.parametrize("pattern", ["high", "^h", ".*", "(?<unreadable"])
@pytest.mark.parametrize("apply_to", ["queues", "all", "quorum_queues"])
def test_a_foreign_policy_that_wins_is_refused(policy: Policy, pattern: str, apply_to: str) -> None:
    broker = Broker.applied(policy)
    broker.jobs.policies["theirs"] = reported_policy(
        "theirs", pattern, apply_to=apply_to, priority=2000, definition={"message-ttl": 1000}
    )
    plan = broker.plan(policy)
    assert not plan.changes
    assert "'theirs' (priority 2000: message-ttl=1000) overrules" in plan.refusals[0].what
    assert not plan.is_empty


@pytest.mark.parametrize(
    "values",
    [
        {"pattern": ".*", "priority": POLICY_PRIORITY - 1},
        {"pattern": "^other$", "priority": 5000},
        {"pattern": ".*", "priority": 5000, "apply_to": "exchanges"},
        {"pattern": "^high$", "priority": 5000, "apply_to": "classic_queues"},
    ],
)
def test_a_foreign_policy_that_does_not_win_is_nobodys_business(
    policy: Policy, values: dict[str, Any]
) -> None:
    broker = Broker.applied(policy)
    broker.jobs.policies["theirs"] = reported_policy(
        "theirs", definition={"message-ttl": 1}, **values
    )
    assert broker.plan(policy).is_empty


@pytest.mark.parametrize(
    ("definition", "harmless"),
    [
        ({"max-length": 5_000_000}, True),  # the smaller one wins, and that is ours
        ({"max-length": 5}, False),
        ({"expires": 1000}, False),
        ({"message-ttl": 1000}, False),
        ({"target-group-size": 3}, True),
    ],
)
def test_an_operator_policy_may_not_change_what_we_promise(
    policy: Policy, definition: dict[str, Any], harmless: bool
) -> None:
    broker = Broker.applied(policy)
    broker.jobs.operator.append(reported_policy("limits", "^high$", definition=definition))
    plan = broker.plan(policy)
    assert plan.is_empty == harmless
    if not harmless:
        assert "operator policy 'limits'" in plan.refusals[0].what


CLASSIC_ARGUMENTS = {"x-queue-type": "classic", "x-max-priority": 9}


def test_a_queue_of_the_wrong_type_with_messages_is_never_touched(policy: Policy) -> None:
    broker = Broker.applied(policy)
    broker.jobs.queues["high"] = reported_queue("high", arguments=CLASSIC_ARGUMENTS, messages=12)
    for options in ({}, {"recreate_empty": True}, {"recreate_empty": True, "prune": True}):
        plan = broker.plan(policy, **options)
        assert not plan.changes
        assert "12 messages and 0 consumers" in plan.refusals[0].what
        assert "--recreate-empty" in plan.refusals[0].cure


def test_an_empty_queue_of_the_wrong_type_is_recreated_only_when_asked(policy: Policy) -> None:
    broker = Broker.applied(policy)
    broker.jobs.queues["high"] = reported_queue("high", arguments=CLASSIC_ARGUMENTS)
    assert broker.plan(policy).refusals
    plan = broker.plan(policy, recreate_empty=True)
    assert not plan.refusals
    assert isinstance(plan.changes[0], Recreate)
    # Its bindings go with it, so all of them are made again.
    created = {str(c.part) for c in plan.changes if isinstance(c, Create)}
    assert created == {str(b) for b in queue_bindings("high") if b.destination == "high"}


@pytest.mark.parametrize(
    "found",
    [
        reported_queue("high", arguments={"x-queue-type": "quorum", "x-delivery-limit": 3}),
        reported_queue("high", durable=False),
        reported_queue("high", auto_delete=True),
        reported_queue("high", arguments=CLASSIC_ARGUMENTS, consumers=1),
    ],
)
def test_other_arguments_are_the_wrong_type_too(policy: Policy, found: ReportedQueue) -> None:
    broker = Broker.applied(policy)
    broker.jobs.queues["high"] = found
    assert len(broker.plan(policy).refusals) == 1


def test_a_delay_level_is_never_recreated(policy: Policy) -> None:
    broker = Broker.applied(policy)
    broker.jobs.queues["celery_delayed_3"] = reported_queue("celery_delayed_3", arguments={})
    plan = broker.plan(policy, recreate_empty=True)
    assert not plan.changes
    assert "celery_delayed_3" in plan.refusals[0].what


def test_an_exchange_of_the_wrong_type_is_refused(policy: Policy) -> None:
    broker = Broker.applied(policy)
    broker.jobs.exchanges["jobs"] = reported_exchange("jobs", type="direct")
    plan = broker.plan(policy)
    assert not plan.changes
    assert "found a direct exchange" in plan.refusals[0].what


def test_while_something_is_refused_the_topology_is_not_marked_as_applied(policy: Policy) -> None:
    broker = Broker(jobs=Vhost(queues={"high": reported_queue("high", arguments={}, messages=1)}))
    plan = broker.plan(policy)
    assert plan.refusals
    marked = [change.vhost for change in plan.changes if isinstance(change, MarkApplied)]
    assert marked == ["t-secure"]
    # Nor is anything routed to the queue that stands in the way.
    assert not any("high [" in str(change) for change in plan.changes)


def test_a_removed_queue_is_reported_and_kept(policy: Policy, make_policy: MakePolicy) -> None:
    broker = Broker.applied(policy)
    broker.jobs.queues["high"] = reported_queue("high", messages=3)
    smaller = make_policy(vault='[broker]\nvhost = "secure"\n')
    for options in ({}, {"prune": True}):
        plan = broker.plan(smaller, **options)
        leftover = next(left for left in plan.leftovers if left.name == "high")
        assert leftover.kind == "queue"
        assert "3 messages, 0 consumers; keep workers on it" in leftover.note
        # The place for the mark of its pause is empty, and goes when asked.
        gone = [change.name for change in plan.changes if isinstance(change, Prune)]
        assert set(gone) <= {"laneway.paused.high", "laneway.laneway.paused.high"}
        assert bool(gone) == bool(options)
        assert isinstance(plan.changes[-1], MarkApplied)


@pytest.mark.parametrize("held", [{"messages": None}, {"consumers": 1}, {"consumers": None}])
def test_only_what_is_surely_empty_is_pruned(
    policy: Policy, make_policy: MakePolicy, held: dict[str, Any]
) -> None:
    broker = Broker.applied(policy)
    broker.jobs.queues["high"] = reported_queue("high", **held)
    plan = broker.plan(make_policy(vault='[broker]\nvhost = "secure"\n'), prune=True)
    assert "high" not in {one.name for one in plan.changes if isinstance(one, Prune)}


def test_an_empty_removed_queue_is_pruned_when_asked(
    policy: Policy, make_policy: MakePolicy
) -> None:
    smaller = make_policy(vault='[broker]\nvhost = "secure"\n')
    broker = Broker.applied(policy)
    assert "--prune" in broker.plan(smaller).leftovers[0].note
    pruned = [c for c in broker.plan(smaller, prune=True).changes if isinstance(c, Prune)]
    # The policy that keeps its messages goes after the queue.
    assert {(c.kind, c.name) for c in pruned} == {
        *(("queue", name) for name in ("high", "laneway.paused.high")),
        *(("policy", name) for name in ("laneway.high", "laneway.laneway.paused.high")),
    }
    assert [c.kind for c in pruned] == ["queue", "queue", "policy", "policy"]


def test_late_jobs_of_a_queue_that_came_back_go_to_it_alone(policy: Policy) -> None:
    broker = Broker.applied(policy)
    broker.jobs.bindings.append(reported_binding(late_binding("high")))
    (change,) = broker.plan(policy).changes
    assert isinstance(change, Unbind)
    # Of a queue that is not in the policy they stay dead letters.
    broker.jobs.bindings[-1] = reported_binding(late_binding("gone"))
    assert broker.plan(policy).is_empty


def test_what_celery_and_the_platform_make_themselves_is_no_leftover(policy: Policy) -> None:
    broker = Broker.applied(policy)
    for name in (
        "celeryev",
        "celery.pidbox",
        "reply.celery.pidbox",
        "laneway.topology.0123456789abcdef",
        "amq.x",
    ):
        broker.jobs.exchanges[name] = reported_exchange(name)
    broker.jobs.queues["a@b.celery.pidbox"] = reported_queue("a@b.celery.pidbox", arguments={})
    broker.jobs.queues["reply"] = reported_queue("reply", exclusive=True)
    broker.jobs.queues["temporary"] = reported_queue("temporary", auto_delete=True)
    plan = broker.plan(policy)
    assert plan.is_empty
    assert not plan.leftovers


def test_a_foreign_exchange_and_binding_are_reported(policy: Policy) -> None:
    broker = Broker.applied(policy)
    broker.jobs.exchanges["theirs"] = reported_exchange("theirs")
    extra = BindingPart(source="theirs", destination="high", routing_key="x")
    broker.jobs.bindings.append(reported_binding(extra))
    plan = broker.plan(policy)
    assert plan.is_empty
    assert [(entry.kind, entry.name) for entry in plan.leftovers] == [
        ("exchange", "theirs"),
        ("binding", "theirs -> high [x]"),
    ]


def test_the_newest_digests_stay(policy: Policy) -> None:
    broker = Broker.applied(policy)
    current = digest_exchange(broker.plan(policy).digests["t-jobs"])
    del broker.jobs.exchanges[current]
    for age in range(7):
        name = digest_exchange(f"{age:016x}")
        arguments = {APPLIED_AT: 1000 - age} if age else {}
        broker.jobs.exchanges[name] = reported_exchange(name, type="fanout", arguments=arguments)
    (change,) = broker.plan(policy).changes
    assert isinstance(change, MarkApplied)
    kept = {f"{age:016x}" for age in range(1, KEPT_DIGESTS)}
    assert set(change.retired) == {
        digest_exchange(f"{age:016x}") for age in range(7) if f"{age:016x}" not in kept
    }
