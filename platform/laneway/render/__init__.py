"""Files for other systems, made of the policy: Helm values, manifests, Compose, supervisord.

A renderer is a function of the policy and the checkout, and writes nothing: what it makes is a
:class:`Rendering`, which can be compared with what is there, or written.
"""

from laneway.render.compose import compose_text, render_compose
from laneway.render.helm import render_helm, with_workers, workers_block
from laneway.render.kubernetes import render_kubernetes
from laneway.render.renderers import RENDERERS, Renderer, default_root
from laneway.render.rendering import Rendering
from laneway.render.supervisor import render_supervisor

__all__ = [
    # All of them
    "RENDERERS",
    "Renderer",
    "default_root",
    # What one makes
    "Rendering",
    # One by one
    "render_compose",
    "render_helm",
    "render_kubernetes",
    "render_supervisor",
    # Parts
    "compose_text",
    "with_workers",
    "workers_block",
]
