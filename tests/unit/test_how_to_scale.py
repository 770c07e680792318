"""The commands of docs/how-to/scale.md are real ones, about objects that there are.

tests/cluster/test_how_to_scale.py types them. Here, without a control plane: every program knows
its verb and its options, and every name is one of the manifests.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from functools import cache

import pytest

from laneway.local import KUBERNETES_TOOLS
from support.rendered import ROOT, Checkout, tool

DOCUMENT = (ROOT / "docs/how-to/scale.md").read_text()
FENCE = re.compile(
    r"^( *)```bash(?: (cluster|hpa|none|kustomize))\n(.*?)^ *```$", re.MULTILINE | re.DOTALL
)
#: What an option takes with it, so that it is not taken for the verb.
WITH_VALUE = {"-n", "-k", "-f", "-l", "-c", "-L", "-o", "--set", "--timeout"}


def commands() -> list[str]:
    """One line each, of all blocks; parts of a pipe are lines of their own."""
    lines = [line.strip() for _, _, block in FENCE.findall(DOCUMENT) for line in block.splitlines()]
    return [part.strip() for line in lines if line for part in line.split(" | ")]


COMMANDS = [line for line in commands() if not line.startswith("export ")]


def words(command: str) -> tuple[str, list[str], set[str]]:
    """The program, its words and its options; what stands behind -- is another program's."""
    found = shlex.split(command.replace("$NS", "laneway"))
    found = found[: found.index("--")] if "--" in found else found
    program, *rest = found
    plain, options = [], set()
    skip = False
    for word in rest:
        if skip:
            skip = False
        elif word.startswith("-"):
            options.add(word.partition("=")[0])
            skip = word in WITH_VALUE
        else:
            plain.append(word)
    return program, plain, options


@cache
def known(program: str, *verb: str) -> str:
    """What the program says of a verb and of the options that every verb has."""
    path = tool(KUBERNETES_TOOLS, program)
    said = subprocess.run(
        [path, *verb, "--help"], capture_output=True, text=True, check=True, timeout=30
    ).stdout
    if program == "kubectl":
        said += subprocess.run(
            [path, "options"], capture_output=True, text=True, check=True, timeout=30
        ).stdout
    return said


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_one_that_the_program_knows(command: str) -> None:
    program, plain, options = words(command)
    assert program in {"kubectl", "helm"}
    verb = plain[: {"rollout": 2, "create": 3}.get(plain[0], 1)]
    said = known(program, *verb)
    assert f"{program} {' '.join(verb)}" in said
    for option in options:
        assert re.search(rf"(^|[\s,]){option}[=,\s]", said), f"{command}: {option}"


def test_every_object_is_one_of_the_manifests() -> None:
    objects = Checkout(root=ROOT).kustomize("deploy/k8s/overlays/production")
    text = json.dumps(objects)
    named = set(re.findall(r"\blaneway-[a-z-]*[a-z]\b", "\n".join(COMMANDS)))
    assert "laneway-worker-low" in named
    assert [name for name in named if f'"{name}"' not in text] == []
    secrets = set(re.findall(r"secret generic (\S+)", "\n".join(COMMANDS)))
    assert secrets
    assert all(f'"{secret}"' in json.dumps(objects) for secret in secrets)


def test_every_selector_finds_something() -> None:
    objects = Checkout(root=ROOT).kustomize("deploy/k8s/overlays/production")
    labels = [one["metadata"].get("labels", {}) for one in objects]
    selectors = re.findall(r"-l (?:'([^']+)'|(\S+))", "\n".join(COMMANDS))
    assert selectors
    for quoted, bare in selectors:
        for key, value in re.findall(r"([\w./-]+)=([\w-]+)", quoted or bare):
            assert any(one.get(key) == value for one in labels), (quoted or bare, key)


def test_the_issue_is_answered() -> None:
    headings = re.findall(r"^## (.*)$", DOCUMENT, re.MULTILINE)
    assert headings == [
        "Who decides how many",
        "Hold a queue at N",
        "Pause scale-in during an incident",
        "Drain a queue",
        "Roll a new image without losing a job",
        "Rotate a secret",
        "Roll back",
    ]
    assert DOCUMENT.count("```") == 2 * len(FENCE.findall(DOCUMENT))
