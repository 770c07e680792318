"""The Containerfile: pinned, linted, no root, no shell, and a context of what it copies."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from laneway.local import CONTAINER_TOOLS
from support.image import allowed, instructions
from support.rendered import ROOT, tool

TEXT = (ROOT / "Containerfile").read_text()
STEPS = instructions(TEXT)


def of(name: str) -> list[str]:
    return [step.rest for step in STEPS if step.name == name]


def test_hadolint_has_nothing_to_say() -> None:
    done = subprocess.run(
        [tool(CONTAINER_TOOLS, "hadolint"), "--no-color", str(ROOT / "Containerfile")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_stage_begins_with_one_pinned_digest() -> None:
    pinned = of("ARG")[0]
    assert re.fullmatch(r"PYTHON=docker\.io/library/python:3\.13\S*@sha256:[0-9a-f]{64}", pinned)
    assert {line.split()[0] for line in of("FROM")} == {"${PYTHON}"}
    assert len(of("FROM")) == 2


def test_everything_is_installed_by_hash_or_from_the_wheel() -> None:
    installs = [part for line in of("RUN") for part in line.split("&&") if " install " in part]
    assert len(installs) == 3
    for install in installs:
        assert "--require-hashes" in install or "--no-index --no-deps /wheels/*.whl" in install
    assert any("PIP_ONLY_BINARY=:all:" in line for line in of("ENV"))


@pytest.mark.parametrize("lock", ["build", "requirements"])
def test_what_the_image_installs_is_what_is_tested(lock: str) -> None:
    pinned = re.findall(
        r"^(\S+==\S+)", (ROOT / f"deploy/image/{lock}.lock").read_text(), re.MULTILINE
    )
    tested = re.findall(r"^(\S+==\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert pinned
    assert set(pinned) <= set(tested)


def test_it_runs_as_a_number_without_a_wrapper() -> None:
    last = TEXT[TEXT.rindex("\nFROM ") :]
    assert of("USER") == ["10001:10001"]
    assert "\nUSER " in last
    assert of("ENTRYPOINT") == []
    assert json.loads(of("CMD")[0]) == ["laneway", "--help"]
    assert of("HEALTHCHECK") == []
    environment = " ".join(of("ENV"))
    assert "PYTHONSAFEPATH=1" in environment
    assert "RUN" not in {step.name for step in instructions(last)}, "the last stage only copies"


def test_the_version_is_the_projects() -> None:
    [version] = re.findall(
        r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE
    )
    assert f"VERSION={version}" in of("ARG")


def test_a_build_sees_what_is_copied_and_nothing_else() -> None:
    ignore = (ROOT / ".containerignore").read_text()
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    )
    seen = {path for path in listed.stdout.split("\0") if path and allowed(ignore, path)}
    copied = {
        word.removeprefix("./")
        for line in of("COPY")
        if not line.startswith("--from")
        for word in line.split()[:-1]
    }
    assert {"pyproject.toml", "queues/high.toml", "platform/laneway/app.py"} <= seen
    for path in seen:
        assert any(path == one or path.startswith(f"{one}/") for one in copied), path
    for one in copied:
        assert any(path == one or path.startswith(f"{one}/") for path in seen), one
    assert not allowed(ignore, "deploy/compose/secrets/jobs.env")
    assert not allowed(ignore, ".git/config")
    assert not allowed(ignore, "platform/laneway/__pycache__/app.cpython-311.pyc")
    assert not allowed(ignore, "queues/high.toml.bak")


def test_docker_reads_the_same_list() -> None:
    assert (ROOT / ".dockerignore").is_symlink()
    assert Path(ROOT / ".dockerignore").resolve() == ROOT / ".containerignore"
