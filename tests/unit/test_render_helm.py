"""The workers of the chart's values say what the queues say, and nothing around them changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from laneway.errors import LanewayError, PolicyError
from laneway.policy import load_policy
from laneway.render import render_helm, with_workers, workers_block
from laneway.render.helm import BEGIN, END
from support.rendered import ROOT

if TYPE_CHECKING:
    from pathlib import Path

QUEUE = 'summary = "x"\nservice_level = "1s"\n'
VALUES = f"before: 1  # kept\n{BEGIN}\nworkers:\n  old: {{}}\n{END}\nafter: 2\n"


def workers(tmp_path: Path, **queues: str) -> Any:
    """What a chart reads of queues given as TOML."""
    (tmp_path / "queues").mkdir(parents=True)
    (tmp_path / "routing.py").write_text("ROUTES = []\n")
    for name, text in {"default": "", **queues}.items():
        (tmp_path / "queues" / f"{name}.toml").write_text(QUEUE + text)
    return yaml.safe_load(workers_block(load_policy(tmp_path)))["workers"]


def test_every_key_of_a_queue(tmp_path: Path) -> None:
    said = workers(
        tmp_path,
        x='[worker]\nconcurrency = 3\nsoft_time_limit = "30s"\ntime_limit = "60s"\n'
        'grace_period = "20s"\n[scaling]\nautoscaler = "keda"\nmin = 2\nmax = 20\n'
        'utilisation = 0.6\nexpected_runtime = "200ms"\nscale_in_after = "4m"\n',
    )
    assert list(said) == ["default", "x"]
    assert said["x"] == {
        "summary": "x",
        "vhost": "jobs",
        "pool": "prefork",
        "concurrency": 3,
        "serviceLevelSeconds": 1,
        "softTimeLimitSeconds": 30,
        "timeLimitSeconds": 60,
        "gracePeriodSeconds": 20,
        "handsBack": True,
        "autoscaling": {
            "type": "keda",
            "min": 2,
            "max": 20,
            "drainSeconds": 15,
            "expectedRuntimeSeconds": 0.2,
            "utilisation": 0.6,
            "scaleInAfterSeconds": 240,
        },
    }
    assert workers(tmp_path / "2", x='[broker]\nvhost = "secure"\n')["x"]["vhost"] == "secure"


def test_limits_that_there_are_not() -> None:
    block = yaml.safe_load(workers_block(load_policy(ROOT / "tests/support/policy")))
    for name, queue in load_policy(ROOT / "tests/support/policy").queues.items():
        worker = block["workers"][name]
        assert ("timeLimitSeconds" in worker) == (queue.worker.time_limit is not None)
        assert ("softTimeLimitSeconds" in worker) == (queue.worker.soft_time_limit is not None)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('time_limit = "1m"\ngrace_period = "1m"', False),
        ('time_limit = "1m"\ngrace_period = "2m"', False),
        ('time_limit = "1m"\ngrace_period = "59s"', True),
        ('grace_period = "1d"', True),
    ],
)
def test_a_job_that_may_outlive_the_grace_is_said(tmp_path: Path, keys: str, said: bool) -> None:
    assert workers(tmp_path, x=f"[worker]\n{keys}\n")["x"].get("handsBack", False) is said


def test_seconds_that_kubernetes_counts_are_whole(tmp_path: Path) -> None:
    said = workers(
        tmp_path,
        x='[worker]\ngrace_period = "1500ms"\n[scaling]\nscale_in_after = "100ms"\n'
        'expected_runtime = "1ms"\n',
    )["x"]
    assert said["gracePeriodSeconds"] == 2
    assert said["autoscaling"]["scaleInAfterSeconds"] == 1
    assert said["autoscaling"]["expectedRuntimeSeconds"] == 0.001


@pytest.mark.parametrize("name", ["e1", "x-1", "yes-please", "nan", "infinity"])
def test_every_name_of_a_queue_is_a_string(tmp_path: Path, name: str) -> None:
    assert set(workers(tmp_path, **{name: ""})) == {"default", name}


@pytest.mark.parametrize("word", ["on", "no", "y", "true", "null"])
def test_a_word_that_yaml_takes_for_no_string_is_no_name(tmp_path: Path, word: str) -> None:
    with pytest.raises(PolicyError, match=f"the name '{word}' is taken .YAML takes it for"):
        workers(tmp_path, **{word: ""})


def test_a_summary_may_hold_anything(tmp_path: Path) -> None:
    (tmp_path / "queues").mkdir()
    (tmp_path / "routing.py").write_text("ROUTES = []\n")
    said = """"'quoted' # \\ {{ .Values }}: ütf · 日本"""
    toml = said.replace("\\", "\\\\").replace('"', '\\"')
    (tmp_path / "queues/default.toml").write_text(f'summary = "{toml}"\nservice_level = "1s"\n')
    block = yaml.safe_load(workers_block(load_policy(tmp_path)))
    assert block["workers"]["default"]["summary"] == said


def test_only_the_block_changes() -> None:
    assert with_workers(VALUES, "workers:\n  new: {}\n") == VALUES.replace("old", "new")


@pytest.mark.parametrize(
    "values",
    [
        "",
        VALUES.replace(BEGIN, "# BEGIN"),
        VALUES.replace(END, ""),
        VALUES + VALUES,
        f"{END}\n{BEGIN}\n",
    ],
)
def test_values_without_their_markers_are_refused(values: str) -> None:
    with pytest.raises(LanewayError, match=r"x.yaml: expected the line '# BEGIN rendered"):
        with_workers(values, "workers:\n", where="x.yaml")


def test_a_folder_without_a_chart_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LanewayError, match=r"expected the chart's values in .*--print"):
        render_helm(load_policy(ROOT), tmp_path)
