"""Writes the Grafana dashboard of the chart: ``python scripts/dashboard.py``.

One row for each queue (Grafana repeats it for each value of the variable ``queue``) and one for the
control process.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parents[1] / "helm" / "laneway" / "files" / "dashboard.json"
QUEUE = 'namespace="$namespace",queue="$queue"'
ALL = 'namespace="$namespace"'
SOURCE = {"type": "prometheus", "uid": "${datasource}"}

Panel = dict[str, Any]
#: Legend: expression.
Lines = dict[str, str]


def quantile(share: float, histogram: str) -> str:
    """A quantile of a histogram of one queue."""
    rate = f"rate({histogram}_bucket{{{QUEUE}}}[$__rate_interval])"
    return f"histogram_quantile({share}, sum by (le) ({rate}))"


def rate(kind: str) -> str:
    """Facts of a kind of one queue, a second."""
    return f'sum(rate(laneway_facts_total{{{QUEUE},kind="{kind}"}}[$__rate_interval]))'


def number(kind: str) -> str:
    """Facts of a kind of one queue, in an interval."""
    return f'sum(increase(laneway_facts_total{{{QUEUE},kind="{kind}"}}[$__rate_interval]))'


OF_A_QUEUE: dict[str, tuple[str, Lines]] = {
    "How long jobs wait until they start": (
        "s",
        {
            "95 of 100": quantile(0.95, "laneway_wait_seconds"),
            "half": quantile(0.5, "laneway_wait_seconds"),
        },
    ),
    "How long they run": (
        "s",
        {
            "95 of 100": quantile(0.95, "laneway_runtime_seconds"),
            "half": quantile(0.5, "laneway_runtime_seconds"),
        },
    ),
    "Jobs a second": (
        "ops",
        {
            "arrived": f"max(laneway_arrivals_per_second{{{QUEUE}}})",
            **{kind: rate(kind) for kind in ("started", "succeeded", "retried", "failed")},
        },
    ),
    "Jobs that wait": ("short", {"backlog": f"max(laneway_backlog_jobs{{{QUEUE}}})"}),
    "Slots": (
        "short",
        {
            "needed": f"max(laneway_slots_needed{{{QUEUE}}})",
            "there": f"sum(laneway_concurrency{{{QUEUE}}})",
            "busy": f"max(laneway_busy_slots{{{QUEUE}}})",
            "workers": f"count(laneway_concurrency{{{QUEUE}}})",
            "ready workers": f"sum(laneway_ready{{{QUEUE}}})",
        },
    ),
    "What went wrong": (
        "short",
        {
            kind: number(kind)
            for kind in ("dead_lettered", "quarantined", "result_lost", "unguarded")
        },
    ),
}
OF_CONTROL: dict[str, tuple[str, Lines]] = {
    "Keepers that work": (
        "short",
        {"{{vhost}}": f"sum by (vhost) (laneway_keeper_working{{{ALL}}})"},
    ),
    "Messages in the dead inbox": (
        "short",
        {"{{vhost}}": f"max by (vhost) (laneway_dead_inbox{{{ALL}}})"},
    ),
    "Dead letters that wait for a decision": (
        "short",
        {"{{queue}}": f"max by (queue) (laneway_dead_letters_open{{{ALL}}})"},
    ),
    "Results that wait for their backend": (
        "short",
        {
            "workers": f"sum(laneway_results_waiting{{{ALL}}})",
            "control": f"sum(laneway_keeper_results_waiting{{{ALL}}})",
        },
    ),
}


def dashboard() -> dict[str, Any]:
    """The whole of it, as Grafana imports it."""
    queues = variable("queue", f"label_values(laneway_concurrency{{{ALL}}}, queue)", multi=True)
    return {
        "title": "Laneway",
        "uid": "laneway",
        "tags": ["laneway"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus"},
                variable("namespace", "label_values(laneway_concurrency, namespace)"),
                queues,
            ]
        },
        "panels": panels(),
    }


def panels() -> list[Panel]:
    """Rows and their panels, each with its place and number."""
    found = [row("$queue", y=0, repeat="queue"), *line(OF_A_QUEUE, y=1)]
    found += [row("Control", y=20), *line(OF_CONTROL, y=21)]
    return [{"id": place, **panel} for place, panel in enumerate(found, start=1)]


def row(title: str, *, y: int, repeat: str | None = None) -> Panel:
    """A row; repeated for each value of a variable if it names one."""
    made: Panel = {"type": "row", "title": title, "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}}
    return made | ({"repeat": repeat} if repeat else {"collapsed": False})


def line(contents: dict[str, tuple[str, Lines]], *, y: int) -> list[Panel]:
    """Panels side by side, three in a line."""
    return [
        {
            "type": "timeseries",
            "title": title,
            "datasource": SOURCE,
            "gridPos": {"x": 8 * (at % 3), "y": y + 8 * (at // 3), "w": 8, "h": 8},
            "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
            "targets": [
                {"refId": chr(ord("A") + n), "legendFormat": legend, "expr": expression}
                for n, (legend, expression) in enumerate(lines.items())
            ],
        }
        for at, (title, (unit, lines)) in enumerate(contents.items())
    ]


def variable(name: str, query: str, *, multi: bool = False) -> dict[str, Any]:
    """A variable that Grafana asks Prometheus for."""
    return {
        "name": name,
        "type": "query",
        "datasource": SOURCE,
        "query": query,
        "refresh": 2,
        "multi": multi,
        "includeAll": multi,
    }


def text() -> str:
    """What stands in the file."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
