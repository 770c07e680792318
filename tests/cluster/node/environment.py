"""The environment, the command and the arguments of a container. Pure."""

from __future__ import annotations

import re
from decimal import ROUND_UP, Decimal
from typing import TYPE_CHECKING, Any, Final, Protocol

from cluster.node.errors import CannotStart, NotSupported

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Document = dict[str, Any]

_REFERENCE: Final = re.compile(r"\$\$|\$\(([^)]*)\)")
_KEYED: Final = re.compile(r"^(metadata\.(?:labels|annotations))\['(.+)'\]$")
_UNITS: Final = {
    "": Decimal(1), "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40),
}  # fmt: skip


class Objects(Protocol):
    """Secrets and ConfigMaps as they are now."""

    def secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """Its data; None if there is none of this name."""

    def config_map(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """Its data; None if there is none of this name."""


def expand(text: str, variables: Mapping[str, str]) -> str:
    """``$(NAME)`` becomes the variable's value where there is one, ``$$`` becomes ``$``."""

    def put(found: re.Match[str]) -> str:
        if found[1] is None:
            return "$"
        return variables.get(found[1], found[0])

    return _REFERENCE.sub(put, text)


def variables(
    container: Document,
    pod: Document,
    objects: Objects,
    *,
    first: Mapping[str, str],
    services: Iterable[Document] = (),
) -> dict[str, str]:
    """All variables of a container.

    Args:
        container: its part of the pod's spec.
        pod: with the address in its status.
        objects: where references are looked up.
        first: the image's own.
        services: of the pod's namespace, announced as the kubelet does it.

    Raises:
        CannotStart: what is referred to is not there.
    """
    found = dict(first)
    if pod["spec"].get("enableServiceLinks", True):
        found |= service_links(services)
    for source in container.get("envFrom") or ():
        data = _source(source, pod["metadata"]["namespace"], objects)
        prefix = source.get("prefix", "")
        found |= {prefix + key: value.decode() for key, value in data.items()}
    for entry in container.get("env") or ():
        value = _value(entry, container, pod, objects, found)
        if value is not None:
            found[entry["name"]] = value
    return found


def command_line(
    container: Document, entrypoint: Iterable[str], command: Iterable[str], found: Mapping[str, str]
) -> list[str]:
    """``command`` and ``args`` over ENTRYPOINT and CMD, as Kubernetes combines them.

    Raises:
        CannotStart: there is nothing to run.
    """
    own, arguments = container.get("command"), container.get("args")
    line = list(own or entrypoint)
    if arguments is not None:
        line += arguments
    elif not own:
        line += command
    if not line:
        raise CannotStart("CreateContainerError", "no command specified")
    return [expand(part, found) for part in line]


def service_links(services: Iterable[Document]) -> dict[str, str]:
    """``HIGH_SERVICE_HOST`` and its kin, for every Service with an address."""
    links: dict[str, str] = {}
    for service in services:
        spec = service["spec"]
        address = spec.get("clusterIP")
        if not address or address == "None" or not spec.get("ports"):
            continue
        name = service["metadata"]["name"].upper().replace("-", "_")
        links[f"{name}_SERVICE_HOST"] = address
        for place, port in enumerate(spec["ports"]):
            number, protocol = port["port"], port.get("protocol", "TCP")
            url = f"{protocol.lower()}://{address}:{number}"
            if place == 0:
                links[f"{name}_SERVICE_PORT"] = str(number)
                links[f"{name}_PORT"] = url
            if port.get("name"):
                named = port["name"].upper().replace("-", "_")
                links[f"{name}_SERVICE_PORT_{named}"] = str(number)
            stem = f"{name}_PORT_{number}_{protocol.upper()}"
            links[stem] = url
            links[f"{stem}_PROTO"] = protocol.lower()
            links[f"{stem}_PORT"] = str(number)
            links[f"{stem}_ADDR"] = address
    return links


def field(pod: Document, path: str) -> str:
    """A field of the pod, as the downward API names it.

    Raises:
        NotSupported: it is none of those.
    """
    if keyed := _KEYED.match(path):
        part = keyed[1].removeprefix("metadata.")
        return str((pod["metadata"].get(part) or {}).get(keyed[2], ""))
    if path in {"metadata.labels", "metadata.annotations"}:
        values = pod["metadata"].get(path.removeprefix("metadata.")) or {}
        return "\n".join(f'{key}="{value}"' for key, value in sorted(values.items()))
    known = {
        "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName",
        "spec.serviceAccountName", "status.podIP", "status.podIPs", "status.hostIP",
    }  # fmt: skip
    if path not in known:
        raise NotSupported(f"fieldRef {path}")
    part, name = path.split(".")
    if name == "podIPs":
        name = "podIP"
    return str(pod[part].get(name, ""))


def resource(container: Document, path: str, divisor: str = "1") -> str:
    """``limits.memory`` and its kin as a whole number of divisors; 0 where none is set."""
    kind, name = path.split(".", 1)
    resources = container.get("resources") or {}
    amount = (resources.get(kind) or {}).get(name, "0")
    unit = quantity(divisor)
    return str((quantity(amount) / (unit or Decimal(1))).to_integral_value(ROUND_UP))


def quantity(text: str) -> Decimal:
    """A Kubernetes quantity, ``250m`` or ``512Mi``."""
    found = re.fullmatch(r"([0-9.eE+-]*[0-9.])([A-Za-z]*)", text)
    if found is None or found[2] not in _UNITS:
        raise ValueError(f"expected a quantity like 250m or 512Mi, got: {text!r}")
    return Decimal(found[1]) * _UNITS[found[2]]


def _source(source: Document, namespace: str, objects: Objects) -> Mapping[str, bytes]:
    if ref := source.get("secretRef"):
        kind, data = "secret", objects.secret(namespace, ref["name"])
    else:
        ref = source["configMapRef"]
        kind, data = "configmap", objects.config_map(namespace, ref["name"])
    if data is None and not ref.get("optional"):
        raise CannotStart("CreateContainerConfigError", f'{kind} "{ref["name"]}" not found')
    return data or {}


def _value(
    entry: Document,
    container: Document,
    pod: Document,
    objects: Objects,
    found: Mapping[str, str],
) -> str | None:
    match entry.get("valueFrom"):
        case None:
            return expand(entry.get("value", ""), found)
        case {"fieldRef": {"fieldPath": path}}:
            return field(pod, path)
        case {"resourceFieldRef": ref}:
            return resource(container, ref["resource"], ref.get("divisor") or "1")
        case {"secretKeyRef": ref}:
            data = objects.secret(pod["metadata"]["namespace"], ref["name"])
            return _key("secret", ref, data)
        case {"configMapKeyRef": ref}:
            data = objects.config_map(pod["metadata"]["namespace"], ref["name"])
            return _key("configmap", ref, data)
        case other:
            raise NotSupported(f"valueFrom {', '.join(other)}")


def _key(kind: str, ref: Document, data: Mapping[str, bytes] | None) -> str | None:
    if data is not None and ref["key"] in data:
        return data[ref["key"]].decode()
    if ref.get("optional"):
        return None
    what = f'{kind} "{ref["name"]}" not found'
    if data is not None:
        what = f"couldn't find key {ref['key']} in {kind} {ref['name']}"
    raise CannotStart("CreateContainerConfigError", what)
