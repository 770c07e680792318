"""Writes the chart's README out of the comments of its values: ``python scripts/chart_readme.py``.

A comment that begins with ``# --`` describes the key under it, and all keys inside that have no
comment of their own.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).resolve().parents[1] / "helm" / "laneway"
FILE = CHART / "README.md"
#: What is made of `queues/*.toml`; the policy's own reference describes it.
RENDERED = "workers"

HEAD = """\
<!-- Written by scripts/chart_readme.py out of values.yaml: do not edit it. -->

# The chart of Laneway

A Deployment, a service account, a scaler, a budget for disruptions and a network policy for each
queue, the control process, and the topology as a Job: for a RabbitMQ that is there already, or
one of its own.

```console
$ helm install laneway helm/laneway --namespace jobs --create-namespace --values my-values.yaml
$ helm test laneway --namespace jobs
```

`workers` in `values.yaml` is rendered from `queues/*.toml` ([how](../../docs/how-to/render.md),
[what the keys mean](../../docs/reference/policy.md)). Everything else that a worker may be told
is in `workerDefaults`, and any key of that may stand in a single worker: maps are merged, lists
are replaced.

```yaml
# my-values.yaml
image:
  repository: registry.example.com/shop
  digest: sha256:…
workers:
  high:
    resources: {requests: {cpu: "1"}}
    priorityClassName: urgent
```

What contradicts itself is refused with all its reasons at once. [What it is measured by, beside
other charts](../../docs/reference/chart.md) · [how to scale](../../docs/how-to/scale.md) · [when
an alert rings](../../docs/how-to/alerts.md)

`values-development.yaml` tries it out on a broker that anybody may enter; `values-rabbitmq.yaml`
brings a RabbitMQ of three nodes.

## Values
"""


@dataclass(frozen=True)
class Key:
    """One line of the table."""

    path: tuple[str, ...]
    text: str
    default: Any

    @property
    def name(self) -> str:
        """As one would give it to ``--set``."""
        return ".".join(self.path)


def described(text: str) -> list[Key]:
    """The keys of a values file that have a description, in their order."""
    values = yaml.load(text, Loader=yaml.CSafeLoader)
    found: list[Key] = []
    comment: list[str] = []
    stack: list[tuple[int, str]] = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("#"):
            said = stripped.lstrip("#").strip()
            if said.startswith("-- "):
                comment = [said.removeprefix("-- ")]
            elif comment:
                comment.append(said)
            continue
        key = re.match(r"^( *)([A-Za-z][\w.-]*):", line)
        if key is None:
            comment = []
            continue
        indent, name = len(key[1]), key[2]
        while stack and stack[-1][0] >= indent:
            stack.pop()
        stack.append((indent, name))
        path = tuple(each for _, each in stack)
        if comment:
            found.append(Key(path, " ".join(comment), at(values, path)))
        comment = []
    return found


def at(values: Any, path: tuple[str, ...]) -> Any:
    """What stands at a path."""
    for name in path:
        values = values[name]
    return values


def leaves(values: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The paths of all keys that hold no others."""
    if isinstance(values, dict) and values:
        return [each for name, value in values.items() for each in leaves(value, (*path, name))]
    return [path]


def undescribed(text: str) -> list[str]:
    """Keys without a description, of their own or of what they are in."""
    values = yaml.load(text, Loader=yaml.CSafeLoader)
    known = {key.path for key in described(text)}
    return [
        ".".join(path)
        for path in leaves(values)
        if path[0] != RENDERED and not any(path[:end] in known for end in range(1, len(path) + 1))
    ]


def readme(text: str) -> str:
    """The whole of it."""
    keys = described(text)
    inside = {path[:end] for path in (key.path for key in keys) for end in range(1, len(path))}
    sections: dict[str, list[Key]] = {"": []}
    for key in keys:
        sections.setdefault(key.path[0] if len(key.path) > 1 else "", []).append(key)
    parts = [HEAD]
    for section, members in sections.items():
        rows = [row(key, key.path in inside) for key in members]
        parts += [f"### `{section}`\n" if section else "### Everything\n"]
        parts += ["\n".join(["| key | default | |", "| --- | --- | --- |", *rows, ""])]
    return "\n".join(parts)


def row(key: Key, is_branch: bool) -> str:
    """A line of a table; a branch has no default but those of its keys."""
    default = "" if is_branch else f"`{json.dumps(key.default, ensure_ascii=False)}`"
    text = key.text.replace("|", "\\|")
    return f"| `{key.name}` | {default} | {text} |"


if __name__ == "__main__":
    values = (CHART / "values.yaml").read_text(encoding="utf-8")
    FILE.write_text(readme(values), encoding="utf-8")
