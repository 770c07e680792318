"""What makes no sense is refused before anything is installed, in words that say what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from support.chart import ChartRefused, render
from support.chart_cases import told


def worker(**own: Any) -> dict[str, Any]:
    return told("high", **own)


def scaling(**own: Any) -> dict[str, Any]:
    return told("high", autoscaling=own)


#: What is said, and what must stand in the answer.
BY_THE_SCHEMA: list[tuple[dict[str, Any], str, str]] = [
    ({"wrkers": {}}, "at ''", "additional properties 'wrkers' not allowed"),
    (worker(replica=3), "/workers/high", "additional properties 'replica' not allowed"),
    (worker(queues=["high"]), "/workers/high", "additional properties 'queues' not allowed"),
    ({"workers": []}, "/workers", "got array, want object"),
    ({"workers": {"High": {}}}, "/workers", "High"),
    ({"workers": {"x" * 60: {}}}, "/workers", "xxx"),
    (scaling(type="cron"), "/workers/high/autoscaling/type", "'none', 'hpa', 'keda'"),
    (scaling(min=-1), "/workers/high/autoscaling/min", "minimum: got -1, want 0"),
    (scaling(max="10"), "/workers/high/autoscaling/max", "got string, want integer"),
    (scaling(utilisation=1.5), "/workers/high/autoscaling/utilisation", "maximum: got 1.5"),
    (scaling(triggers=[]), "/workers/high/autoscaling", "'triggers' not allowed"),
    (scaling(extraTriggers=[{"type": "cron"}]), "/autoscaling/extraTriggers/0", "missing"),
    (worker(vhost="public"), "/workers/high/vhost", "'jobs', 'secure'"),
    (worker(pool="process"), "/workers/high/pool", "'prefork', 'direct'"),
    (worker(concurrency=0), "/workers/high/concurrency", "minimum: got 0, want 1"),
    (worker(serviceLevelSeconds=0), "/workers/high/serviceLevelSeconds", "exclusiveMinimum"),
    (worker(gracePeriodSeconds="1m"), "/workers/high/gracePeriodSeconds", "want number"),
    (worker(image={"digest": "latest"}), "/workers/high/image/digest", "does not match pattern"),
    (worker(app="shop"), "/workers/high/app", "does not match pattern"),
    (worker(safeToEvict=True), "/workers/high/safeToEvict", "must be one of"),
    (worker(networkPolicy={"enabled": True}), "/networkPolicy/enabled", "must be one of"),
    (worker(probes={"liveness": {"exec": {}}}), "/probes/liveness", "'exec' not allowed"),
    ({"broker": {"password": "x"}}, "/broker", "additional properties 'password' not allowed"),
    ({"broker": {"jobs": {"url": "amqp://u:p@h"}}}, "/broker/jobs", "'url' not allowed"),
    ({"log": {"level": "loud"}}, "/log/level", "must be one of"),
    ({"control": {"replicas": "two"}}, "/control/replicas", "got string, want integer"),
    ({"monitoring": {"alerts": {}}}, "/monitoring", "additional properties 'alerts' not allowed"),
]


@pytest.mark.parametrize(
    ("values", "where", "what"),
    BY_THE_SCHEMA,
    ids=[where + what for _, where, what in BY_THE_SCHEMA],
)
def test_the_schema_says_where_and_what(values: dict[str, Any], where: str, what: str) -> None:
    with pytest.raises(ChartRefused) as refused:
        render(values)
    said = str(refused.value)
    assert where in said, said
    assert what in said, said
