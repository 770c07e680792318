"""What the verbs write: tables for people, JSON for programs."""

from __future__ import annotations

import dataclasses
import json
from enum import Enum
from pathlib import Path
from typing import Any

import click

#: ``--json`` on everything that lists.
json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")


def write_json(value: Any) -> None:
    """Write one JSON document on stdout; dataclasses become objects."""
    click.echo(json.dumps(value, indent=2, default=_plain))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    raise TypeError(f"expected something that JSON can carry, got: {type(value).__name__}")
