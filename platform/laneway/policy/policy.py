"""The policy: ``routing.py`` and ``queues/*.toml``, read and checked as one.

It is found by ``$LANEWAY_POLICY``, else inside the installed wheel, else in the checkout; never in
the current directory, where anybody could have put a ``routing.py``.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from laneway.errors import PolicyError, UnknownQueue
from laneway.policy.problems import by_line, did_you_mean
from laneway.policy.queue_files import load_queues, queue_files
from laneway.policy.route import priority_problem, team_problem
from laneway.policy.router import Router
from laneway.policy.routing_file import load_routing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from laneway.policy.queues import Queue
    from laneway.policy.route import Route
    from laneway.policy.routing_file import Routing


# What globs, regular expressions and AMQP bindings are written with.
_WILDCARDS: Final = "*?[]#^$()|\\+{}"


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A policy without problems."""

    #: The folder that holds ``routing.py`` and ``queues/``.
    root: Path
    #: The queues by name, in the order of their names; read-only.
    queues: Mapping[str, Queue]
    #: The routes as written.
    routes: tuple[Route, ...]
    #: Where a task goes that nothing names.
    default_queue: str
    #: Decides by this policy.
    router: Router = field(repr=False, compare=False)

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits of what the policy says; order and comments are no part."""
        content = {
            "queues": {name: queue.model_dump() for name, queue in self.queues.items()},
            "routes": sorted([r.pattern, r.queue, r.priority] for r in self.routes),
            "default_queue": self.default_queue,
        }
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def queue(self, name: str) -> Queue:
        """The queue of this name.

        Raises:
            UnknownQueue: there is none; says which there are.
        """
        if name in self.queues:
            return self.queues[name]
        raise UnknownQueue(
            f"expected one of the queues {_listed(self.queues)}, got: "
            f"{name!r}{did_you_mean(name, self.queues)}"
        )

    def vhost_queues(self, vhost: str) -> dict[str, Queue]:
        """The queues of one virtual host (``jobs`` or ``secure``, without its prefix)."""
        return {name: queue for name, queue in self.queues.items() if queue.vhost == vhost}


def policy_root() -> Path:
    """``$LANEWAY_POLICY``, else the policy shipped in the wheel, else the checkout.

    Raises:
        PolicyError: none of them is there, or the variable is not an absolute path.
    """
    if said := os.environ.get("LANEWAY_POLICY"):
        root = Path(said)
        if not root.is_absolute():
            raise PolicyError([f"LANEWAY_POLICY: expected an absolute path, got: {said!r}"])
        return root
    package = Path(__file__).resolve().parent.parent
    bundled = package / "_policy"
    if bundled.is_dir():
        return bundled
    checkout = package.parent.parent
    # In site-packages two folders up is the interpreter's library: nothing of ours.
    if package.parent.name == "platform" and (checkout / "routing.py").is_file():
        return checkout
    words = "expected the folder of routing.py and queues/, because no policy is installed"
    raise PolicyError([f"LANEWAY_POLICY: {words}, got nothing"])


def load_policy(root: Path | None = None) -> Policy:
    """Read and check the policy of ``root`` (default: :func:`policy_root`).

    Raises:
        PolicyError: with all problems of ``routing.py`` and of every file in ``queues/``.
    """
    root = policy_root() if root is None else root
    policy, problems = _read(root)
    if problems:
        raise PolicyError(problems)
    return policy


def lint_policy(root: Path | None = None) -> list[str]:
    """All problems of the policy, and what is right but does nothing; empty if all is well."""
    try:
        policy, problems = _read(policy_root() if root is None else root)
    except PolicyError as error:
        return list(error.problems)
    return by_line([*problems, *_idle_routes(policy), *([] if problems else _idle_queues(policy))])


def _read(root: Path) -> tuple[Policy, list[str]]:
    queues, queue_problems = load_queues(root / "queues")
    names = {path.stem for path in queue_files(root / "queues")}
    routing, routing_problems = load_routing(root / "routing.py")
    valid = [route for route in routing.routes if not _pattern_problem(route.pattern)]
    problems = [
        *routing_problems,
        *_default_problems(routing, queues, names),
        *_route_problems(routing.routes, names),
        *queue_problems,
    ]
    policy = Policy(
        root=root,
        queues=MappingProxyType(queues),
        routes=tuple(valid),
        default_queue=routing.default_queue,
        router=Router(valid, queues, routing.default_queue),
    )
    return policy, by_line(problems)


def _default_problems(
    routing: Routing, queues: Mapping[str, Queue], names: set[str]
) -> Iterator[str]:
    default, where = routing.default_queue, routing.default_where
    if not isinstance(default, str) or default not in names:
        yield (
            f"{where}: DEFAULT_QUEUE: expected one of the queues {_listed(names)}, got: "
            f"{default!r}{did_you_mean(default, names)}"
        )
    elif default in queues and queues[default].secure:
        yield (
            f"{where}: DEFAULT_QUEUE: expected a queue that is not secure, because only a route "
            f"leads into a secure one, got: {default!r}"
        )


def _route_problems(routes: tuple[Route, ...], names: set[str]) -> Iterator[str]:
    first: dict[str, Route] = {}
    for route in routes:
        if problem := _pattern_problem(route.pattern):
            yield f"{route.where}: {problem}"
        elif earlier := first.get(route.pattern):
            yield (
                f"{route.where}: {route.pattern!r} is written twice, also in {earlier.where}; "
                "remove one"
            )
        else:
            first[route.pattern] = route
        queue: object = route.queue  # whatever the file gave: nothing has checked it before
        if not isinstance(queue, str) or queue not in names:
            yield (
                f"{route.where}: queue: expected one of the queues {_listed(names)}, got: "
                f"{queue!r}{did_you_mean(queue, names)}"
            )
        if route.priority is not None and (problem := priority_problem(route.priority)):
            yield f"{route.where}: priority: {problem}"
        if route.team is not None and (problem := team_problem(route.team)):
            yield f"{route.where}: team: {problem}"


def _pattern_problem(pattern: object) -> str | None:
    """What is wrong with a pattern, in words, or None."""
    expected = "expected a task's name like 'billing.charge' or a module like 'billing.*'"
    if not isinstance(pattern, str):
        return f"{expected}, got: {pattern!r}"
    if pattern in {"*", ".*", "**", "#", "*.*", ""}:
        return (
            f"{expected}, got: {pattern!r}; what no route names goes to the default queue, which "
            "DEFAULT_QUEUE in routing.py chooses"
        )
    name = pattern.removesuffix(".*")
    if any(mark in name for mark in _WILDCARDS):
        stem = name
        for mark in _WILDCARDS:
            stem = stem.split(mark, 1)[0]
        module = stem.rpartition(".")[0]
        hint = f", did you mean '{module}.*'?" if module else "; '.*' stands only at the end"
        return f"{expected}, got: {pattern!r}{hint}"
    if not all(name.split(".")):
        tidy = ".".join(part for part in name.split(".") if part)
        return f"{expected}, got: {pattern!r} with an empty part" + (
            f", did you mean {tidy + pattern[len(name) :]!r}?" if tidy else ""
        )
    if any(part != part.strip() or not part.isprintable() for part in name.split(".")):
        return f"{expected}, got: {pattern!r} with blanks around a part; no task is named so"
    return None


def _idle_routes(policy: Policy) -> Iterator[str]:
    """Routes that never win, or say only what a wider route says anyway."""
    modules = {
        module
        for route in policy.routes
        for module in _modules_of(route.module or route.pattern.rpartition(".")[0])
    }
    for route in policy.routes:
        if route.module is None and route.pattern in modules:
            yield (
                f"{route.where}: {route.pattern!r} can never win: other routes say that it is a "
                f"module, did you mean '{route.pattern}.*'?"
            )
            continue
        wider = policy.router.wider_route(route)
        if wider and _says_the_same(route, wider):
            yield f"{route.where}: {route.pattern!r} says only what {wider} says anyway; remove it"


def _says_the_same(route: Route, wider: Route) -> bool:
    same = (wider.queue, wider.priority) == (route.queue, route.priority)
    return same and route.team in (None, wider.team)


def _idle_queues(policy: Policy) -> Iterator[str]:
    """Queues that nothing can enter."""
    entered = {route.queue for route in policy.routes}
    for queue in policy.queues.values():
        if queue.secure and queue.name not in entered:
            yield (
                f"queues/{queue.name}.toml: no route leads to the secure queue {queue.name!r}, and "
                "nothing else can; write one in routing.py, or remove the file"
            )


def _modules_of(module: str) -> Iterator[str]:
    """``a.b.c`` lies in ``a.b.c``, ``a.b`` and ``a``."""
    while module:
        yield module
        module = module.rpartition(".")[0]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "(there are none)"
