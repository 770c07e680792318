"""Messages that are no jobs, as the wire carries them: values of every type and shape of AMQP.

What RabbitMQ itself refuses (a length that does not fit, a number that is none) is left out: it
never comes to a worker.
"""

from __future__ import annotations

import json
import struct
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

import amqp
from celery.app.task import Context
from hypothesis import strategies as st

from laneway.worker import gate
from laneway.worker.direct import properties as wire
from laneway.worker.gate import Quarantine

if TYPE_CHECKING:
    from collections.abc import Container

    from hypothesis.strategies import SearchStrategy


class Malformed(NamedTuple):
    """A message that the gate has to put aside."""

    properties: bytes
    body: bytes

    @property
    def mark(self) -> bytes:
        """What the broker leaves as it is: it sorts headers, and writes some of them anew."""
        return self.body


# -- values of tables ----------------------------------------------------------------------------


def _packed(kind: bytes, form: str, numbers: SearchStrategy[Any]) -> SearchStrategy[bytes]:
    return numbers.map(lambda number: kind + struct.pack(form, number))


def _sized(kind: bytes, content: SearchStrategy[bytes]) -> SearchStrategy[bytes]:
    return content.map(lambda data: kind + struct.pack(">I", len(data)) + data)


_scalars = st.one_of(
    st.just(b"V"),
    _packed(b"t", ">B", st.integers(0, 1)),
    _packed(b"b", ">b", st.integers(-128, 127)),
    _packed(b"B", ">B", st.integers(0, 255)),
    _packed(b"s", ">h", st.integers(-(2**15), 2**15 - 1)),
    _packed(b"u", ">H", st.integers(0, 2**16 - 1)),
    _packed(b"I", ">i", st.integers(-(2**31), 2**31 - 1)),
    _packed(b"i", ">I", st.integers(0, 2**32 - 1)),
    _packed(b"l", ">q", st.integers(-(2**63), 2**63 - 1)),
    _packed(b"d", ">d", st.floats(allow_nan=False, allow_infinity=False)),
    _packed(b"f", ">f", st.floats(allow_nan=False, allow_infinity=False, width=32)),
    _packed(b"T", ">Q", st.integers(0, 2**64 - 1)),
    st.tuples(st.integers(0, 255), st.integers(0, 2**31 - 1)).map(
        lambda pair: b"D" + struct.pack(">BI", *pair)
    ),
    _sized(b"S", st.binary(max_size=40) | st.text(max_size=20).map(lambda t: t.encode("utf-8"))),
    _sized(b"S", st.sampled_from([b"plain.add", b"7a2c", b"\xff", b"a\nb", b"x" * 300])),
    _sized(b"x", st.binary(max_size=40)),
)
_names = st.sampled_from(
    sorted(
        {"task", "id", "lang", "eta", "expires", "retries", "timelimit", "stamps", "root_id"}
        | {"stamped_headers", "compression", "shadow", "argsrepr", "origin", "ignore_result"}
        | {name for name in dir(Context) if not name.startswith("__")}
        | {gate.UNKNOWN_HEADER, "laneway_ready_at", "laneway_replays", "laneway_failed_at"}
    )
).map(lambda name: name.encode()) | st.binary(min_size=1, max_size=12).filter(
    # The broker reads these itself, and refuses what is not a list of texts.
    lambda name: name not in {b"CC", b"BCC"}
)


def _item(pair: tuple[bytes, bytes]) -> bytes:
    name, value = pair
    return bytes([len(name)]) + name + value


_values = st.recursive(
    _scalars,
    lambda inner: (
        _sized(b"A", st.lists(inner, max_size=3).map(b"".join))
        | _sized(
            b"F",
            st.dictionaries(_names, inner, max_size=3).map(
                lambda d: b"".join(map(_item, d.items()))
            ),
        )
    ),
    max_leaves=5,
)


def _deep(levels: int) -> bytes:
    value: bytes = b"V"
    for _ in range(levels):
        value = b"A" + struct.pack(">I", len(value)) + value
    return value


# -- headers, properties, bodies -----------------------------------------------------------------

_HEADERS: dict[str, Any] = {
    "lang": "py",
    "task": "plain.add",
    "id": "7a2c",
    "eta": None,
    "expires": None,
    "retries": 0,
    "timelimit": [None, None],
    "root_id": "7a2c",
    "argsrepr": "(1, 2)",
    "stamps": {},
}
# (An item of a table without its name.)
_JOB = {n.encode(): amqp.serialization.dumps("F", [{"": v}])[5:] for n, v in _HEADERS.items()}
_changes = st.dictionaries(
    _names, _values | st.none() | st.sampled_from([_deep(3), _deep(300), _deep(5000)]), max_size=3
)


def _changed(changes: dict[bytes, bytes | None]) -> bytes:
    headers = {**_JOB, **changes}
    return b"".join(_item((n, v)) for n, v in headers.items() if v is not None)


_headers = st.one_of(
    _changes.map(_changed),
    _changes.map(_changed),
    st.just(_changed({})),
    st.dictionaries(_names, _values, max_size=4).map(lambda d: b"".join(map(_item, d.items()))),
)
_TEXTS = [b"application/json", b"utf-8", b"binary", b"application/x-python-serialize", b""]
_TEXTS += [b"application/text", b"application/x-yaml", b"\xff\xfe", b"x" * 255]
_short = st.sampled_from(_TEXTS) | st.binary(max_size=20)


@st.composite
def _properties(draw: st.DrawFn) -> bytes:
    if draw(st.integers(0, 3)):
        flags, head = 0xE000, b"\x10application/json\x05utf-8"
    else:
        flags, head = 0, b""
        for bit in (0x8000, 0x4000):
            if draw(st.booleans()):
                value = draw(_short)
                flags, head = flags | bit, head + bytes([len(value)]) + value
        flags |= 0x2000 * draw(st.booleans())
    if flags & 0x2000:
        table = draw(_headers)
        head += struct.pack(">I", len(table)) + table
    if draw(st.booleans()):
        flags, head = flags | 0x1000, head + b"\x02"
    if draw(st.booleans()):
        flags, head = flags | 0x0800, head + bytes([draw(st.integers(0, 255))])
    # Correlation id, reply to, message id, timestamp, type, application, cluster. The others
    # (expiration, user) the broker checks.
    for bit in (0x0400, 0x0200, 0x0080, 0x0040, 0x0020, 0x0008, 0x0004):
        if not draw(st.integers(0, 4)):
            value = draw(_short)
            one = struct.pack(">Q", draw(st.integers(0, 2**64 - 1)))
            flags, head = (
                flags | bit,
                head + (one if bit == 0x0040 else bytes([len(value)]) + value),
            )
    return struct.pack(">H", flags) + head


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["callbacks", "errbacks", "chain", "chord", "id", "task", "__type__"])
            | st.text(max_size=5),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
_bodies = st.one_of(
    st.just(b"[[1, 2], {}, {}]"),
    st.just(b"[[1, 2], {}, {}]"),
    st.binary(max_size=60),
    _json.map(lambda value: json.dumps(value).encode()),
    st.lists(_json, min_size=3, max_size=3).map(lambda parts: json.dumps(parts).encode()),
    st.tuples(st.just([]), st.just({}), _json).map(lambda parts: json.dumps(parts).encode()),
    st.sampled_from(
        [
            b"",
            b"[" * 5_000,
            b"[[" + b"[" * 500 + b"]" * 500 + b"], {}, {}]",
            b"[[1, 2], {}, {}]"[:-1],
            zlib.compress(b"[[1, 2], {}, {}]"),
            zlib.compress(b"[[" + b" " * 40_000_000 + b"], {}, {}]"),
        ]
    ),
)


def expected(properties: bytes, body: bytes, tasks: Container[str]) -> gate.Verdict:
    """What the gate says of a message, without a worker."""
    try:
        decoded = wire.decode(properties)
    except Exception:  # (the decoder's own)
        return gate.examine(None, None, body, tasks=tasks)
    headers = decoded.pop("application_headers", None)
    return gate.examine(
        decoded, headers, body, tasks=tasks, limits=gate.Limits(unknown_task_grace=0)
    )


def messages() -> SearchStrategy[Malformed]:
    """Messages, nearly all of which the gate puts aside."""
    return st.builds(Malformed, _properties(), _bodies)


def is_quarantined(message: Malformed, tasks: Container[str]) -> bool:
    """Whether the gate puts the message aside.

    Args:
        message: it.
        tasks: the names of the tasks that the worker knows; others it puts aside at once.
    """
    return isinstance(expected(message.properties, message.body, tasks), Quarantine)
