"""One run of a container: its processes, in namespaces of their own."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Where ``ip netns`` keeps network namespaces.
NETWORKS: Final = Path("/run/netns")
#: A shell outside the pid namespace, whose only child is PID 1 in it. (``unshare --fork`` does the
#: same, but for a PID 1 that was killed it reports 1, and not 137.)
_OUTER: Final = 'sh -c "$1"; exit $?'
_LOOK: Final = 0.005
_LOOKS: Final = 400
_NO_ANSWER: Final = 124
#: What of a command's output is kept, as the kubelet keeps it of a probe.
_OUTPUT: Final = 10 * 1024
_NO_PROCESS: Final = "the container has no process"


class Command:
    """A command in a container, beside its PID 1. Made by :meth:`Process.open`."""

    def __init__(self, helper: asyncio.subprocess.Process) -> None:
        assert helper.stdout is not None
        assert helper.stderr is not None
        self._helper = helper
        #: None unless it was asked for.
        self.stdin = helper.stdin
        self.stdout = helper.stdout
        self.stderr = helper.stderr

    async def wait(self) -> int:
        """Its exit code: 128 and the signal, where a signal ended it."""
        return _code(await self._helper.wait())

    async def end(self) -> None:
        """End it and what it started."""
        await _kill_family(self._helper)


class Process:
    """A container that runs. Made by :meth:`start`.

    Two processes stand for it: one outside, whose end is reported, and its PID 1 inside.
    """

    def __init__(
        self, outer: asyncio.subprocess.Process, environment: Mapping[str, str], rights: list[str]
    ) -> None:
        self._outer = outer
        self._environment = environment
        self._rights = rights
        self._first: int | None = None

    @classmethod
    async def start(
        cls, script: str, *, network: str, log: Path, environment: Mapping[str, str],
        rights: list[str],
    ) -> Self:  # fmt: skip
        """Start.

        Args:
            script: of :func:`cluster.node.root.enter`.
            network: the name of the pod's network namespace.
            log: the file that its output is appended to.
            environment: all of it.
            rights: of :meth:`cluster.node.security.Rights.command`, for :meth:`execute`.
        """
        with log.open("ab") as output:
            outer = await asyncio.create_subprocess_exec(
                *(_program("nsenter"), f"--net={NETWORKS / network}"),
                *(_program("unshare"), "--mount", "--pid", "--uts", "--ipc"),
                *("--propagation", "private", "sh", "-c", _OUTER, "sh", script),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(environment),
                start_new_session=True,
            )
        process = cls(outer, environment, rights)
        await process._find_first()
        return process

    async def wait(self) -> int:
        """Its exit code: 128 and the signal, where a signal ended it."""
        return _code(await self._outer.wait())

    def send(self, number: signal.Signals) -> None:
        """A signal for PID 1. (One that it does not handle has no effect, but for SIGKILL.)"""
        if self._outer.returncode is None:
            with suppress(ProcessLookupError):
                # Before PID 1 is there, nothing is: the process outside is all that there is.
                os.kill(self._first or self._outer.pid, number)

    async def execute(self, command: Sequence[str], seconds: float) -> tuple[int, str]:
        """Run a command beside PID 1, as a probe does.

        Returns:
            Its exit code (124 if it was killed since it took too long) and what it printed.
        """
        if self._first is None:
            return 1, _NO_PROCESS
        helper = await self._beside(
            command, stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.STDOUT
        )
        try:
            output, _ = await asyncio.wait_for(helper.communicate(), seconds)
        except TimeoutError:
            return _NO_ANSWER, f"command timed out after {seconds:g} s"
        finally:
            await _kill_family(helper)
        assert helper.returncode is not None
        return helper.returncode, output[:_OUTPUT].decode(errors="replace")

    async def open(self, command: Sequence[str], *, stdin: bool) -> Command:
        """Start a command beside PID 1, as ``kubectl exec`` does.

        Raises:
            LookupError: the container has no process (any more).
        """
        if self._first is None or self._outer.returncode is not None:
            raise LookupError(_NO_PROCESS)
        pipe = asyncio.subprocess.PIPE
        own = pipe if stdin else asyncio.subprocess.DEVNULL
        return Command(await self._beside(command, stdin=own, stderr=pipe))

    async def _beside(
        self, command: Sequence[str], *, stdin: int, stderr: int
    ) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(_program("nsenter"), f"--target={self._first}", "--mount", "--pid", "--net"),
            *("--uts", "--ipc", "--root", "--wd", *self._rights, *command),
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            env=dict(self._environment),
            start_new_session=True,
        )

    async def _find_first(self) -> None:
        for _ in range(_LOOKS):
            if self._outer.returncode is not None:
                return
            with suppress(OSError):
                if (found := _first_child(self._outer.pid)) is not None:
                    self._first = found
                    return
            await asyncio.sleep(_LOOK)


def _code(returned: int) -> int:
    return 128 - returned if returned < 0 else returned


def _first_child(pid: int) -> int | None:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else None


async def _kill_family(helper: asyncio.subprocess.Process) -> None:
    """End a command and what it started: all in the session that it leads."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(helper.pid, signal.SIGKILL)
    await helper.wait()


def _program(name: str) -> str:
    """Its path; the container's PATH is not asked."""
    found = shutil.which(name)
    assert found is not None, f"{name} is part of util-linux"
    return found
