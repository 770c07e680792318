"""Every alert rings when it should, is quiet when it should, and names numbers that there are."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from laneway.policy import load_policy
from laneway.worker.tally import BUCKETS
from support import expositions
from support.chart import NAMESPACE, ROOT, Manifest, render

if TYPE_CHECKING:
    from pathlib import Path

    from support.chart_tools import ChartTools

ON = {"monitoring": {"prometheusRule": {"enabled": True}}}
RUNBOOK = ROOT / "docs" / "how-to" / "alerts.md"


def rule_object() -> Manifest:
    [found] = render(ON).of("PrometheusRule")
    return dict(found)


def rules(group: str) -> dict[str, dict[str, Any]]:
    """The alerts of one group, by name."""
    [found] = [each for each in rule_object()["spec"]["groups"] if each["name"].endswith(group)]
    return {each["alert"]: each for each in found["rules"]}


def series(name: str, values: str, /, **labels: str) -> dict[str, str]:
    """A series as promtool writes them, one value a minute: ``3x10`` is 3, ten more times."""
    shown = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
    return {"series": f'{name}{{namespace="{NAMESPACE}",{shown}}}', "values": values}


def high(name: str, values: str, /, **labels: str) -> dict[str, str]:
    return series(name, values, queue="high", **labels)


def low(name: str, values: str, /, **labels: str) -> dict[str, str]:
    return series(name, values, queue="low", **labels)


def waits(inside: str, all_: str, *, le: str = "1.0") -> list[dict[str, str]]:
    """Of started jobs, those within the service level of ``high``, and all."""
    return [
        high("laneway_wait_seconds_bucket", inside, pod="a", le=le),
        high("laneway_wait_seconds_count", all_, pod="a"),
    ]


def jobs(vhost_gauge: str, values: str, pod: str = "a") -> dict[str, str]:
    return series(vhost_gauge, values, vhost="jobs", pod=pod)


@dataclass(frozen=True)
class Case:
    """What Prometheus has seen, and whether an alert of a group rings some minutes later."""

    alert: str
    what: str
    seen: tuple[dict[str, str], ...]
    minutes: int
    rings: bool
    group: str = "high"


def fact(kind: str, values: str) -> dict[str, str]:
    return high("laneway_facts_total", values, kind=kind, pod="a")


def ready(values: str, pod: str = "a") -> dict[str, str]:
    return high("laneway_ready", values, pod=pod)


def cases_of_fact(alert: str, kind: str) -> list[Case]:
    return [
        Case(alert, "the first one ever", (fact(kind, "0x5 1x20"),), 10, True),
        Case(alert, "none", (fact(kind, "0x30"),), 20, False),
        Case(alert, "an old one", (fact(kind, "0x5 1x40"),), 40, False),
    ]


SLOTS = "laneway_slots_needed"
BACKLOG = "laneway_backlog_jobs"
KNOWN = "laneway_scaler_known"
CONCURRENCY = "laneway_concurrency"
OPEN = "laneway_dead_letters_open"
CASES = [
    Case("LanewayServiceLevelBurnsFast", "40 % are late", (*waits("0+6x90", "0+10x90"),), 70, True),
    Case("LanewayServiceLevelBurnsFast", "20 % are", (*waits("0+8x90", "0+10x90"),), 70, False),
    Case("LanewayServiceLevelBurnsFast", "all of few", (*waits("0x90", "0+0.2x90"),), 80, False),
    Case(
        "LanewayServiceLevelBurnsFast",
        "all are, for a moment",
        (*waits("0+10x70 700x8", "0+10x90"),),
        76,
        False,
    ),
    Case("LanewayServiceLevelBurnsFast", "no job at all", (*waits("5x90", "5x90"),), 80, False),
    Case(
        "LanewayServiceLevelBurnsSlowly", "20 %, long", (*waits("0+8x450", "0+10x450"),), 430, True
    ),
    Case("LanewayServiceLevelBurnsSlowly", "6 %", (*waits("0+9.4x450", "0+10x450"),), 430, False),
    Case("LanewayNoWorkers", "some wait", (high(BACKLOG, "3x20"),), 6, True),
    Case("LanewayNoWorkers", "not for long", (high(BACKLOG, "0x10 3x20"),), 13, False),
    Case(
        "LanewayNoWorkers",
        "there is one",
        (high(BACKLOG, "3x20"), high(CONCURRENCY, "4x20", pod="a")),
        15,
        False,
    ),
    Case("LanewayNoWorkers", "nothing to do", (high(BACKLOG, "0x20"),), 15, False),
    Case(
        "LanewayNothingStarts",
        "not one in ten minutes",
        (high(BACKLOG, "3x40"), fact("started", "5x40")),
        20,
        True,
    ),
    Case(
        "LanewayNothingStarts",
        "some start",
        (high(BACKLOG, "3x40"), fact("started", "0+1x40")),
        20,
        False,
    ),
    Case(
        "LanewayNothingStarts",
        "nothing to do",
        (high(BACKLOG, "0x40"), fact("started", "5x40")),
        30,
        False,
    ),
    Case(
        "LanewayNothingStarts",
        "a job of an hour runs",
        (low(BACKLOG, "1x80"), low("laneway_facts_total", "0 1x80", kind="started", pod="a")),
        70,
        False,
        group="low",
    ),
    Case("LanewayNotReady", "one of two never was", (ready("0x40"), ready("1x40", "b")), 18, True),
    Case("LanewayNotReady", "it was, a while ago", (ready("1x10 0x30"),), 24, False),
    Case("LanewayNotReady", "it is no more", (ready("1x10 0x30"),), 32, True),
    Case("LanewayNotReady", "it has just begun", (ready("_x20 0x20"),), 29, False),
    Case("LanewayNotReady", "each of many for a moment", (ready("0 0 1x40"),), 18, False),
    Case("LanewayScalerUnknown", "no answer", (), 11, True),
    Case("LanewayScalerUnknown", "it says so", (high(KNOWN, "0x20"),), 11, True),
    Case(
        "LanewayScalerUnknown",
        "one of two knows",
        (high(KNOWN, "0x30", pod="a"), high(KNOWN, "1x30", pod="b")),
        20,
        False,
    ),
    Case("LanewayScalerUnknown", "back soon", (high(KNOWN, "1x10 _x8 1x20"),), 19, False),
    Case("LanewayAtMax", "all slots", (high(SLOTS, "80x30"),), 16, True),
    Case("LanewayAtMax", "one less", (high(SLOTS, "79x30"),), 16, False),
    Case("LanewayAtMax", "a burst", (high(SLOTS, "20x5 200x10 20x20"),), 16, False),
    *cases_of_fact("LanewayDeadLetters", "dead_lettered"),
    Case("LanewayLettersWait", "for five hours", (high(OPEN, "1x400", pod="a"),), 260, True),
    Case(
        "LanewayLettersWait", "decided in time", (high(OPEN, "1x200 0x200", pod="a"),), 260, False
    ),
    Case("LanewayLettersWait", "for an hour", (high(OPEN, "0x200 1x90", pod="a"),), 260, False),
    Case("LanewayLettersWait", "none", (high(OPEN, "0x400", pod="a"),), 260, False),
    Case("LanewayLettersWait", "nobody knows", (), 260, False),
    Case(
        "LanewayLettersWait",
        "one replica after the other begins anew",
        (high(OPEN, "1x100 _x300", pod="a"), high(OPEN, "_x110 1x290", pod="b")),
        260,
        True,
    ),
    *cases_of_fact("LanewayQuarantined", "quarantined"),
    *cases_of_fact("LanewayResultsLost", "result_lost"),
    Case("LanewayTopologyDrift", "found at a start", (fact("topology_drift", "1x30"),), 16, True),
    Case("LanewayTopologyDrift", "none", (fact("topology_drift", "0x30"),), 16, False),
    *(
        Case("LanewayKeeperNotWorking", what, seen, 11, rings, group="control-jobs")
        for what, seen, rings in (
            ("no control process", (), True),
            ("it cannot", (jobs("laneway_keeper_working", "0x20"),), True),
            (
                "one of two can",
                (
                    jobs("laneway_keeper_working", "0x20"),
                    jobs("laneway_keeper_working", "1x20", "b"),
                ),
                False,
            ),
        )
    ),
    *(
        Case(
            "LanewayDeadInboxGrows",
            what,
            (jobs("laneway_dead_inbox", seen),),
            25,
            rings,
            group="control-jobs",
        )
        for what, seen, rings in (
            ("never empty", "5x40", True),
            ("emptied in between", "5x10 0 5x40", False),
            ("empty", "0x40", False),
        )
    ),
    *(
        Case(
            "LanewayLettersHeld",
            what,
            (jobs("laneway_keeper_held", seen),),
            16,
            rings,
            group="control-jobs",
        )
        for what, seen, rings in (("one", "1x20", True), ("none", "0x20", False))
    ),
]


def expected(case: Case, rule: dict[str, Any]) -> dict[str, Any]:
    labels = {"alertname": case.alert, **rule["labels"]}
    found = [{"exp_labels": labels, "exp_annotations": rule["annotations"]}] if case.rings else []
    return {"eval_time": f"{case.minutes}m", "alertname": case.alert, "exp_alerts": found}


def judged(tools: ChartTools, folder: Path, cases: list[Case]) -> subprocess.CompletedProcess[str]:
    """What promtool says of the cases. Each is judged by the rules of its own group alone."""
    files = []
    for group in {case.group for case in cases}:
        # (JSON is YAML.)
        file = folder / f"{group}.rules"
        [rendered] = [g for g in rule_object()["spec"]["groups"] if g["name"].endswith(group)]
        file.write_text(json.dumps({"groups": [rendered]}))
        own = [case for case in cases if case.group == group]
        test = folder / f"{group}.test"
        test.write_text(
            json.dumps(
                {
                    "rule_files": [str(file)],
                    "evaluation_interval": "1m",
                    "tests": [
                        {
                            "name": f"{case.alert}: {case.what}",
                            "interval": "1m",
                            "input_series": list(case.seen),
                            "alert_rule_test": [expected(case, rules(group)[case.alert])],
                        }
                        for case in own
                    ],
                }
            )
        )
        files.append(str(test))
    command = [str(tools.promtool), "test", "rules", *files]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_each_rings_and_is_quiet_as_it_should(tools: ChartTools, tmp_path: Path) -> None:
    done = judged(tools, tmp_path, CASES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_is_seen_ringing_and_seen_quiet() -> None:
    tried = {(case.alert, case.rings) for case in CASES}
    groups = rule_object()["spec"]["groups"]
    there = {rule["alert"] for group in groups for rule in group["rules"]}
    assert {(alert, rings) for alert in there for rings in (True, False)} == tried


@pytest.mark.parametrize("vhost", ["jobs", "secure"])
def test_each_virtual_host_has_alerts_of_its_keeper(vhost: str) -> None:
    assert "LanewayKeeperNotWorking" in rules(f"control-{vhost}")


def test_each_number_they_ask_for_is_one_that_is_told() -> None:
    policy = load_policy(ROOT)
    known = expositions.samples(expositions.control_exposition(policy))
    known |= expositions.samples(expositions.worker_exposition("high"))
    for group in rule_object()["spec"]["groups"]:
        for rule in group["rules"]:
            for name, labels in re.findall(r"(laneway_\w+)\{([^}]*)\}", rule["expr"]):
                assert name in known, f"{rule['alert']} asks for {name}"
                asked = set(re.findall(r"(\w+)=", labels)) - {"namespace"}
                assert asked <= known[name], f"{rule['alert']} asks {name} for {asked}"
            for kind in re.findall(r'kind="(\w+)"', rule["expr"]):
                assert kind in expositions.KINDS


def test_a_service_level_is_judged_by_the_next_bucket_that_is_no_shorter() -> None:
    bounds = [f"{bound}" for bound in BUCKETS]
    for level in (0.3, 1, 20, 30, 900, 3600):
        found = render({**ON, "workers": {"high": {"serviceLevelSeconds": level}}})
        [rule] = found.of("PrometheusRule")
        [group] = [g for g in rule["spec"]["groups"] if g["name"].endswith("high")]
        asked = set(re.findall(r'le="([^"]+)"', group["rules"][0]["expr"]))
        wanted = next(bound for bound in bounds if float(bound) >= level)
        assert asked == {wanted}


def test_a_service_level_beyond_all_buckets_is_not_judged() -> None:
    found = render({**ON, "workers": {"high": {"serviceLevelSeconds": 7200}}})
    [rule] = found.of("PrometheusRule")
    [group] = [g for g in rule["spec"]["groups"] if g["name"].endswith("high")]
    assert not [r for r in group["rules"] if "ServiceLevel" in r["alert"]]
    assert [r for r in group["rules"] if r["alert"] == "LanewayNoWorkers"]


def test_each_has_a_section_in_the_runbook() -> None:
    headings = set(re.findall(r"^## (\w+)$", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE))
    there = set()
    for group in rule_object()["spec"]["groups"]:
        for rule in group["rules"]:
            there.add(rule["alert"])
            page, _, place = rule["annotations"]["runbook_url"].partition("#")
            assert page.endswith(RUNBOOK.name)
            assert place == rule["alert"].lower()
    assert headings == there


@pytest.mark.parametrize(
    ("values", "capabilities"),
    [({}, ("monitoring.coreos.com/v1",)), (ON, ())],
    ids=["not asked for", "no operator"],
)
def test_there_are_none_where_nobody_would_read_them(
    values: dict[str, Any], capabilities: tuple[str, ...]
) -> None:
    assert render(values, capabilities=capabilities).of("PrometheusRule") == []
