"""Whether the broker answers, stands as the policy says, and lets jobs flow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from laneway.broker import mask_password, profile_of, server_version
from laneway.broker.connect import connection_to
from laneway.broker.management import Management
from laneway.checkup.check import Check, guarded
from laneway.errors import BrokerError, PublishError
from laneway.queue_state import read_queues
from laneway.topology import check_topology, make_plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from laneway.broker import BrokerAddress, Profile, VhostKind
    from laneway.policy import Policy

#: Lines of a plan that are shown; the plan shows the rest.
_SHOWN: Final = 3


class BrokerCheckup:
    """What is asked of the broker, over AMQP and then over its management interface."""

    def __init__(self, policy: Policy, address: BrokerAddress) -> None:
        self._policy = policy
        self._address = address
        self._profile: Profile | None = None
        self._entered: list[VhostKind] = []

    def checks(self) -> Iterator[Check]:
        """All of it, in the order in which one needs the other."""
        kinds: list[VhostKind] = sorted({queue.vhost for queue in self._policy.queues.values()})
        for kind in kinds:
            yield from guarded("vhost", self._vhost(kind))
            if self._profile is None:
                break  # what keeps us out of one keeps us out of the other
        if self._profile is not None:
            yield from _promises(self._profile)
        for kind in self._entered:
            yield from guarded("topology", self._topology(kind))
        yield from self._management()
        if len(self._entered) == len(kinds):
            yield from guarded("queues", self._queues())

    def _vhost(self, kind: VhostKind) -> Iterator[Check]:
        vhost = self._address.vhost(kind)
        try:
            with connection_to(self._address, kind) as connection:
                version = server_version(connection)
                host = mask_password(connection.as_uri())
                if self._profile is None:
                    self._profile = profile_of(version)
                    yield Check(
                        subject="broker",
                        verdict="ok",
                        finding=f"RabbitMQ {version}, profile {self._profile.name}",
                    )
        except (PublishError, BrokerError) as error:
            yield Check(
                subject="broker",
                verdict="fail",
                finding=str(error),
                cure="start the broker, check LANEWAY_BROKER_URL; 'laneway topology apply' makes "
                "virtual hosts; 'laneway up' starts a private broker",
            )
            return
        self._entered.append(kind)
        yield Check(subject="vhost", verdict="ok", finding=f"{vhost} can be entered ({host})")

    def _topology(self, kind: VhostKind) -> Iterator[Check]:
        assert self._profile is not None
        seen: set[str] = set()
        with connection_to(self._address, kind) as connection:
            for name in self._policy.vhost_queues(kind):
                for found in check_topology(connection, self._policy, self._profile, kind, name):
                    if found.what in seen:
                        continue
                    seen.add(found.what)
                    yield Check(
                        subject="topology",
                        verdict="fail" if found.severity == "fatal" else "warn",
                        finding=found.what,
                        cure=found.cure,
                    )
        if not seen:
            finding = f"{self._address.vhost(kind)} was applied as the policy says"
            yield Check(subject="topology", verdict="ok", finding=finding)

    def _management(self) -> Iterator[Check]:
        try:
            with Management(self._address) as management:
                version = management.server_version()
                yield Check(
                    subject="management",
                    verdict="ok",
                    finding=f"RabbitMQ {version} answers at {management.url}",
                )
                yield from _alarms(management)
                yield from self._drift(management)
        except BrokerError as error:
            yield Check(
                subject="management",
                verdict="warn",
                finding=str(error),
                cure="only topology plan and apply, and some columns of 'laneway queues', need it",
            )

    def _drift(self, management: Management) -> Iterator[Check]:
        plan = make_plan(management, self._policy, self._address)
        for refusal in plan.refusals:
            yield Check(subject="drift", verdict="fail", finding=str(refusal))
        if plan.changes:
            shown = "; ".join(str(change) for change in plan.changes[:_SHOWN])
            more = f"; and {len(plan.changes) - _SHOWN} more" if len(plan.changes) > _SHOWN else ""
            yield Check(
                subject="drift",
                verdict="warn",
                finding=f"{len(plan.changes)} differences: {shown}{more}",
                cure="laneway topology plan, then apply",
            )
        elif not plan.refusals:
            yield Check(subject="drift", verdict="ok", finding="the broker stands as written")

    def _queues(self) -> Iterator[Check]:
        states, vhosts = read_queues(self._address, self._policy)
        for state in states:
            if state.paused:
                yield Check(
                    subject="queues",
                    verdict="warn",
                    finding=f"{state.name} is paused",
                    cure=f"laneway queues resume {state.name}",
                )
            elif state.ready and state.consumers == 0:
                yield Check(
                    subject="queues",
                    verdict="warn",
                    finding=f"{state.ready} jobs wait in {state.name}, and nobody works there",
                    cure=f"laneway worker {state.name} --app MODULE:NAME",
                )
        for vhost in vhosts:
            if vhost.dead_inbox and not vhost.keepers:
                yield Check(
                    subject="queues",
                    verdict="warn",
                    finding=f"{vhost.dead_inbox} messages in the dead inbox of {vhost.vhost}, and "
                    "nobody makes letters of them",
                    cure="laneway control",
                )


def _alarms(management: Management) -> Iterator[Check]:
    alarms = [
        f"{node['name']}: {what} alarm"
        for node in management.nodes()
        for key, what in (("mem_alarm", "memory"), ("disk_free_alarm", "disk"))
        if node.get(key)
    ]
    if alarms:
        yield Check(
            subject="alarms",
            verdict="fail",
            finding=f"the broker takes no publishes ({', '.join(alarms)})",
            cure="free memory or disk on the node, or raise its limit",
        )
    else:
        yield Check(subject="alarms", verdict="ok", finding="no memory or disk alarm")


def _promises(profile: Profile) -> Iterator[Check]:
    for promise, holds, how in profile.promises:
        yield Check(
            subject="promise",
            verdict="ok" if holds is True else "warn",
            finding=f"{promise}: {how}" if holds else f"NOT {promise}: {how}",
            cure="" if holds is True else "RabbitMQ 4.3 or newer keeps it",
        )
