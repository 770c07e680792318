"""Which queue and which priority a job gets, and why. Pure: nothing here reads or writes anything.

The most specific route wins (the task's own name, else the longest module), so the order in which
routes are written never matters. What the caller says comes first, except that a secure queue is
entered only by a route and left by nothing.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from laneway.errors import InvalidPriority, RouteIsSecure, UnknownQueue
from laneway.policy.problems import did_you_mean
from laneway.policy.route import Route, priority_problem
from laneway.types import DEFAULT_PRIORITY, HIGHEST_PRIORITY, LOWEST_PRIORITY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from laneway.policy.queues import Queue

#: Task names whose route a router remembers; names come from callers, so there must be a bound.
CACHED_NAMES: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Where a job goes, how urgent it is, and why, in words for people."""

    #: The task's name.
    task: str
    #: The queue's name.
    queue: str
    #: 0 to 9, higher is more urgent.
    priority: int
    #: Such as ``route 'billing.*' (routing.py:9)`` or ``given in the call: queue='low'``.
    queue_reason: str
    #: Such as ``given in the call: priority=9`` or ``nobody said one: 4``.
    priority_reason: str
    #: The route that names the task, whether it decided or not.
    route: Route | None


class Router:
    """Decides by routes, for callers that may say otherwise.

    Args:
        routes: valid routes without duplicates (see :func:`laneway.policy.load_policy`).
        queues: the policy's queues by name.
        default_queue: where a task goes that nothing names.
    """

    def __init__(
        self, routes: Iterable[Route], queues: Mapping[str, Queue], default_queue: str = "default"
    ) -> None:
        self._queues = queues
        self._default_queue = default_queue
        self._exact: dict[str, Route] = {}
        self._modules: dict[str, Route] = {}
        for route in routes:
            if route.module is None:
                self._exact[route.pattern] = route
            else:
                self._modules[route.module] = route
        self._cached_route = functools.lru_cache(CACHED_NAMES)(self._find_route)

    def route_of(self, task: str) -> Route | None:
        """The most specific route that names ``task``, or None."""
        return self._cached_route(task)

    def decide(
        self,
        task: str,
        *,
        queue: str | None = None,
        priority: object = None,
        attribute_queue: str | None = None,
        attribute_priority: object = None,
        parent_priority: int | None = None,
        kept_queue: str | None = None,
        kept_priority: int | None = None,
    ) -> Decision:
        """The queue and the priority of one job.

        Args:
            task: the task's name.
            queue: what the call said.
            priority: what the call said.
            attribute_queue: what ``@task(queue=...)`` said.
            attribute_priority: what ``@task(priority=...)`` said.
            parent_priority: the priority of the job that publishes this one.
            kept_queue: what the platform gave the job before (a retry, a replay). A queue that is
                no longer in the policy is as good as unsaid.
            kept_priority: what the platform gave the job before.

        Raises:
            UnknownQueue: the call or the task's attribute names a queue that is not in the policy.
            RouteIsSecure: a queue was named that would lead into or out of a secure queue.
            InvalidPriority: the call's or the attribute's priority is not 0 to 9.
        """
        route = self.route_of(task)
        queue_name, queue_reason = self._decide_queue(
            task, route, queue=queue, attribute=attribute_queue, kept=kept_queue
        )
        level, priority_reason = self._decide_priority(
            task,
            route,
            priority=priority,
            attribute=attribute_priority,
            parent=parent_priority,
            kept=kept_priority,
        )
        return Decision(
            task=task,
            queue=queue_name,
            priority=level,
            queue_reason=queue_reason,
            priority_reason=priority_reason,
            route=route,
        )

    def wider_route(self, route: Route) -> Route | None:
        """The route that would win where ``route`` wins now, if ``route`` were not written."""
        return self._module_route(route.module or route.pattern)

    def _find_route(self, task: str) -> Route | None:
        return self._exact.get(task) or self._module_route(task)

    def _module_route(self, name: str) -> Route | None:
        """The route of the longest module that holds ``name``; a module does not hold itself."""
        module = name.rpartition(".")[0]
        while module:
            if route := self._modules.get(module):
                return route
            module = module.rpartition(".")[0]
        return None

    def _decide_queue(
        self,
        task: str,
        route: Route | None,
        *,
        queue: str | None,
        attribute: str | None,
        kept: str | None,
    ) -> tuple[str, str]:
        routed = route.queue if route else self._default_queue
        by_route = str(route) if route else f"no route names it: the default queue {routed!r}"
        if kept is not None and kept in self._queues:
            said = [(kept, f"kept from before: queue={kept!r}")]
        else:
            said = [
                (name, reason)
                for name, reason in (
                    (queue, f"given in the call: queue={queue!r}"),
                    (attribute, f"the task's attribute: queue={attribute!r}"),
                )
                if name is not None
            ]
        for name, reason in said:
            self._check_queue(task, name, reason)
            if name != routed and (self._secure(routed) or self._secure(name)):
                raise RouteIsSecure(self._secure_words(task, name, routed, reason, by_route))
        if not said or self._secure(routed):
            return routed, by_route
        return said[0]

    def _decide_priority(
        self,
        task: str,
        route: Route | None,
        *,
        priority: object,
        attribute: object,
        parent: int | None,
        kept: int | None,
    ) -> tuple[int, str]:
        if kept is not None:
            return _clamped(kept), f"kept from before: priority={kept!r}"
        said = [
            (_checked(task, value, reason), reason)
            for value, reason in (
                (priority, f"given in the call: priority={priority!r}"),
                (attribute, f"the task's attribute: priority={attribute!r}"),
            )
            if value is not None
        ]
        if said:
            return said[0]
        if route is not None and route.priority is not None:
            return route.priority, str(route)
        if parent is not None:
            return _clamped(parent), f"inherited from the parent job: priority={parent!r}"
        return DEFAULT_PRIORITY, f"nobody said one: {DEFAULT_PRIORITY}"

    def _secure(self, name: str) -> bool:
        return name in self._queues and self._queues[name].secure

    def _check_queue(self, task: str, name: object, reason: str) -> None:
        if isinstance(name, str) and name in self._queues:
            return
        raise UnknownQueue(
            f"task {task!r}, {reason}: expected one of the queues "
            f"{', '.join(sorted(self._queues))}, got: {name!r}{did_you_mean(name, self._queues)}"
        )

    def _secure_words(self, task: str, name: str, routed: str, reason: str, by_route: str) -> str:
        head = f"task {task!r}, {reason}"
        if self._secure(routed):
            return (
                f"{head}: expected queue {routed!r} or none, because {by_route} leads to a secure "
                "queue, which nothing overrides; remove queue=, or change the route"
            )
        return (
            f"{head}: only a route leads into the secure queue {name!r}, and this task goes to "
            f"{routed!r} ({by_route}); remove queue=, or write a route for it in routing.py"
        )


def _checked(task: str, priority: object, reason: str) -> int:
    if problem := priority_problem(priority):
        raise InvalidPriority(f"task {task!r}, {reason}: {problem}")
    assert isinstance(priority, int)
    return int(priority)


def _clamped(priority: int) -> int:
    """What was on the wire: a foreign producer may give any number, and failing helps nobody."""
    return min(max(int(priority), LOWEST_PRIORITY), HIGHEST_PRIORITY)
