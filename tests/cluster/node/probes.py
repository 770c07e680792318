"""Probes: what is asked of a container, how often, and after how many answers it counts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

import httpx

from cluster.node.errors import NotSupported

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence


class Executes(Protocol):
    """A container that commands can be run in."""

    async def execute(self, command: Sequence[str], seconds: float) -> tuple[int, str]:
        """Its exit code and what it printed."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """How one probe is asked; the defaults are those of Kubernetes."""

    action: dict[str, Any]
    initial_delay: float = 0
    period: float = 10
    timeout: float = 1
    failures: int = 3
    successes: int = 1
    #: Seconds for the container to end, if the probe is the reason; the pod's if None.
    grace: float | None = None

    @classmethod
    def of(cls, spec: dict[str, Any]) -> Self:
        """As a pod's spec says it."""
        return cls(
            action=spec,
            initial_delay=spec.get("initialDelaySeconds") or 0,
            period=spec.get("periodSeconds") or 10,
            timeout=spec.get("timeoutSeconds") or 1,
            failures=spec.get("failureThreshold") or 3,
            successes=spec.get("successThreshold") or 1,
            grace=spec.get("terminationGracePeriodSeconds"),
        )

    async def verdicts(
        self, ask: Callable[[], Awaitable[str | None]], began: float
    ) -> AsyncIterator[tuple[bool, str]]:
        """Whether all is well, with the last words; one at least for each change of mind.

        Args:
            ask: asks once: what is wrong, or None.
            began: when the container started, on the loop's clock.
        """
        loop = asyncio.get_running_loop()
        await asyncio.sleep(began + self.initial_delay - loop.time())
        good = bad = 0
        while True:
            at = loop.time()
            wrong = await ask()
            if wrong is None:
                good, bad = good + 1, 0
                if good == self.successes:
                    yield True, ""
            else:
                good, bad = 0, bad + 1
                if bad % self.failures == 0:
                    yield False, wrong
            await asyncio.sleep(max(0.0, at + self.period - loop.time()))


class Prober:
    """Asks containers of one node; use as an asynchronous context manager."""

    def __init__(self) -> None:
        self._http = httpx.AsyncClient(
            verify=False,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
            headers={"User-Agent": "kube-probe/tests"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def ask(
        self,
        action: dict[str, Any],
        *,
        container: dict[str, Any],
        address: str,
        process: Executes,
        seconds: float,
    ) -> str | None:
        """Ask once: what is wrong, or None.

        Args:
            action: of a probe or a hook.
            container: its spec, for the names of its ports.
            address: the pod's.
            process: what runs.
            seconds: that an answer may take.
        """
        match action:
            case {"httpGet": get}:
                return await self._get(get, _port(get["port"], container), address, seconds)
            case {"tcpSocket": to}:
                return await _connect(
                    to.get("host") or address, _port(to["port"], container), seconds
                )
            case {"exec": {"command": command}}:
                code, output = await process.execute(command, seconds)
                return None if code == 0 else f"exit code {code}: {output.strip()[-500:]}"
            case {"sleep": {"seconds": pause}}:
                await asyncio.sleep(pause)
                return None
        raise NotSupported(f"a probe or hook of {', '.join(action)}")

    async def _get(
        self, get: dict[str, Any], port: int, address: str, seconds: float
    ) -> str | None:
        scheme = get.get("scheme", "HTTP").lower()
        url = f"{scheme}://{get.get('host') or address}:{port}{get.get('path') or '/'}"
        headers = {each["name"]: each["value"] for each in get.get("httpHeaders") or ()}
        try:
            async with asyncio.timeout(seconds):
                answer = await self._http.get(url, headers=headers, timeout=seconds)
        except (httpx.HTTPError, TimeoutError, OSError) as error:
            return f"Get {url}: {type(error).__name__} {error}".rstrip()
        if httpx.codes.OK <= answer.status_code < httpx.codes.BAD_REQUEST:
            return None
        return f"HTTP probe failed with statuscode: {answer.status_code}: {answer.text[:200]!r}"


async def _connect(host: str, port: int, seconds: float) -> str | None:
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError) as error:
        return f"dial tcp {host}:{port}: {type(error).__name__} {error}".rstrip()
    writer.close()
    return None


def _port(port: int | str, container: dict[str, Any]) -> int:
    if isinstance(port, int):
        return port
    for each in container.get("ports") or ():
        if each.get("name") == port:
            return int(each["containerPort"])
    raise NotSupported(f"a port {port!r} that is none of the container's")
