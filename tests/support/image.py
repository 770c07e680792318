"""The Containerfile without an engine: its steps are carried out in folders, its image is run.

Only what ours uses is known, and anything else is an error: FROM, ARG, ENV, LABEL, WORKDIR, COPY,
RUN, USER, CMD.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# What a build and a run are shut in: mounts and processes of their own, which end with them.
NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
#: How a package index is reached from here, whatever the machine needs for that.
NETWORK_FILES = (
    "etc/resolv.conf",
    "etc/hosts",
    "etc/ssl/certs/ca-certificates.crt",
    "etc/pip.conf",
)
NETWORK = re.compile(r"(?i)PIP_(CERT|INDEX_URL|EXTRA_INDEX_URL|DEFAULT_TIMEOUT|PROXY)|.*_proxy")


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """One line of a Containerfile, with those that continue it."""

    name: str
    rest: str

    def __str__(self) -> str:
        return f"{self.name} {self.rest}"


def instructions(text: str) -> list[Instruction]:
    """All of them, from top to bottom."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    found = []
    for line in joined.splitlines():
        name, _, rest = line.strip().partition(" ")
        found.append(Instruction(name=name, rest=rest.strip()))
    return found


def allowed(ignore: str, path: str) -> bool:
    """Whether a build sees a file, by a .containerignore; its last line that fits decides."""
    seen = True
    for line in ignore.splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!")
        parts = path.split("/")
        heads = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
        if pattern.startswith("**/"):
            fits = any(fnmatchcase(part, pattern[3:]) for part in parts)
        else:
            # A star is within one folder.
            fits = any(
                fnmatchcase(head, pattern) and head.count("/") == pattern.count("/")
                for head in heads
            )
        if fits:
            seen = line.startswith("!")
    return seen


@dataclass(kw_only=True)
class Stage:
    """One stage: a root folder, and what is said of how it is used."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "0:0"
    command: list[str] = field(default_factory=list)

    def run(self, script: str) -> None:
        """What a RUN line does: a shell in the root."""
        network = {name: value for name, value in os.environ.items() if NETWORK.fullmatch(name)}
        mounted = (
            'mount -t proc proc "$1/proc"; exec /usr/sbin/chroot "$1" /bin/sh -c "cd $2 && $3"'
        )
        done = subprocess.run(
            [*NAMESPACES, "sh", "-euc", mounted, "sh", str(self.root), self.folder, script],
            env={"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", **network}
            | self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"RUN {script}\n{done.stdout[-4000:]}"

    @contextmanager
    def start(
        self, command: list[str], environment: Mapping[str, str]
    ) -> Iterator[subprocess.Popen[str]]:
        """A process as a container's: its command and nothing else is process 1, the root is
        read-only, there are no rights, /tmp and shared memory are its own. The network is this
        machine's.
        """
        user, _, group = self.user.partition(":")
        shut_in = (
            'mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"; '
            'mount -t proc proc "$1/proc"; mount -t tmpfs -o mode=1777 tmpfs "$1/tmp"; '
            'mount -t tmpfs -o mode=1777 tmpfs "$1/dev/shm"; '
            'root=$1; folder=$2; shift 2; cd "$root$folder"; exec /usr/sbin/chroot "$root" "$@"'
        )
        rights = ["setpriv", "--reuid", user, "--regid", group, "--clear-groups", "--no-new-privs"]
        rights += ["--inh-caps=-all", "--bounding-set=-all", "--"]
        inside = [str(self.root), self.folder, *rights, *command]
        process = subprocess.Popen(
            [*NAMESPACES, "sh", "-euc", shut_in, "sh", *inside],
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


class Builder:
    """Carries out a Containerfile below ``folder``, every stage on a copy of ``base``."""

    def __init__(self, context: Path, base: Path, folder: Path) -> None:
        self.context, self.base, self.folder = context, base, folder
        self.ignore = (context / ".containerignore").read_text()
        self.arguments: dict[str, str] = {}
        self.stages: dict[str, Stage] = {}

    def build(self) -> Stage:
        """The last stage."""
        stage: Stage | None = None
        for one in instructions((self.context / "Containerfile").read_text()):
            if one.name == "ARG":
                name, _, value = one.rest.partition("=")
                self.arguments[name] = value
            elif one.name == "FROM":
                stage = self._from(one.rest)
            else:
                assert stage is not None, f"{one}: before FROM"
                self._carry_out(stage, one)
        assert stage is not None
        return stage

    def _from(self, rest: str) -> Stage:
        match = re.fullmatch(r"\$\{PYTHON\}(?: AS (\w+))?", rest)
        assert match, f"FROM {rest}: expected the pinned Python"
        name = match[1] or "last"
        root = self.folder / name
        subprocess.run(["cp", "-a", "--reflink=auto", str(self.base), str(root)], check=True)
        if match[1]:
            for file in NETWORK_FILES:
                if Path("/", file).exists():
                    (root / file).parent.mkdir(parents=True, exist_ok=True)
                    (root / file).write_bytes(Path("/", file).read_bytes())
        stage = self.stages[name] = Stage(root=root)
        return stage

    def _carry_out(self, stage: Stage, one: Instruction) -> None:
        words = shlex.split(re.sub(r"\$\{(\w+)\}", lambda m: self.arguments[m[1]], one.rest))
        if one.name in {"ENV", "LABEL"}:
            said = dict(word.partition("=")[::2] for word in words)
            (stage.environment if one.name == "ENV" else stage.labels).update(said)
        elif one.name == "WORKDIR":
            stage.folder = one.rest
            (stage.root / one.rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif one.name == "USER":
            stage.user = one.rest
        elif one.name == "CMD":
            stage.command = json.loads(one.rest)
        elif one.name == "RUN":
            stage.run(one.rest)
        elif one.name == "COPY":
            self._copy(stage, words)
        else:
            raise AssertionError(f"{one}: not known here")

    def _copy(self, stage: Stage, words: list[str]) -> None:
        *sources, target = words
        if sources[0].startswith("--from="):
            root = self.stages[sources[0].removeprefix("--from=")].root
            to = stage.root / target.lstrip("/")
            to.parent.mkdir(parents=True, exist_ok=True)
            for name in sources[1:]:
                source = root / name.lstrip("/")
                if source.is_dir():
                    shutil.copytree(source, to, symlinks=True)
                else:
                    shutil.copy(source, to)
            return
        place = stage.root / stage.folder.lstrip("/") / target
        for source_name in sources:
            source = self.context / source_name
            files = [source] if source.is_file() else sorted(source.rglob("*"))
            for file in files:
                path = file.relative_to(self.context).as_posix()
                if file.is_dir() or not allowed(self.ignore, path):
                    continue
                to = place / (file.name if source.is_file() else file.relative_to(source))
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, to)
