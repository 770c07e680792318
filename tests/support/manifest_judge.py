"""Manifests against the schemas of Kubernetes and of the custom resources, many in one process.

Run by the interpreter of the chart's tools: reads ``{"versions": [...], "manifests": [...]}`` from
stdin and writes a list of problems, a line each. Strict: an unknown field is a problem, as it is to
``kubectl apply`` and to Helm.
"""

from __future__ import annotations

import json
import sys
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
from referencing import Registry, Resource

CRDS = Path(__file__).parents[1] / "chart" / "crds"


def main() -> None:
    """Judge what stdin says."""
    asked = json.load(sys.stdin)
    problems = []
    for manifest in asked["manifests"]:
        kind = manifest["kind"]
        custom = crd(kind, manifest["apiVersion"])
        validators = (
            [("its definition", custom)]
            if custom is not None
            else [
                (f"Kubernetes {version}", core(version, kind, manifest["apiVersion"]))
                for version in asked["versions"]
            ]
        )
        name = f"{kind} {manifest['metadata']['name']}"
        for where, validator in validators:
            if validator is None:
                problems.append(f"{name}: {where} has no {manifest['apiVersion']} {kind}")
                continue
            problems += [
                f"{name}: {error.json_path}: {error.message[:300]} ({where})"
                for error in validator.iter_errors(manifest)
            ]
    json.dump(problems, sys.stdout)


@cache
def core(version: str, kind: str, api_version: str) -> jsonschema.protocols.Validator | None:
    """The schema of a kind of Kubernetes' own, as kubernetes-validate carries it."""
    group, _, name = api_version.rpartition("/")
    short = f"{group.partition('.')[0]}-{name}" if group else name
    schema = contents(version, f"{kind.lower()}-{short}.json")
    if schema is None:
        return None
    registry = Resource.from_contents(schema) @ definitions(version)
    return jsonschema.Draft202012Validator(schema, registry=registry)


@cache
def definitions(version: str) -> Registry[Any]:
    """What the schemas of one version have in common."""
    return Resource.from_contents(contents(version, "_definitions.json")) @ Registry()


def contents(version: str, name: str) -> Any:
    """A file of kubernetes-validate; None if it has none."""
    folder = files(kubernetes_validate) / "kubernetes-json-schema"
    file = folder / f"v{version}.0-local-strict" / name
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


@cache
def crd(kind: str, api_version: str) -> jsonschema.protocols.Validator | None:
    """The schema of a custom resource; None if there is none in the repository."""
    file = CRDS / f"{kind}.json"
    if not file.exists():
        return None
    kept = json.loads(file.read_text(encoding="utf-8"))
    if kept["apiVersion"] != api_version:
        return None
    schema = strict(kept["schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    return jsonschema.Draft202012Validator(schema)


def strict(schema: Any) -> Any:
    """The schema of an API server that refuses unknown fields, in the words of JSON Schema."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {}
    for key, value in schema.items():
        # Names of fields are no keywords: "type", "items" and the like may be among them.
        made[key] = (
            {k: strict(v) for k, v in value.items()} if key == "properties" else strict(value)
        )
    if schema.get("x-kubernetes-int-or-string"):
        made["type"] = ["integer", "string"]
        made.pop("anyOf", None)
    kept = schema.get("x-kubernetes-preserve-unknown-fields")
    if "properties" in schema and "additionalProperties" not in schema and not kept:
        made["additionalProperties"] = False
    return made


if __name__ == "__main__":
    main()
