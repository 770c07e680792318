"""The ``workers:`` of the chart's values: one entry a queue, between two marker lines.

What else a worker has (image, resources, affinity …) is ``workerDefaults`` of the chart: that is
operation, not policy.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Final

from laneway.errors import LanewayError
from laneway.render.rendering import Rendering

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from laneway.policy import Policy
    from laneway.policy.queues import Queue

CHART: Final = "helm/laneway"
"""Where the chart is, below the checkout."""

VALUES: Final = f"{CHART}/values.yaml"
"""The file that holds the block."""

BEGIN: Final = "# BEGIN rendered from queues/ (laneway render helm)"
"""The line before the block."""

END: Final = "# END rendered"
"""The line after it."""


def render_helm(policy: Policy, root: Path) -> Rendering:
    """The chart's ``values.yaml`` with the workers of ``policy``.

    Raises:
        LanewayError: there is no chart below ``root``, or its values have lost the marker lines.
    """
    path = root / VALUES
    try:
        values = path.read_text(encoding="utf-8")
    except OSError as error:
        raise LanewayError(
            f"expected the chart's values in {path}, got: {error.strerror}; without a checkout "
            "write a values file of your own: laneway render helm --print > workers.yaml"
        ) from error
    return Rendering(files={VALUES: with_workers(values, workers_block(policy), where=str(path))})


def with_workers(values: str, block: str, *, where: str = VALUES) -> str:
    """``values`` with ``block`` between its marker lines.

    Raises:
        LanewayError: the two lines are not there exactly once, in their order.
    """
    parts = re.split(rf"^({re.escape(BEGIN)}|{re.escape(END)})$\n?", values, flags=re.MULTILINE)
    if parts[1::2] != [BEGIN, END]:
        raise LanewayError(
            f"{where}: expected the line {BEGIN!r} and after it {END!r}, once each, got: "
            f"{parts[1::2] or 'neither'}; put them around workers:"
        )
    before, _, _, _, after = parts
    return f"{before}{BEGIN}\n{block}{END}\n{after}"


def workers_block(policy: Policy) -> str:
    """The map ``workers:`` as YAML, in the order of the queues' names."""
    lines = ["workers:"]
    for queue in policy.queues.values():
        lines += [f"  {queue.name}:", *(f"    {line}" for line in _worker(queue))]
    return "\n".join(lines) + "\n"


def hands_back(queue: Queue) -> bool:
    """Whether a job may outlive the grace period, and then runs again in another worker."""
    limit = queue.worker.time_limit
    return limit is None or queue.worker.grace_period < limit


def _worker(queue: Queue) -> Iterator[str]:
    worker, scaling = queue.worker, queue.scaling
    yield f"summary: {json.dumps(queue.summary, ensure_ascii=False)}"
    yield f"vhost: {queue.vhost}"
    yield f"pool: {worker.pool}"
    yield f"concurrency: {worker.concurrency}"
    yield f"serviceLevelSeconds: {_number(queue.service_level)}"
    if worker.soft_time_limit is not None:
        yield f"softTimeLimitSeconds: {_number(worker.soft_time_limit)}"
    if worker.time_limit is not None:
        yield f"timeLimitSeconds: {_number(worker.time_limit)}"
    # Kubernetes counts such seconds in whole numbers.
    yield f"gracePeriodSeconds: {math.ceil(worker.grace_period)}"
    if hands_back(queue):
        yield "handsBack: true"
    yield "autoscaling:"
    yield f"  type: {scaling.autoscaler}"
    yield f"  min: {scaling.min}"
    yield f"  max: {scaling.max}"
    yield f"  scaleInAfterSeconds: {math.ceil(scaling.scale_in_after)}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
