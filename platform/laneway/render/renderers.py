"""Which renderers there are, and all of them at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from laneway.errors import LanewayError
from laneway.policy import Policy
from laneway.render.compose import render_compose
from laneway.render.helm import render_helm
from laneway.render.kubernetes import render_kubernetes
from laneway.render.rendering import Rendering
from laneway.render.supervisor import render_supervisor

Renderer = Callable[[Policy, Path], Rendering]
"""Makes files of a policy, for the checkout at a path; reads there and writes nothing."""

RENDERERS: Final[Mapping[str, Renderer]] = MappingProxyType(
    {
        "helm": render_helm,
        "k8s": render_kubernetes,
        "compose": render_compose,
        "supervisor": render_supervisor,
    }
)
"""By the name of their verb."""


def default_root(policy: Policy) -> Path:
    """The folder that holds ``queues/``: files are rendered beside it.

    Raises:
        LanewayError: the policy is the one inside an installed engine.
    """
    package = Path(__file__).resolve().parent.parent
    if package not in policy.root.resolve().parents:
        return policy.root
    raise LanewayError(
        "expected a checkout to render into, got the policy of an installed engine; name a folder: "
        "--to DIRECTORY"
    )
