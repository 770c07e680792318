"""The body of a job: JSON of its arguments and of what is to follow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from kombu.utils import json as kombu_json

from laneway.worker.gate.compressed import CompressionRefused, decompress
from laneway.worker.gate.json_types import LIST, MAPPING, TEXT
from laneway.worker.gate.limits import is_deep
from laneway.worker.gate.verdict import Refused, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from laneway.worker.gate.limits import Limits

_CONTENT_TYPE: Final = "application/json"
# None and "": kombu's producers say it, others may leave it out, and JSON is UTF-8 anyway.
_ENCODINGS: Final = frozenset({"utf-8", "UTF-8", "utf8", None, ""})
#: What kombu writes into JSON where a value is no plain one (a date, a UUID, a decimal …).
_TYPED: Final = b'"__type__"'
_EMBEDDED: Final = ("callbacks", "errbacks", "chain", "chord")
_NOTHING_EMBEDDED: Final = dict.fromkeys(_EMBEDDED)


def check_content(properties: Mapping[str, Any]) -> None:
    """Refuse what does not say that it is JSON in UTF-8."""
    kind, encoding = properties.get("content_type"), properties.get("content_encoding")
    if kind != _CONTENT_TYPE or encoding not in _ENCODINGS:
        expected = f"expected content of type {_CONTENT_TYPE!r} in 'utf-8'"
        got = f"{shown(kind)} in {shown(encoding)}"
        raise Refused("ContentRefused", f"{expected}, got: {got}")


def decompressed(body: bytes, compression: str, limits: Limits) -> bytes:
    """The body as it was before its publisher compressed it, within its limit."""
    try:
        return decompress(body, compression, limits.body_bytes)
    except CompressionRefused as error:
        raise Refused("ContentRefused", str(error)) from error


def parts(body: bytes, limits: Limits) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """Arguments, keyword arguments, and what is to follow, of the shapes that Celery expects."""
    try:
        # kombu's decoder builds an object for each message to bring back what is no plain value.
        decoded = (kombu_json.loads if _TYPED in body else json.loads)(body.decode())
    except Exception as error:
        # kombu's decoders of typed values raise whatever a wrong value makes them raise.
        words = f"expected JSON, got what cannot be decoded ({type(error).__name__})"
        raise Refused("BodyUnreadable", words) from error
    if type(decoded) is not list or len(decoded) != 3:
        raise Refused("BodyRefused", "expected a body of [args, kwargs, embed]")
    args, kwargs, embed = decoded
    if type(args) is not list or type(kwargs) is not dict:
        raise Refused("BodyRefused", "expected args as a list and kwargs as a mapping")
    # Each level has two brackets at least.
    if (
        len(body) > 2 * limits.depth
        and body.count(b"[") + body.count(b"{") > limits.depth
        and is_deep(decoded, limits.depth)
    ):
        raise Refused("BodyRefused", f"expected at most {limits.depth} levels of nesting")
    if embed != _NOTHING_EMBEDDED:
        embed = {} if embed is None else embed
        _check_embedded(embed)
    return args, kwargs, embed


def _check_embedded(embed: Any) -> None:
    if type(embed) is not dict or not embed.keys() <= _NOTHING_EMBEDDED.keys():
        raise Refused("BodyRefused", f"expected embed as a mapping of {', '.join(_EMBEDDED)}")
    for name in ("callbacks", "errbacks", "chain"):
        jobs = embed.get(name)
        if jobs is not None and (type(jobs) is not list or not all(map(_is_signature, jobs))):
            raise Refused("BodyRefused", f"expected {name} to be a list of signatures")
    chord = embed.get("chord")
    if chord is not None and not _is_signature(chord):
        raise Refused("BodyRefused", "expected chord to be a signature")


def _is_signature(job: Any) -> bool:
    return (
        type(job) is dict
        and type(job.get("task")) is str
        and type(job.get("args")) in LIST
        and type(job.get("kwargs")) in MAPPING
        and type(job.get("options")) in MAPPING
        and type(job.get("subtask_type")) in TEXT
    )
