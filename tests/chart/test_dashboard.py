"""The dashboard asks for numbers that there are, and is the one that the generator writes."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import dashboard
from laneway.policy import load_policy
from support import expositions
from support.chart import ROOT, render

if TYPE_CHECKING:
    from pathlib import Path

    from support.chart_tools import ChartTools

ON = {"monitoring": {"dashboard": {"enabled": True}}}


def targets() -> list[str]:
    """All that it asks Prometheus for."""
    made = dashboard.dashboard()
    found: list[str] = [t["expr"] for p in made["panels"] for t in p.get("targets", ())]
    assert len(found) > 10
    return found


def shown(values: dict[str, Any]) -> list[Any]:
    config_maps = render(values).of("ConfigMap")
    return [each for each in config_maps if each["metadata"]["name"].endswith("-dashboard")]


def test_the_file_is_what_the_generator_writes() -> None:
    cure = "run `python scripts/dashboard.py`"
    assert dashboard.FILE.read_text(encoding="utf-8") == dashboard.text(), cure


def test_it_is_a_config_map_that_grafana_finds() -> None:
    [config_map] = shown(ON)
    assert config_map["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(config_map["data"]["laneway.json"]) == dashboard.dashboard()


def test_it_is_there_only_if_asked_for() -> None:
    assert shown({}) == []


def test_each_number_it_asks_for_is_one_that_is_told() -> None:
    known = expositions.samples(expositions.control_exposition(load_policy(ROOT)))
    known |= expositions.samples(expositions.worker_exposition("high"))
    for expression in targets():
        asked = re.findall(r"(laneway_\w+)\{([^}]*)\}", expression)
        assert asked, expression
        for name, labels in asked:
            assert name in known, f"there is no {name}"
            assert set(re.findall(r"(\w+)=", labels)) - {"namespace"} <= known[name]
        assert set(re.findall(r'kind="(\w+)"', expression)) <= set(expositions.KINDS)


def test_prometheus_understands_what_it_asks(tools: ChartTools, tmp_path: Path) -> None:
    rules = [
        {"record": f"asked:{n}", "expr": expression.replace("$__rate_interval", "5m")}
        for n, expression in enumerate(targets())
    ]
    file = tmp_path / "asked.rules"
    file.write_text(json.dumps({"groups": [{"name": "asked", "rules": rules}]}))
    command = [str(tools.promtool), "check", "rules", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_panel_has_a_number_and_a_place_of_its_own() -> None:
    panels = dashboard.panels()
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels]
    assert len(set(places)) == len(panels)
