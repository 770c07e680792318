"""What leaves of texts: an error's words without the values that its job was called with.

The values are searched for as they are written in texts (also escaped, and cut off). What is
derived from a value, such as its last four digits, is not found: whoever must not let that out
allows no text at all, as secure queues do (:mod:`laneway.sentry.secure`).
"""

from __future__ import annotations

import json
import reprlib
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: Characters of an error's text that leave.
LONGEST: Final = 2_000
#: What stands where a value was.
HIDDEN: Final = "[job argument]"
#: Characters that a text, and digits that a number has at least to be searched for.
SHORTEST: Final = 4

#: Characters of a text that are looked at: what is cut off begins well behind what leaves.
_LOOKED_AT: Final = 20_000
#: Values of a job that are searched for, and how deep they are looked for in lists and mappings.
_VALUES: Final = 1_000
_DEPTH: Final = 8
#: Characters of a value by which its beginning at the end of a text is found.
_BEGINNING: Final = 16
#: Characters of a value that is shown.
_SHOWN: Final = 200


class Words:
    """Takes the values of one job out of texts.

    Args:
        args: what the job was called with.
        kwargs: the same by name.
        allowed: values that may be seen: :func:`shown` gives them.
    """

    def __init__(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], allowed: Sequence[Any] = ()
    ) -> None:
        seen = set(_needles(allowed))
        found = {needle for needle in _needles([args, kwargs]) if needle not in seen}
        # The longest first: what is part of another value goes with it.
        self._needles = sorted(found, key=lambda needle: (-len(needle), needle))

    def clean(self, text: str) -> str:
        """The text without the job's values, at most 2,000 characters."""
        text = text[:_LOOKED_AT]
        for needle in self._needles:
            if needle[:SHORTEST] in text:
                text = _without(text, needle)
        return cut(text)


def cut(text: str, longest: int = LONGEST) -> str:
    """The text, at most so many characters."""
    return text if len(text) <= longest else f"{text[: longest - 2]} …"


def shown(value: Any) -> str:
    """A value as it is shown: a short text, whatever it is."""
    try:
        return cut(value if isinstance(value, str) else _SHORT_REPR.repr(value), _SHOWN)
    except Exception as error:  # noqa: BLE001 (a value's own code)
        return f"({type(error).__name__} while it was written)"


def _short_repr() -> reprlib.Repr:
    short = reprlib.Repr()
    short.maxother = short.maxstring = short.maxlong = _SHOWN
    return short


_SHORT_REPR: Final = _short_repr()


def _without(text: str, needle: str) -> str:
    text = text.replace(needle, HIDDEN)
    # Cut off by whoever made the text: the beginning of a long value at the end.
    beginning = needle[:_BEGINNING]
    if len(needle) > _BEGINNING and (at := text.rfind(beginning)) >= 0:
        rest = text[at:].rstrip("….' \"")
        if needle.startswith(rest):
            return text[:at] + HIDDEN
        # In the middle, such as in a text that leaves out what is behind.
        end = at + _common(text, at, needle)
        text = text[:at] + HIDDEN + text[end:]
    return text


def _common(text: str, at: int, needle: str) -> int:
    """How many characters of ``needle`` stand at ``at``."""
    length = 0
    for one, other in zip(islice(text, at, None), needle, strict=False):
        if one != other:
            break
        length += 1
    return length


def _needles(values: Any) -> Iterator[str]:
    """The texts by which the values inside of something are found."""
    for value in islice(_leaves(values), _VALUES):
        text = _text(value)
        if text is None:
            continue
        text = text[:_LOOKED_AT]
        yield text
        # As it stands in a repr, in JSON, and in JSON without other alphabets.
        escaped = {
            repr(text)[1:-1],
            json.dumps(text)[1:-1],
            json.dumps(text, ensure_ascii=False)[1:-1],
        }
        yield from (one for one in escaped if one != text)


def _text(value: Any) -> str | None:
    """What a value looks like in a text; None if it is too short to be told from others."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        return value if len(value) >= SHORTEST else None
    if isinstance(value, bytes):
        text = value[:_LOOKED_AT].decode("utf-8", "replace")
        return text if len(text) >= SHORTEST else None
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 (a value's own code: then it is in no text either)
        return None
    if isinstance(value, int | float):
        return text if sum(map(str.isdigit, text)) >= SHORTEST else None
    return text if len(text) >= SHORTEST else None


def _leaves(value: Any, depth: int = 0) -> Iterator[Any]:
    if isinstance(value, dict):
        if depth < _DEPTH:
            for key, inner in value.items():
                yield from _leaves(inner, depth + 1)
                # Keys of what was given can be words of it as well. Names of parameters and of
                # fields are not: without them nobody could read what the error says.
                if depth > 1 and not (isinstance(key, str) and key.isidentifier()):
                    yield key
    elif isinstance(value, list | tuple | set | frozenset):
        if depth < _DEPTH:
            for inner in value:
                yield from _leaves(inner, depth + 1)
    else:
        yield value


#: For texts of no job.
NO_JOB: Final = Words((), {})
