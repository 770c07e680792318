"""The check-up: is everything there that the platform's promises need? One line each, with a cure.

Nothing is changed, and one finding never hides the next: what cannot be looked at because something
before it failed is left out.
"""

from __future__ import annotations

import contextlib
import email.utils
import os
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import httpx
import redis

from laneway.broker import broker_address, mask_password, profile_of, server_version
from laneway.broker.management import Management
from laneway.connect import connection_to
from laneway.errors import BrokerError, LanewayError, PolicyError, PublishError
from laneway.policy import lint_policy, load_policy, policy_root
from laneway.queue_state import read_queues
from laneway.topology import check_topology, make_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from laneway.broker import BrokerAddress, Profile, VhostKind
    from laneway.policy import Policy

Verdict = Literal["ok", "warn", "fail"]

#: Seconds that two clocks may differ before waits and delays are reported wrongly.
CLOCK_TOLERANCE: Final = 2.0
#: Seconds that Redis may take to answer.
_REDIS_TIMEOUT: Final = 3.0
#: Lines of a plan that are shown; the plan shows the rest.
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    #: What it is about, in a word: ``policy``, ``broker``, ``topology`` ….
    subject: str
    #: ``ok``; ``warn``: it works, but not as promised or written; ``fail``: jobs cannot flow.
    verdict: Verdict
    #: What was found.
    finding: str
    #: What to do; empty if nothing.
    cure: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For machines (``--json``)."""
        return asdict(self)


def check_up() -> list[Check]:
    """Look at everything, in the order in which one needs the other."""
    checks = list(_policy())
    try:
        policy, address = load_policy(), broker_address()
    except PolicyError:
        return checks  # said above
    except LanewayError as error:
        return [*checks, Check(subject="broker", verdict="fail", finding=str(error))]
    broker = _Broker(policy, address)
    return [*checks, *broker.checks(), *_results(), *_clock(address)]


def _policy() -> Iterator[Check]:
    try:
        policy = load_policy()
    except PolicyError as error:
        for problem in error.problems:
            yield Check(
                subject="policy", verdict="fail", finding=problem, cure="laneway route lint"
            )
        return
    yield Check(
        subject="policy",
        verdict="ok",
        finding=f"{len(policy.routes)} routes, {len(policy.queues)} queues, digest "
        f"{policy.digest} ({policy_root()})",
    )
    for problem in lint_policy():
        yield Check(subject="policy", verdict="warn", finding=problem, cure="change routing.py")


def _guarded(subject: str, checks: Iterator[Check]) -> Iterator[Check]:
    """What breaks off in the middle is a finding, and the rest goes on."""
    try:
        yield from checks
    except LanewayError as error:
        yield Check(subject=subject, verdict="fail", finding=str(error))


class _Broker:
    """What is asked of the broker, over AMQP and then over its management interface."""

    def __init__(self, policy: Policy, address: BrokerAddress) -> None:
        self._policy = policy
        self._address = address
        self._profile: Profile | None = None
        self._entered: list[VhostKind] = []

    def checks(self) -> Iterator[Check]:
        kinds: list[VhostKind] = sorted({queue.vhost for queue in self._policy.queues.values()})
        for kind in kinds:
            yield from _guarded("vhost", self._vhost(kind))
            if self._profile is None:
                break  # what keeps us out of one keeps us out of the other
        if self._profile is not None:
            yield from _promises(self._profile)
        for kind in self._entered:
            yield from _guarded("topology", self._topology(kind))
        yield from self._management()
        if len(self._entered) == len(kinds):
            yield from _guarded("queues", self._queues())

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
            with _Nodes(self._address) as management:
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
            if vhost.dead_inbox:
                yield Check(
                    subject="queues",
                    verdict="warn",
                    finding=f"{vhost.dead_inbox} messages in the dead inbox of {vhost.vhost}",
                    cure="look at why they died; they are kept",
                )


class _Nodes(Management):
    """The management interface, asked for the cluster's nodes."""

    def nodes(self) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = self._get("nodes")
        return answer


def _alarms(management: _Nodes) -> Iterator[Check]:
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


def _results() -> Iterator[Check]:
    url = os.environ.get("LANEWAY_RESULT_BACKEND")
    if not url:
        yield Check(
            subject="results",
            verdict="warn",
            finding="LANEWAY_RESULT_BACKEND is not set: unless the application names a backend, "
            "results and chords do not work",
            cure="set it, like redis://:password@host:6379/0",
        )
    elif url.startswith(("redis://", "rediss://", "unix://")):
        try:
            with _redis(url) as server:
                server.ping()
        except (redis.RedisError, OSError, ValueError) as error:
            yield Check(
                subject="results",
                verdict="fail",
                finding=f"{mask_password(url)}: {error}",
                cure="start Redis, or check LANEWAY_RESULT_BACKEND",
            )
        else:
            yield Check(subject="results", verdict="ok", finding=f"{mask_password(url)} answers")
    else:
        yield Check(
            subject="results",
            verdict="warn",
            finding=f"{mask_password(url)} is not Redis: not checked",
        )


def _clock(address: BrokerAddress, now: Callable[[], float] = time.time) -> Iterator[Check]:
    """Waits and delays compare the clocks of different machines."""
    differences = dict(_clock_differences(address, now))
    for place, seconds in differences.items():
        if abs(seconds) > CLOCK_TOLERANCE:
            yield Check(
                subject="clock",
                verdict="warn",
                finding=f"this machine's clock is {abs(seconds):.0f} s "
                f"{'ahead of' if seconds > 0 else 'behind'} that of {place}: waits are wrong",
                cure="synchronise the clocks (NTP) of all machines",
            )
    if differences and all(abs(s) <= CLOCK_TOLERANCE for s in differences.values()):
        yield Check(
            subject="clock", verdict="ok", finding=f"agrees with {' and '.join(differences)}"
        )


def _clock_differences(
    address: BrokerAddress, now: Callable[[], float]
) -> Iterator[tuple[str, float]]:
    with contextlib.suppress(LanewayError, httpx.HTTPError):
        with Management(address) as management:
            answer = httpx.get(management.url, timeout=_REDIS_TIMEOUT, trust_env=False)
        if date := answer.headers.get("date"):
            # Whole seconds, cut off: on average half a second behind.
            there = email.utils.parsedate_to_datetime(date).timestamp() + 0.5
            yield "the broker", now() - there
    url = os.environ.get("LANEWAY_RESULT_BACKEND") or ""
    if url.startswith(("redis://", "rediss://", "unix://")):
        with contextlib.suppress(redis.RedisError, OSError, ValueError), _redis(url) as server:
            seconds, micros = server.time()
            yield "Redis", now() - (seconds + micros / 1e6)


def _redis(url: str) -> redis.Redis:
    return redis.Redis.from_url(
        url, socket_timeout=_REDIS_TIMEOUT, socket_connect_timeout=_REDIS_TIMEOUT
    )
