"""The arguments of a job as its message carries them: JSON for the worker, a short text for people.

Both are exactly what kombu and Celery would write. Only what they prepare anew for each message is
prepared once here, and what is rare is left to them.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from celery.utils.saferepr import saferepr
from kombu import serialization
from kombu.exceptions import EncodeError
from kombu.utils.json import JSONEncoder

from laneway.errors import ArgumentsNotSerializable, MessageTooLarge

#: What kombu says of a JSON body.
CONTENT_TYPE: Final = "application/json"
CONTENT_ENCODING: Final = "utf-8"

# kombu makes an encoder for each message; they are all the same.
_encode = JSONEncoder().encode
_PLAIN: Final = frozenset({int, float, bool})
# Python writes no numbers of very many digits; what is larger is left to whoever says so.
_MANY_DIGITS: Final = 10**100
# The third part of a body, when the job calls nobody back.
_KEYS: Final = ("callbacks", "errbacks", "chain", "chord")
_NO_CALLBACKS: Final = f", {_encode(dict.fromkeys(_KEYS))}]"


def body(args: list[Any] | tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """The body of a message of Celery's protocol 2, for a job without callbacks.

    Raises:
        ArgumentsNotSerializable: kombu's JSON cannot carry an argument.
    """
    try:
        return (
            f"[{_encode(args) if args else '[]'}, {_encode(kwargs) if kwargs else '{}'}"
            f"{_NO_CALLBACKS}"
        ).encode()
    except Exception as error:
        raise not_serializable(error) from error


def body_and_text(
    args: list[Any] | tuple[Any, ...], kwargs: dict[str, Any], longest: int, levels: int
) -> tuple[bytes, str]:
    """The :func:`body` of a job, and the :func:`short_text` of its positional arguments.

    Texts and whole numbers without keywords, which most jobs have, are looked at once for both.

    Raises:
        ArgumentsNotSerializable: kombu's JSON cannot carry an argument.
    """
    if not kwargs and levels > 1:
        written, shown = [], []
        for item in args:
            kind = type(item)
            if kind is str:
                written.append(_encode(item))
                shown.append(_quoted(item))
            elif kind is int and -_MANY_DIGITS < item < _MANY_DIGITS:
                number = str(item)
                written.append(number)
                shown.append(number)
            else:
                break
        else:
            text = ", ".join(shown)
            if type(args) is list:
                text = f"[{text}]"
            else:
                text = f"({text},)" if len(shown) == 1 else f"({text})"
            if len(text) < longest:
                return f"[[{', '.join(written)}], {{}}{_NO_CALLBACKS}".encode(), text
    return body(args, kwargs), short_text(args, longest, levels)


def not_serializable(error: Exception) -> ArgumentsNotSerializable:
    """The error for arguments that kombu's JSON cannot carry."""
    return ArgumentsNotSerializable(
        f"expected arguments that JSON can carry, got: {error}. Pass plain values (an id "
        "instead of an object), or convert them first. Nothing was published."
    )


def check_size(size: int, largest: int) -> None:
    """Refuse a job that is larger than the limit.

    Raises:
        MessageTooLarge: ``size`` is above ``largest``, both in bytes.
    """
    if size > largest:
        raise MessageTooLarge(
            f"expected a job of at most {largest} bytes, got {size}. Put the data elsewhere and "
            "pass a reference, or raise LANEWAY_MAX_MESSAGE_BYTES. Nothing was published."
        )


def is_kombus_json() -> bool:
    """Whether the serializer ``json`` is still kombu's own: a project may register another."""
    probe = (["ä", datetime(2000, 1, 1, tzinfo=UTC)], {"d": Decimal(1), "u": uuid.UUID(int=1)})
    try:
        kind, encoding, payload = serialization.dumps((*probe, dict.fromkeys(_KEYS)), "json")
    except EncodeError:
        return False
    payload = payload.encode() if isinstance(payload, str) else payload
    return (kind, encoding, payload) == (CONTENT_TYPE, CONTENT_ENCODING, body(*probe))


def short_text(value: Any, longest: int, levels: int) -> str:
    """Celery's ``saferepr`` of a list, tuple or dictionary.

    Args:
        value: the arguments.
        longest: characters after which they are cut.
        levels: how deep containers in containers are shown.
    """
    if not value and type(value) is tuple:
        return "()"
    if not value and type(value) is dict:
        return "{}"
    if levels > 1:
        text = _of_flat(value)
        # Celery cuts what is as long as the limit.
        if text is not None and len(text) < longest:
            return text
    return str(saferepr(value, longest, maxlevels=levels))


def _of_flat(value: Any) -> str | None:
    """The text of a container of plain values; None if it needs Celery's care."""
    kind = type(value)
    if kind is dict:
        parts = []
        for key, item in value.items():
            text = _of_plain(item)
            if text is None or type(key) is not str:
                return None
            parts.append(f"{_quoted(key)}: {text}")
        return f"{{{', '.join(parts)}}}"
    if kind is not tuple and kind is not list:
        return None
    parts = []
    for item in value:
        text = _of_plain(item)
        if text is None:
            return None
        parts.append(text)
    joined = ", ".join(parts)
    if kind is list:
        return f"[{joined}]"
    return f"({joined},)" if len(parts) == 1 else f"({joined})"


def _of_plain(item: Any) -> str | None:
    kind = type(item)
    if kind in _PLAIN:
        return str(item)
    if kind is str:
        return _quoted(item)
    return "None" if item is None else None


def _quoted(text: str) -> str:
    # Celery's own way, which escapes nothing else.
    return "'{}'".format(text.replace("'", "\\'"))
