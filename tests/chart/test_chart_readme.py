"""The chart's README is what its values say, and every value says what it is for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import chart_readme
from support.chart import CHART

VALUES = (CHART / "values.yaml").read_text(encoding="utf-8")


def test_the_readme_is_what_the_generator_writes() -> None:
    cure = "run `python scripts/chart_readme.py`"
    assert chart_readme.FILE.read_text(encoding="utf-8") == chart_readme.readme(VALUES), cure


def test_every_value_has_a_description() -> None:
    assert chart_readme.undescribed(VALUES) == []
    assert len(chart_readme.described(VALUES)) > 200


def test_a_value_without_a_description_is_found() -> None:
    text = "a:\n  # -- What it is,\n  # in two lines.\n  b: 1\n  c: 2\n# no description\nd: {}\n"
    assert chart_readme.undescribed(text) == ["a.c", "d"]
    [b] = chart_readme.described(text)
    assert (b.name, b.default, b.text) == ("a.b", 1, "What it is, in two lines.")


def names_in_schema(schema: Any, root: Any, path: str = "") -> set[str]:
    """Every key that the schema names."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    found = set()
    for name, inner in schema.get("properties", {}).items():
        found |= {f"{path}{name}"} | names_in_schema(inner, root, f"{path}{name}.")
    return found


def test_every_value_is_in_the_schema_and_has_a_default() -> None:
    schema = json.loads(Path(CHART / "values.schema.json").read_text(encoding="utf-8"))
    known = names_in_schema(schema, schema)
    there = {key.name for key in chart_readme.described(VALUES)}
    assert there <= known
    tops = {name for name in known if "." not in name} - {"workers"}
    assert tops == {key.path[0] for key in chart_readme.described(VALUES)}
