"""The README is true: every block of it is run or checked, from top to bottom, as a reader would.

======================  ========================================================================
block                   what is done with it
======================  ========================================================================
``sh``                  run in one shell; ``laneway up`` is started and kept until the next one
``console``             ``$ command`` is run, what follows must be what it says (``…``: anything)
``python``, ``toml``    with ``# name`` in the first line: a file of the reader's own project
``python``              else: run; comments behind ``print(...)`` are what must be printed
``diff``                applied to the file of the project that has the line
======================  ========================================================================

Any other block, and one without a language, is an error.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from laneway.broker import all_profiles
from laneway.local import reap_abandoned_runs
from laneway.policy import lint_policy
from laneway.workloads.presence import running_platforms

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent
#: Written to stderr by verbs that found the platform by themselves; the README says so once.
FOUND = "laneway: using the platform of run"
#: Run by nobody inside of a test: they are what runs it, or install a server.
ONLY_NAMED = {"make test", "make test-unit", "make broker43", "make test-broker43", "make ci"}
#: Separates what commands of one session said.
MARK = "\x1e"


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block."""

    line: int
    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The file of the reader's project that the block is, if it is one."""
        match = re.match(r"# ([\w/]+\.(?:py|toml))\n", self.text)
        return match[1] if match else None

    def __str__(self) -> str:
        return f"line {self.line} {self.language} {self.file or ''}".rstrip()


def blocks(document: str) -> list[Block]:
    """All fenced blocks, from top to bottom."""
    found = []
    fence = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    for match in fence.finditer(document):
        line = document.count("\n", 0, match.start()) + 1
        found.append(Block(line=line, language=match[1].strip(), text=match[2]))
    return found


BLOCKS = blocks(README)


@dataclass(kw_only=True)
class Reader:
    """Somebody who types what the README says."""

    #: The folder of their own project.
    project: Path
    environment: dict[str, str]
    #: Where they are.
    folder: Path = ROOT
    up: subprocess.Popen[str] | None = None
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.project.parent / "up.log"

    def run(self, script: str, *, check: bool = True) -> str:
        """Run a script in a shell and return all that it said."""
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=170,
        )
        assert not check or done.returncode == 0, done.stdout
        return "".join(
            line for line in done.stdout.splitlines(keepends=True) if not line.startswith(FOUND)
        )

    def start(self, command: str) -> None:
        """Start ``laneway up`` in a terminal of its own."""
        self.stop()
        with self.log.open("w") as log:
            self.up = subprocess.Popen(
                shlex.split(command),
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                text=True,
            )
        until = time.monotonic() + 150
        while "workers are ready" not in self.log.read_text() or not running_platforms():
            assert self.up.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.1)

    def stop(self) -> None:
        """Press Ctrl-C there, and see that nothing is left."""
        if self.up is None:
            return
        up, self.up = self.up, None
        up.send_signal(signal.SIGINT)
        try:
            assert up.wait(60) == 0, self.log.read_text()
        finally:
            up.kill()
        assert list((Path(self.environment["LANEWAY_HOME"]) / "runs").iterdir()) == []


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """One reader for the whole document: what a block did, the next one finds."""
    place = tmp_path_factory.mktemp("reader")
    (place / "project" / "queues").mkdir(parents=True)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("LANEWAY_", "CELERY_"))}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LANEWAY_HOME", str(place / "home"))
        reader = Reader(
            project=place / "project",
            environment={
                **clean,
                "LANEWAY_HOME": str(place / "home"),
                "PATH": f"{BIN}{os.pathsep}{clean['PATH']}",
                "COLUMNS": "200",
            },
        )
        try:
            yield reader
            reader.stop()
        finally:
            if reader.up is not None:
                reader.up.kill()
                reader.up.wait()
            reap_abandoned_runs()


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_block(reader: Reader, block: Block) -> None:
    if block.file:
        write(reader, block.file, block.text)
    elif block.language == "sh":
        shell(reader, block.text)
    elif block.language == "console":
        session(reader, block.text)
    elif block.language == "python":
        python(reader, block.text)
    elif block.language == "diff":
        patch(reader, block.text)
    else:
        pytest.fail(f"README.md:{block.line}: nothing checks a block of {block.language!r}")


def write(reader: Reader, name: str, text: str) -> None:
    """A file of the project; from the first one on the reader works there."""
    reader.folder = reader.project
    (reader.project / name).write_text(text)


def shell(reader: Reader, text: str) -> None:
    """Line by line, because ``laneway up`` stays; an exported variable does as well."""
    for line in text.splitlines():
        if line.startswith("make "):
            make(reader, line)
        elif line.startswith("laneway up"):
            reader.start(line)
        elif match := re.fullmatch(r'export (\w+)="\$PWD"', line):
            reader.environment[match[1]] = str(reader.folder)
        else:
            reader.run(line)


def make(reader: Reader, line: str) -> None:
    """A target of the Makefile; the virtual environment of this test is taken as made."""
    dry = "-n" if line in ONLY_NAMED else ""
    target = line.removeprefix("make ")
    stamp = f"{sys.prefix}/.installed"
    reader.run(f"make -C {ROOT} {dry} -o {stamp} -o servers VENV={sys.prefix} {target}")


def session(reader: Reader, text: str) -> None:
    """Commands and what they say; a command may fail only if its status is asked for."""
    # A reader on a busy machine has patience.
    text = re.sub(
        r"^\$ sleep (\d+)$", lambda found: f"$ sleep {5 * int(found[1])}", text, flags=re.MULTILINE
    )
    commands: list[str] = []
    said: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            commands.append(line.removeprefix("$ "))
            said.append([])
        else:
            said[-1].append(line)
    script = "\n".join(f"{command}\n_s=$?; echo '{MARK}'$_s; (exit $_s)" for command in commands)
    answers = re.findall(rf"(.*?){MARK}(\d+)\n", reader.run(script, check=False), re.DOTALL)
    assert len(answers) == len(commands)
    for index, (answer, status) in enumerate(answers):
        shown = f"$ {commands[index]}\n{answer}"
        asked = commands[index + 1 : index + 2] == ["echo $?"]
        assert status == "0" or asked, shown
        assert says(answer, said[index]), shown


def says(answer: str, wanted: list[str]) -> bool:
    """Whether the lines agree; spaces count as one, ``…`` stands for anything."""
    lines = [" ".join(line.split()) for line in answer.splitlines() if line.strip()]
    patterns = [" ".join(line.split()) for line in wanted]
    if not patterns:
        return not lines
    if patterns[0] == "…" and any(
        says("\n".join(lines[skipped:]), patterns[1:]) for skipped in range(1, len(lines) + 1)
    ):
        return True
    return bool(lines and agree(lines[0], patterns[0]) and says("\n".join(lines[1:]), patterns[1:]))


def agree(line: str, pattern: str) -> bool:
    """Whether one line agrees; only ``…`` is special."""
    return fnmatchcase(line, re.sub(r"([*?\[])", r"[\1]", pattern).replace("…", "*"))


def python(reader: Reader, text: str) -> None:
    """A program of a service that knows where the platform is."""
    wanted = re.findall(r"print\(.*\)  # (.*)", text)
    (platform,) = running_platforms()
    done = subprocess.run(
        [sys.executable, "-c", text],
        cwd=reader.folder,
        env={**reader.environment, **platform.environment, "PYTHONPATH": str(reader.folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == " ".join(wanted).replace(", ", " ").split()


def patch(reader: Reader, text: str) -> None:
    """One line replaced by another."""
    (old,) = re.findall(r"^-(.*)$", text, re.MULTILINE)
    (new,) = re.findall(r"^\+(.*)$", text, re.MULTILINE)
    (file,) = [p for p in reader.project.glob("*.py") if old in p.read_text().splitlines()]
    file.write_text(
        "\n".join(new if line == old else line for line in file.read_text().split("\n"))
    )


# What is not a block


def test_every_block_says_what_it_is() -> None:
    assert [block.line for block in BLOCKS if not block.language] == []
    assert README.count("```") == 2 * len(BLOCKS), "a fence that is no block"
    assert len(BLOCKS) > 10


def test_the_table_of_promises_is_what_the_profiles_say() -> None:
    section = README.partition("\n## What is promised on which RabbitMQ\n")[2].partition("\n## ")[0]
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("|") and not line.startswith("| ---")
    ]
    header, *rows = cells
    profiles = all_profiles()
    assert [title.partition(" ")[0] for title in header[1:]] == [p.name for p in profiles]
    words = {True: "yes", False: "no", "partly": "partly"}
    told = {p.name: {what: words[holds] for what, holds, _ in p.promises} for p in profiles}
    assert {row[0] for row in rows} == set(told["4.3"])
    for what, *shown in rows:
        assert shown == [told[p.name][what] for p in profiles], what


def test_the_policy_of_the_project_is_sound(reader: Reader) -> None:
    """Runs after the blocks, which wrote it."""
    assert lint_policy(reader.project) == []
    listed = reader.run(f"LANEWAY_POLICY={reader.project} laneway route list --json")
    assert [route["pattern"] for route in json.loads(listed)["routes"]] == [
        "billing.*",
        "billing.charge_card",
    ]


# What checks can fail


@pytest.mark.parametrize(
    ("answer", "wanted", "agreed"),
    [
        ("a  b\n", ["a b"], True),
        ("a\n", [], False),
        ("", ["a"], False),
        ("a\nb\nc\n", ["…", "c"], True),
        ("a\nb\nc\n", ["…", "b"], False),
        ("a\nb\n", ["…"], True),
        ("", ["…"], False),
        ("job 7 on high\n", ["job … on high"], True),
        ("job 7 on low\n", ["job … on high"], False),
        ("a*b\n", ["a*b"], True),
        ("axb\n", ["a*b"], False),
    ],
)
def test_what_a_command_says_is_compared(answer: str, wanted: list[str], agreed: bool) -> None:
    assert says(answer, wanted) is agreed


def test_blocks_are_found() -> None:
    text = "x\n```sh\nmake run\n```\n```\nno tag\n```\n```python\n# a/b.toml\n```\n"
    assert [(b.line, b.language, b.file) for b in blocks(text)] == [
        (2, "sh", None),
        (5, "", None),
        (8, "python", "a/b.toml"),
    ]
