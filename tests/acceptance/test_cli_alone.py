"""The command line where nothing runs: help, the policy's verbs, and clean errors."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import pytest

from laneway.cli.root import VERBS
from support.cli import POLICY, Cli

if TYPE_CHECKING:
    from pathlib import Path

NOBODY = "amqp://someone:hunter2@127.0.0.1:1"


@pytest.fixture
def broken(bare: Cli, tmp_path: Path) -> Cli:
    """A policy with two problems in two files."""
    root = tmp_path / "policy"
    shutil.copytree(POLICY, root)
    (root / "routing.py").write_text(
        "from laneway import Route\nROUTES = [Route('a.*', queue='hihg')]\n"
    )
    (root / "queues" / "low.toml").write_text('summary = "low"\nservice_level = "fast"\n')
    return bare.having(LANEWAY_POLICY=str(root))


def test_help_names_every_verb(bare: Cli) -> None:
    answer = bare("--help")
    assert answer.status == 0
    for verb, (_, summary) in VERBS.items():
        assert verb in answer.out
        assert summary in answer.out


@pytest.mark.alone
def test_help_is_quick(bare: Cli) -> None:
    def seconds() -> float:
        began = time.monotonic()
        bare("--help")
        return time.monotonic() - began

    # 0.25 s on an idle machine; the bound is for one that somebody else uses as well.
    assert min(seconds() for _ in range(5)) < 2.0


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_that_begins_with_its_line(bare: Cli, verb: str) -> None:
    answer = bare(verb, "--help")
    assert answer.status == 0
    first = answer.out.split("\n\n")[1].strip()
    assert first == VERBS[verb][1]


def test_the_version_is_that_of_the_package(bare: Cli) -> None:
    from importlib.metadata import version

    assert bare("--version").out == f"laneway, version {version('laneway')}\n"


def test_a_misspelt_verb_is_answered_with_the_right_one(bare: Cli) -> None:
    answer = bare("queue")
    assert answer.status == 2
    assert "Did you mean 'queues'?" in answer.err


def test_the_module_is_the_command(bare: Cli) -> None:
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "laneway", "route", "lint"],
        env=dict(bare.environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0
    assert "is valid" in done.stdout


@pytest.mark.parametrize(
    ("words", "found"), [("laneway qu", {"queues"}), ("laneway route l", {"list", "lint"})]
)
def test_the_shell_completes_verbs(bare: Cli, words: str, found: set[str]) -> None:
    count = len(words.split()) - 1
    shell = bare.having(_LANEWAY_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(count))
    lines = shell().out.split()
    assert {line.removeprefix("plain,") for line in lines} == found


# Policy


def test_explain_says_which_rule_won(bare: Cli) -> None:
    answer = bare("route", "explain", "vault.pay")
    assert answer.status == 0
    assert "secure" in answer.out
    assert "route 'vault.*' (routing.py:7)" in answer.out


def test_explain_as_json(bare: Cli) -> None:
    answer = bare("route", "explain", "plain.urgent", "--json").json
    assert answer["queue"] == "high"
    assert answer["priority"] == 9
    assert answer["route"] == "plain.urgent"
    assert answer["service_level"] == 1.0


def test_explain_takes_what_a_call_would_say(bare: Cli) -> None:
    answer = bare("route", "explain", "x", "--queue", "low", "--priority", "2", "--json").json
    assert (answer["queue"], answer["priority"]) == ("low", 2)
    assert answer["queue_reason"] == "given in the call: queue='low'"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--queue", "hihg"], "did you mean 'high'"),
        (["--priority", "10"], "0 to 9"),
        (["--queue", "secure"], "only a route leads into the secure queue"),
    ],
)
def test_what_the_policy_refuses_ends_with_4(bare: Cli, options: list[str], said: str) -> None:
    answer = bare("route", "explain", "plain.add", *options)
    assert answer.status == 4
    assert said in answer.err
    assert "Traceback" not in answer.err


def test_list_shows_routes_and_where_the_rest_goes(bare: Cli) -> None:
    answer = bare("route", "list")
    assert answer.status == 0
    assert "vault.*" in answer.out
    assert "everything else" in answer.out
    listed = bare("route", "list", "--json").json
    assert listed["default_queue"] == "default"
    assert {route["pattern"] for route in listed["routes"]} == {"vault.*", "plain.urgent"}


def test_a_sound_policy_passes_lint(bare: Cli) -> None:
    answer = bare("route", "lint")
    assert answer.status == 0
    assert "2 routes, 4 queues" in answer.out


def test_lint_says_all_problems_at_once(broken: Cli) -> None:
    answer = broken("route", "lint")
    assert answer.status == 1
    assert "routing.py:2" in answer.out
    assert "did you mean 'high'" in answer.out
    assert "queues/low.toml:2" in answer.out
    assert len(broken("route", "lint", "--json").json["problems"]) == 2


def test_no_other_verb_works_with_a_broken_policy(broken: Cli) -> None:
    answer = broken("route", "explain", "a.b")
    assert answer.status == 4
    assert "2 problems" in answer.err
    assert "Traceback" not in answer.err


# Without a broker


@pytest.mark.parametrize(
    "arguments",
    [
        ["queues"],
        ["queues", "pause", "low"],
        ["queues", "purge", "low", "--yes"],
        ["topology", "plan"],
        ["topology", "apply", "--yes", "--wait", "1"],
        ["topology", "wait", "--timeout", "0"],
        ["submit", "plain.add", "--args", "[1, 2]"],
    ],
)
def test_an_unreachable_broker_ends_with_3_and_a_cure(bare: Cli, arguments: list[str]) -> None:
    nowhere = bare.having(
        LANEWAY_BROKER_URL=NOBODY,
        LANEWAY_MANAGEMENT_URL="http://someone:hunter2@127.0.0.1:1",
        LANEWAY_PUBLISH_DEADLINE="1",
    )
    answer = nowhere(*arguments)
    assert answer.status == 3
    assert "LANEWAY_" in answer.err
    assert "Traceback" not in answer.err
    assert "hunter2" not in answer.out + answer.err


def test_the_doctor_says_what_is_wrong_and_goes_on(bare: Cli) -> None:
    nowhere = bare.having(LANEWAY_BROKER_URL=NOBODY, LANEWAY_RESULT_BACKEND="redis://127.0.0.1:1")
    answer = nowhere("doctor", "--json")
    assert answer.status == 1
    verdicts = {check["subject"]: check for check in answer.json["checks"]}
    assert verdicts["policy"]["verdict"] == "ok"
    assert verdicts["broker"]["verdict"] == "fail"
    assert "laneway up" in verdicts["broker"]["cure"]
    assert verdicts["management"]["verdict"] == "warn"
    assert verdicts["results"]["verdict"] == "fail"
    assert "hunter2" not in answer.out


def test_the_doctor_reports_a_broken_policy(broken: Cli) -> None:
    answer = broken("doctor")
    assert answer.status == 1
    assert answer.out.count("fail ") == 2


def test_without_a_backend_there_are_no_results(bare: Cli) -> None:
    answer = bare.having(LANEWAY_BROKER_URL=NOBODY)("result", "some-id")
    assert answer.status == 4
    assert "LANEWAY_RESULT_BACKEND" in answer.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["submit", "plain.add", "--args", "{}"],
        ["submit", "plain.add", "--args", "[1"],
        ["submit", "plain.add", "--kwargs", "[]"],
        ["submit"],
        ["worker", "high"],
        ["worker", "high", "--app", "support.tasks:app", "--pool", "thread"],
        ["topology", "apply", "--json"],
        ["queues", "purge", "low", "--json"],
    ],
)
def test_a_wrong_command_line_ends_with_2(bare: Cli, arguments: list[str]) -> None:
    answer = bare(*arguments)
    assert answer.status == 2
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["worker", "hihg", "--app", "support.tasks:app"], 4, "did you mean 'high'"),
        (["worker", "high", "--app", "support.nothing:app"], 5, "support.nothing"),
        (["worker", "high", "--app", "support.tasks:nothing"], 5, "nothing"),
        (["worker", "default", "--app", "support.tasks:app", "--pool", "threads"], 5, "threads"),
        (["queues", "pause", "hihg"], 4, "did you mean 'high'"),
        (["queues", "purge", "hihg", "--yes"], 4, "did you mean 'high'"),
    ],
)
def test_what_cannot_be_done_says_why(
    bare: Cli, arguments: list[str], status: int, said: str
) -> None:
    answer = bare.having(LANEWAY_BROKER_URL=NOBODY)(*arguments)
    assert answer.status == status
    assert said in answer.err
    assert "Traceback" not in answer.err


def test_an_application_that_fails_shows_its_traceback(bare: Cli, tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text("raise RuntimeError('no licence')\n")
    answer = bare("worker", "high", "--app", "faulty:app", "--app-dir", str(tmp_path))
    assert answer.status == 1
    assert "RuntimeError: no licence" in answer.err
