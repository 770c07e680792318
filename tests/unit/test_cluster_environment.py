from __future__ import annotations

from typing import Any

import pytest

from cluster.node import environment
from cluster.node.errors import CannotStart, NotSupported


class Objects:
    def secret(self, namespace: str, name: str) -> dict[str, bytes] | None:
        return {"a": b"1"} if name == "there" else None

    def config_map(self, namespace: str, name: str) -> dict[str, bytes] | None:
        return {"b": b"2"} if name == "there" else None


POD: dict[str, Any] = {
    "metadata": {"name": "pod-1", "namespace": "ns", "uid": "u", "labels": {"x/y": "z"}},
    "spec": {"nodeName": "node-a", "enableServiceLinks": False},
    "status": {"podIP": "10.89.1.7", "hostIP": "10.89.1.1"},
}


def found(container: dict[str, Any], **first: str) -> dict[str, str]:
    return environment.variables(container, POD, Objects(), first=first)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)-$(A)", "1-1"),
        ("$$(A)", "$(A)"),
        ("$(B)", "$(B)"),
        ("$A $", "$A $"),
        ("$$$(A)", "$1"),
    ],
)
def test_references_are_expanded_as_kubernetes_does_it(text: str, expected: str) -> None:
    assert environment.expand(text, {"A": "1"}) == expected


def test_a_later_variable_wins_and_sees_the_earlier_ones() -> None:
    env = [{"name": "A", "value": "x$(P)"}, {"name": "P", "value": "$(A)"}, {"name": "E"}]
    assert found({"env": env}, P="p") == {"P": "xp", "A": "xp", "E": ""}


def test_what_is_referred_to_must_be_there_unless_it_is_optional() -> None:
    def of(kind: str, **ref: Any) -> dict[str, Any]:
        return {"env": [{"name": "A", "valueFrom": {kind: ref}}]}

    assert found(of("secretKeyRef", name="there", key="a")) == {"A": "1"}
    assert found(of("configMapKeyRef", name="there", key="b")) == {"A": "2"}
    assert found(of("secretKeyRef", name="gone", key="a", optional=True)) == {}
    with pytest.raises(CannotStart, match='secret "gone" not found'):
        found(of("secretKeyRef", name="gone", key="a"))
    with pytest.raises(CannotStart, match="couldn't find key c in configmap there"):
        found(of("configMapKeyRef", name="there", key="c"))
    with pytest.raises(NotSupported, match="fileKeyRef"):
        found(of("fileKeyRef", key="a"))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata.name", "pod-1"),
        ("metadata.labels['x/y']", "z"),
        ("metadata.annotations['none']", ""),
        ("metadata.labels", 'x/y="z"'),
        ("status.podIPs", "10.89.1.7"),
        ("status.hostIP", "10.89.1.1"),
    ],
)
def test_fields_of_the_pod(path: str, expected: str) -> None:
    assert environment.field(POD, path) == expected


def test_a_field_that_is_none_is_said() -> None:
    with pytest.raises(NotSupported, match=r"spec\.containers"):
        environment.field(POD, "spec.containers")


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, ["entry", "given"]),
        ({"args": ["a"]}, ["entry", "a"]),
        ({"args": []}, ["entry"]),
        ({"command": ["c"]}, ["c"]),
        ({"command": ["c"], "args": ["a"]}, ["c", "a"]),
    ],
)
def test_command_and_args_over_those_of_the_image(own: dict[str, Any], expected: list[str]) -> None:
    assert environment.command_line(own, ["entry"], ["given"], {}) == expected


def test_nothing_to_run_is_said() -> None:
    with pytest.raises(CannotStart, match="no command"):
        environment.command_line({}, [], [], {})


@pytest.mark.parametrize(
    ("limit", "divisor", "expected"),
    [("1500m", "1", "2"), ("1500m", "1m", "1500"), ("1Gi", "1Mi", "1024"), ("2", "1", "2")],
)
def test_resources_are_whole_numbers_of_divisors(limit: str, divisor: str, expected: str) -> None:
    container = {"resources": {"limits": {"x": limit}}}
    assert environment.resource(container, "limits.x", divisor) == expected
