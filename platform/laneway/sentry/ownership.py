"""Ownership rules for Sentry, from the teams that ``routing.py`` names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from laneway.policy import Policy
    from laneway.policy.route import Route


def ownership_rules(policy: Policy) -> list[str]:
    """One line for each route with a team: ``tags.task:billing.* #billing``.

    In Sentry the last rule that matches an event wins, so wider patterns stand first; else they are
    in alphabetical order.
    """
    routes = [route for route in policy.routes if route.team is not None]
    return [f"tags.task:{route.pattern} {_owner(route)}" for route in sorted(routes, key=_width)]


def _width(route: Route) -> tuple[bool, int, str]:
    # An exact name is narrower than any module, a long module than a short one.
    return route.module is None, route.pattern.count("."), route.pattern


def _owner(route: Route) -> str:
    team = route.team or ""
    return team if "@" in team else f"#{team.removeprefix('#')}"
