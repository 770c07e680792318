"""The one grammar in which the policy's problems are told.

``place: key: expected ..., got: ...`` or ``place: unknown key 'x', did you mean 'y'?``. The place
is a file, with the line where there is one.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic_core import ErrorDetails

#: The keys that lead to a place in a TOML file, such as ``("worker", "pool")``.
Keys = tuple[str, ...]

_LONGEST_VALUE = 80


def at(name: str, line: int | None, words: str) -> str:
    """A problem with its place: the file's name and, where known, its line."""
    return f"{name}:{line}: {words}" if line else f"{name}: {words}"


def by_line(problems: Iterable[str]) -> list[str]:
    """Each problem once, routing.py before the queues' files, each file from top to bottom."""

    def place(problem: str) -> tuple[bool, str, int]:
        name, _, rest = problem.partition(":")
        line = rest.partition(":")[0]
        return name.startswith("queues/"), name, int(line) if line.isdecimal() else 0

    return sorted(dict.fromkeys(problems), key=place)


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """``", did you mean 'high'?"`` for the nearest known word, or nothing."""
    near = difflib.get_close_matches(str(word), sorted(known), n=1, cutoff=0.6)
    return f", did you mean {near[0]!r}?" if near else ""


def shortened(text: str) -> str:
    """At most eighty characters of what somebody wrote."""
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."


def describe(error: ErrorDetails, model: type[BaseModel]) -> tuple[Keys, str]:
    """Where and what a problem is that pydantic found in the keys of ``model``."""
    keys = tuple(str(key) for key in error["loc"])
    path = ".".join(keys)
    got = shortened(json.dumps(error["input"], default=str, ensure_ascii=False))
    match error["type"]:
        case "extra_forbidden":
            return keys, _unknown_key(keys, model)
        case "missing":
            words = "expected a value, because the key has no default, got nothing"
        case "value_error":
            words = f"{error['ctx']['error']}, got: {got}"
        case _:
            words = f"expected a table like [{path}], got: {got}"
    return keys, f"{path}: {words}"


def toml_problem(name: str, text: str, error: tomllib.TOMLDecodeError) -> str:
    """A file that is no TOML at all."""
    words = str(error)
    if match := re.search(r" \(at line (\d+), column (\d+)\)$", words):
        return at(name, int(match[1]), f"not TOML: {words[: match.start()]} (column {match[2]})")
    last = len(text.splitlines())
    return at(name, last, f"not TOML: {words.replace('end of document', 'the end of the file')}")


def line_of(text: str, keys: Keys) -> int | None:
    """The line of a TOML text on which ``keys`` begin, or None if they are not there.

    tomllib keeps no positions. A queue's file has some twenty lines, so reading ever longer
    beginnings of it is exact and cheap.
    """
    lines = text.splitlines(keepends=True)[:500]
    start = 1
    for end in range(1, len(lines) + 1):
        try:
            found: Any = tomllib.loads("".join(lines[:end]))
        except tomllib.TOMLDecodeError:
            continue  # inside a value of several lines
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        if found is not None:
            return start
        start = end + 1
    return None


def _unknown_key(keys: Keys, model: type[BaseModel]) -> str:
    *section, key = keys
    sections = _sections(model)
    where = f" in [{section[0]}]" if section else ""
    known = set((sections[section[0]] if section else model).model_fields) - {"name"}
    if section and key in model.model_fields:
        hint = "; it belongs above the first [section]"
    elif elsewhere := [name for name, part in sections.items() if key in part.model_fields]:
        hint = f"; it belongs in [{elsewhere[0]}]"
    else:
        hint = did_you_mean(key, known) or "; expected one of: " + ", ".join(sorted(known))
    return f"unknown key {key!r}{where}{hint}"


def _sections(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    return {
        name: field.annotation
        for name, field in model.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }
