"""What the API server asks of a node: ``kubectl exec``, over HTTPS and a WebSocket.

Since Kubernetes 1.36 the API server hands a client's WebSocket on as it is to a node that declares
:data:`FEATURE`; for any other it translates to SPDY.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from cluster.node.websocket import WebSocket, accept

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.node.process import Command

#: What a node says in ``status.declaredFeatures``.
FEATURE: Final = "ExtendWebSocketsToKubelet"
PORT: Final = 10250
#: Whose certificate may ask; any other of the same authority may not.
CLIENT: Final = "kube-apiserver-kubelet-client"
_PROTOCOL: Final = "v5.channel.k8s.io"
_STDIN, _STDOUT, _STDERR, _ERROR = range(4)
#: What closes a channel: this byte, then the channel's.
_END: Final = 255
_CHUNK: Final = 32 * 1024
_LONGEST_HEAD: Final = 64 * 1024
#: Seconds for a request to be there.
_PATIENCE: Final = 10.0


class Containers(Protocol):
    """Where commands can be run."""

    async def open_command(
        self, namespace: str, pod: str, container: str, command: Sequence[str], *, stdin: bool
    ) -> Command:
        """Start a command in a container.

        Raises:
            LookupError: there is no such container, or it does not run.
        """


class Refused(Exception):
    """A request that is not served.

    Args:
        status: of the answer.
        message: what was expected.
    """

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class Server:
    """The node's own port.

    Args:
        containers: the node's.
        address: of the node.
        certificate: the node's own, a PEM file.
        key: of that certificate.
        authority: who signed the API server's certificate.
    """

    def __init__(
        self, containers: Containers, *, address: str, certificate: str, key: str, authority: str
    ) -> None:
        self._containers = containers
        self._address = address
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority)
        self._tls.verify_mode = ssl.CERT_REQUIRED
        self._tls.load_cert_chain(certificate, key)

    async def run(self) -> None:
        """Serve until cancelled."""
        server = await asyncio.start_server(
            self._serve, self._address, PORT, ssl=self._tls, limit=_LONGEST_HEAD
        )
        async with server:
            await server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            try:
                await self._answer(reader, writer)
            except Refused as why:
                body = f"{why}\n".encode()
                writer.write(
                    f"HTTP/1.1 {why.status.value} {why.status.phrase}\r\n"
                    f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
                    "Connection: close\r\n\r\n".encode()
                    + body
                )
                await writer.drain()
        except (OSError, EOFError, ValueError, LookupError, asyncio.LimitOverrunError) as error:
            print(f"port {PORT}: {error!r}", file=sys.stderr, flush=True)
        finally:
            writer.close()
            with suppress(OSError, ssl.SSLError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _PATIENCE)
        if (who := _common_name(writer)) != CLIENT:
            raise Refused(HTTPStatus.FORBIDDEN, f"expected a certificate of {CLIENT}, got: {who}")
        first, *lines = head.decode("latin-1").split("\r\n")
        url = urlsplit(first.split(" ")[1])
        headers = {
            name.strip().lower(): value.strip()
            for name, colon, value in (line.partition(":") for line in lines)
            if colon
        }
        match [unquote(part) for part in url.path.split("/")]:
            case ["", "exec", namespace, pod, container]:
                asked = parse_qs(url.query)
            case _:
                message = f"expected /exec/NAMESPACE/POD/CONTAINER, got: {url.path}; nothing else "
                raise Refused(HTTPStatus.NOT_FOUND, f"{message}is served by a node of the tests")
        if _PROTOCOL not in headers.get("sec-websocket-protocol", ""):
            raise Refused(HTTPStatus.BAD_REQUEST, f"expected a WebSocket of {_PROTOCOL}")
        if "tty" in asked:
            raise Refused(HTTPStatus.BAD_REQUEST, "a node of the tests has no terminals: no --tty")
        try:
            command = await self._containers.open_command(
                namespace, pod, container, asked["command"], stdin="input" in asked
            )
        except LookupError as why:
            raise Refused(HTTPStatus.NOT_FOUND, str(why)) from why
        try:
            writer.write(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Accept: {accept(headers['sec-websocket-key'])}\r\n"
                f"Sec-WebSocket-Protocol: {_PROTOCOL}\r\n\r\n".encode()
            )
            await _talk(WebSocket(reader, writer), command)
        finally:
            await command.end()


async def _talk(socket: WebSocket, command: Command) -> None:
    """Hand on what both sides say, until the command ends or the client is gone."""
    both = [asyncio.create_task(each(socket, command)) for each in (_listen, _tell)]
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    for task in both:
        task.cancel()
    for result in await asyncio.gather(*both, return_exceptions=True):
        if isinstance(result, Exception):
            raise result


async def _listen(socket: WebSocket, command: Command) -> None:
    """Standard input; ends when the client is gone."""
    async for message in socket.messages():
        if command.stdin is None or not message:
            continue
        if message == bytes([_END, _STDIN]):
            command.stdin.close()
        elif message[0] == _STDIN:
            with suppress(ConnectionError):
                command.stdin.write(message[1:])
                await command.stdin.drain()


async def _tell(socket: WebSocket, command: Command) -> None:
    await asyncio.gather(
        _pass_on(command.stdout, socket, _STDOUT), _pass_on(command.stderr, socket, _STDERR)
    )
    code = await command.wait()
    await socket.send(bytes([_ERROR]) + json.dumps(_status(code)).encode())
    await socket.close()


async def _pass_on(stream: asyncio.StreamReader, socket: WebSocket, channel: int) -> None:
    while part := await stream.read(_CHUNK):
        await socket.send(bytes([channel]) + part)


def _status(code: int) -> dict[str, Any]:
    """How a command ended, as kubectl reads it."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def _common_name(writer: asyncio.StreamWriter) -> str:
    found: Any = writer.get_extra_info("peercert")
    for part in found["subject"]:
        for name, value in part:
            if name == "commonName":
                return str(value)
    return "no name"
